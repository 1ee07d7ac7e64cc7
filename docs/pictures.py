"""The pictures of docs/images that come from the code alone: ``make pictures``.

phantom.png shows three phantoms of each part; report.png is the top of the first command's report in headless Chromium. The charts of
docs/benchmarks.md come from measured runs: the page names their commands.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

_SIDE, _MARGIN, _CAPTION, _COLUMNS = 150, 3, 12, 11  # of a tile, in pixels; tiles in a row
_EACH = 3  # phantoms of a part


def phantoms(file: Path) -> None:
    """Write a contact sheet of the first phantoms of each part."""
    from radiographs.phantom import Recipe, write_folder
    from radiographs.phantom.views import PARTS

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_folder(data, Recipe(n=400, seed=1, side=_SIDE, masks=False))
        truth = pd.read_csv(data / "truth.csv", dtype=str)
        first = truth[truth["shown"].isin(PARTS)].groupby("shown").head(_EACH)  # no picture of two parts
        tiles = [(part, data / name) for part, name in sorted(zip(first["shown"], first["file"], strict=True))]
        _sheet(tiles).save(file, optimize=True)


def _sheet(tiles: list[tuple[str, Path]]) -> Image.Image:
    width, height = _SIDE + 2 * _MARGIN, _SIDE + 2 * _MARGIN + _CAPTION
    sheet = Image.new("L", (_COLUMNS * width, -(-len(tiles) // _COLUMNS) * height))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    for k, (part, path) in enumerate(tiles):
        left, top = k % _COLUMNS * width + _MARGIN, k // _COLUMNS * height + _MARGIN
        with Image.open(path) as picture:
            sheet.paste(Image.fromarray(np.asarray(picture.convert("L"))), (left + (_SIDE - picture.width) // 2, top))
        pen.text((left, top + _SIDE), part, fill=255, font=font)
    return sheet


def report(file: Path) -> None:
    """Write the top of the report of ``bench run --all``, 1280 x 1500 pixels."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        sys.exit("no Chromium: report.png is left as it is")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XRAYBENCH_CACHE": f"{folder}/cache"}
        for command in (["bench", "run", "--all", "--out", "run"], ["bench", "report", "run", "--html"]):
            subprocess.run(command, cwd=folder, env=environment, check=True)  # noqa: S603 - the product's own commands
        page = next((Path(folder) / "run" / "report").glob("*.html"))
        subprocess.run(  # noqa: S603 - found on the path
            [
                *(browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,1500"),
                *(f"--screenshot={file.resolve()}", page.as_uri()),
            ],
            check=True,
        )


if __name__ == "__main__":
    images = Path(sys.argv[1])
    phantoms(images / "phantom.png")
    report(images / "report.png")
