"""Phantom radiographs: simulated X-ray images whose truth is known. Everything that comes from here is synthetic."""

from radiographs.phantom.dataset import write_folder

__all__ = ["VERSION", "write_folder"]

VERSION = 1  # raise it when the same seed gives other pixels
