"""Phantom radiographs: simulated X-ray images whose truth is known. Everything that comes from here is synthetic."""

from radiographs.phantom.folder import FREQUENCIES, Recipe, write_folder
from radiographs.phantom.layouts import LAYOUTS, read_masks
from radiographs.phantom.picture import DIFFICULTIES

__all__ = ["DIFFICULTIES", "FREQUENCIES", "LAYOUTS", "VERSION", "Recipe", "read_masks", "write_folder"]

VERSION = 4  # raise it when the same seed gives other pixels
