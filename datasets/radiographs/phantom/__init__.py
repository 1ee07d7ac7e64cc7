"""Phantom radiographs: simulated X-ray images whose truth is known. Everything that comes from here is synthetic."""

from radiographs.phantom.folder import write_folder

__all__ = ["VERSION", "write_folder"]

VERSION = 2  # raise it when the same seed gives other pixels
