"""Encodings made on this machine for heads that are fitted on another kind of machine."""

from __future__ import annotations

import numpy as np

from bench.cells.encodings import Encoding, Encodings
from bench.recipes.build import Resources
from bench.recipes.suite import Part


class HostEncodings(Encodings):
    """Encodings computed on this machine, with the resources of the workers: a cell's key names the kind of device that its head learns on.

    Parameters
    ----------
    own : Encodings
        What encodes here.
    resources : Resources
        As the heads get them.
    """

    def __init__(self, own: Encodings, resources: Resources) -> None:
        super().__init__(own.images, own.digest, own.cache.parent, resources)
        self.own = own

    def key(self, part: Part, *, mirrored: bool = False) -> str:
        """Return the content key."""
        return self.own.key(part, mirrored=mirrored)

    def get(self, part: Part, *, mirrored: bool = False) -> Encoding:
        """Return the encoding of all images, or of their mirror images."""
        return self.own.get(part, mirrored=mirrored)

    def distances(self, part: Part, *, mirror: bool, landmarks: np.ndarray | None = None) -> Encoding:
        """Return the squared distances between all images, or to landmarks."""
        return self.own.distances(part, mirror=mirror, landmarks=landmarks)
