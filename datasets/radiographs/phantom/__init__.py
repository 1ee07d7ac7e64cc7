"""Phantom radiographs: simulated X-ray images whose truth is known. Everything that comes from here is synthetic."""

from radiographs.phantom.folder import write_folder

__all__ = ["write_folder"]
