"""Suspicious pictures: blank, inverted, tiny, long, divided, with text or colours. Each is a suspicion, not a proof."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

TINY, LONG = 64, 4.0  # pixels of the shorter side; longer over shorter side
BLANK = 3.0  # standard deviation of grey levels
INVERTED = 40  # grey levels of 255 by which the border is brighter than the middle
LETTERS = 5  # in one row
BLACK = 0.24  # share of the pixels inside the border
COLOURED = 0.02  # share of pixels with colour
RADIOGRAPHY = ("", "DX", "CR", "RG", "RF", "XA", "MG", "IO", "PX")


def suspicious(manifest: pd.DataFrame, images: np.ndarray) -> Iterator[tuple[str, int, str]]:
    """Yield code, row and text for every suspicion.

    Parameters
    ----------
    manifest : DataFrame
        The usable images' rows, with labels, width, height, and where they are known letters (see `audit.lettering`), coloured and modality.
    images : array, shape (n, side, side)
        uint8, preprocessed, in the same order.
    """
    for row, (width, height) in enumerate(zip(manifest["width"], manifest["height"], strict=True)):
        if min(width, height) < TINY:
            yield "D042", row, f"{width} x {height} pixels"
        if max(width, height) > LONG * max(min(width, height), 1):
            yield "D043", row, f"{width} x {height} pixels"
        image = np.asarray(images[row])
        if image.std() < BLANK:
            yield "D040", row, f"standard deviation {image.std():.1f} of 255"
            continue
        if (over := _border_over_middle(image)) > INVERTED:
            yield "D041", row, f"its border is {over:.0f} of 255 brighter than its middle"
        if (share := _black_share(image)) >= BLACK:
            yield "D047", row, f"{share:.0%} of what is not border is black"
        elif (line := _divided(image)) is not None:
            yield "D044", row, line
    for name, code, limit in (("letters", "D045", LETTERS), ("coloured", "D046", COLOURED)):
        for row in np.flatnonzero(manifest[name].to_numpy(float) >= limit) if name in manifest else ():
            value = manifest[name].iloc[row]
            yield (
                code,
                int(row),
                f"{value:.0f} letters in a row" if name == "letters" else f"{value:.0%} of its pixels have colour",
            )
    for row, modality in enumerate(manifest.get("modality", ())):
        if modality not in RADIOGRAPHY:
            yield "D046", row, f"modality {modality}"


def _black_share(image: np.ndarray) -> float:
    """Share of black pixels inside of the border: on radiographs even air is grey, on bone densitometry and fluoroscopy it is not."""
    rows, columns = np.flatnonzero(image.max(axis=1) > 8), np.flatnonzero(image.max(axis=0) > 8)
    if not len(rows):
        return 0.0
    return float((image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] <= 3).mean())


def _divided(image: np.ndarray) -> str | None:
    """Where a line of one grey level, black or white, divides a picture into two that are not of one level themselves."""
    side = len(image)
    inner = slice(side // 4, side - side // 4)
    for axis, name in ((0, "upright"), (1, "level")):
        lines = image if axis == 0 else image.T  # columns of `lines` are looked at
        plain = (lines.std(axis=0) < 4) & ((lines.mean(axis=0) < 12) | (lines.mean(axis=0) > 243))
        for k in np.flatnonzero(plain[inner]) + side // 4:
            beside = [lines[:, max(0, k - side // 8) : k], lines[:, k + 1 : k + 1 + side // 8]]
            if min(part.std() for part in beside) > 25 and plain.mean() < 0.5:
                return f"{'an' if name[0] in 'aeiou' else 'a'} {name} line at {k / side:.0%}"
    return None


def _border_over_middle(image: np.ndarray) -> float:
    """Median grey level of the border minus that of the middle, without padding: air around a body is dark."""
    rows, columns = np.flatnonzero(image.max(axis=1) > 8), np.flatnonzero(image.max(axis=0) > 8)
    if not len(rows):
        return 0.0
    field = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = field.shape
    edge = max(2, min(height, width) // 20)
    border = [field[:edge], field[-edge:], field[:, :edge], field[:, -edge:]]
    middle = field[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return float(np.median(np.concatenate([part.ravel() for part in border])) - np.median(middle))
