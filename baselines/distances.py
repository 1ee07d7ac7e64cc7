"""Squared Euclidean distances over a whole data set, computed once and sliced by every fold."""

from __future__ import annotations

import numpy as np

from baselines.blocks import blocks

_BLOCK = 4096  # rows of a matrix that is mapped from disk, at a time
_PIECE = 512  # rows of a matrix product that one thread computes


def squared_distances(X: np.ndarray, mirrored: np.ndarray | None = None) -> np.ndarray:
    """Squared distance between every two images, by one float32 matrix product.

    With `mirrored`, the distance between two images is the smaller of the distance between them and the distance between
    one and the other's mirror image: the jittered kernel of DeCoste and Schölkopf (2002, "Training invariant support vector
    machines", section 4.2), since the left and right sides of a body look alike.

    Parameters
    ----------
    X : ndarray
        (n, d) float32, an encoding of n images.
    mirrored : ndarray, optional
        (n, d) float32, the same encoding of their mirror images.

    Returns
    -------
    ndarray
        (n, n) float32, symmetric, 0 on the diagonal.
    """
    centre = X.mean(axis=0)
    X = X - centre  # smaller numbers: less cancellation in the line below
    distances = _between(X, X)
    if mirrored is not None:
        np.minimum(distances, _between(X, mirrored - centre), out=distances)
    distances = (distances + distances.T) / 2  # (n, n); the two triangles differ by rounding
    np.fill_diagonal(distances, 0)
    return distances


def distances_to_landmarks(
    X: np.ndarray, landmarks: np.ndarray, mirrored: np.ndarray | None = None, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Squared distance of every image to some images, a block of rows at a time: X may be mapped from disk.

    Parameters
    ----------
    X : ndarray
        (n, d) float32.
    landmarks : ndarray
    mirrored : ndarray, optional
        (m, d) float32, encodings of the landmarks, and of their mirror images: then the smaller distance counts.
    out : ndarray, optional
        (n, m) float32 to write to.

    Returns
    -------
    ndarray
        (n, m) float32.
    """
    out = np.empty((len(X), len(landmarks)), np.float32) if out is None else out
    known = Landmarks(landmarks, mirrored)
    for start in range(0, len(X), _BLOCK):
        out[start : start + _BLOCK] = known.distances(X[start : start + _BLOCK])
    return out


class Landmarks:
    """Reference images, compared with many others.

    Parameters
    ----------
    landmarks : ndarray
    mirrored : ndarray, optional
        (m, d) float32, encodings of the landmarks, and of their mirror images: then the smaller distance counts.
    """

    def __init__(self, landmarks: np.ndarray, mirrored: np.ndarray | None = None) -> None:
        self.centre = landmarks.mean(axis=0)
        both = (landmarks,) if mirrored is None else (landmarks, mirrored)
        self.sets = [each - self.centre for each in both]
        self.squares = [np.einsum("ij,ij->i", each, each) for each in self.sets]

    def distances(self, X: np.ndarray) -> np.ndarray:
        """Squared distances (n, m) float32 of encodings (n, d) to the landmarks."""
        rows = X - self.centre
        found = [_between(rows, each, squares) for each, squares in zip(self.sets, self.squares, strict=True)]
        return found[0] if len(found) == 1 else np.minimum(*found, out=found[0])


def _between(A: np.ndarray, B: np.ndarray, squares: np.ndarray | None = None) -> np.ndarray:
    """Return |a|² + |b|² - 2 a·b for the rows of A (n, d) and B (m, d), (n, m), not below 0; `squares` are the |b|², if known.

    The numbers are the same bits for any number of threads (see `baselines.blocks`).
    """
    products = np.empty((len(A), len(B)), np.result_type(A, B))
    squares = np.einsum("ij,ij->i", B, B) if squares is None else squares

    def piece(places: slice) -> np.ndarray:
        rows, out = A[places], products[places]
        np.matmul(rows, B.T, out=out)
        out *= -2
        out += np.einsum("ij,ij->i", rows, rows)[:, None]
        out += squares
        return np.maximum(out, 0, out=out)

    with blocks(len(A), _PIECE) as each:
        each(piece)
    return products
