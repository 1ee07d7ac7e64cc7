"""Figures as files for a paper: the charts of the report with their first choices, at the width of one column or two.

A chart is drawn in pixels as on the page and scaled to its column, so that its letters are 7 points high.
"""

import re
from collections.abc import Iterable, Iterator

import vl_convert

from reports.figures.figure import Figure
from reports.runs.results import ResultsError
from reports.tables.export import markdown_escaped

FORMATS = ("pdf", "svg", "png")
COLUMN_WIDTHS = {"single": 252, "double": 510}  # points: 89 and 180 mm
SHRUNK = 0.62  # points per pixel of the drawing: letters of 11 and 12 pixels become 6.8 and 7.4 points
PNG_PPI = 600
INK, QUIET, LINE = "#000000", "#444444", "#dddddd"
CONFIG = {
    "background": "white",
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "view": {"stroke": "transparent"},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": LINE,
        "domainColor": QUIET,
        "tickColor": QUIET,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 210,
        "labelOverlap": True,
    },
    "axisBand": {"grid": False, "labelOverlap": False},
    "legend": {"labelColor": INK, "labelFontSize": 12, "symbolFillColor": QUIET},
    "text": {"fill": INK},
}


def parse_formats(text: str | None) -> tuple[str, ...]:
    """Read "pdf,svg,png".

    Raises
    ------
    ResultsError
        For a format that is not one of `FORMATS`.
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in (text or "").split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or (text is not None and not names):
        raise ResultsError(f"--figures {text}: give some of {', '.join(FORMATS)}, with commas between")
    return names


def figure_files(figures: Iterable[Figure], formats: Iterable[str], provenance: str) -> Iterator[tuple[str, bytes]]:
    """Draw every figure at each column width at which it is legible.

    Yields
    ------
    (str, bytes)
        Name of the file, such as "roc-single.pdf", and its content; last captions.md: what each shows, and `provenance`.
    """
    formats, captions = tuple(formats), []
    for figure in figures if formats else ():
        captions.append(_caption(figure))
        for column, width in COLUMN_WIDTHS.items():
            if column == "single" and figure.min_width > width / SHRUNK:
                continue
            svg = _svg(figure, width)
            for name in formats:
                yield f"{figure.name}-{column}.{name}", _converted(svg, name)
    if captions:
        yield "captions.md", "\n\n".join([*captions, f"{markdown_escaped(provenance)}."]).encode() + b"\n"


def _caption(figure: Figure) -> str:
    chosen = "; ".join(f"{name.lower()}: {value}" for name, value in figure.chosen.items())
    text = f"{figure.text} Shown: {chosen}." if chosen else figure.text
    return f"**{figure.name}**: {figure.title}. {markdown_escaped(text)}"


def _svg(figure: Figure, width: float) -> str:
    """Draw a figure this many points wide; its unitless size is in points."""
    spec = figure.chart.to_dict()
    spec |= {"width": round(width / SHRUNK), "autosize": {"type": "fit-x", "contains": "padding"}, "config": CONFIG}
    if figure.axis:
        for layer in spec["layer"]:
            place = layer["encoding"].get(figure.axis)
            if place and place.get("title", "") is None:
                place["title"] = next(iter(figure.chosen.values()))
    svg = vl_convert.vegalite_to_svg(spec)
    return re.sub(r'(width|height)="([\d.]+)"', lambda m: f'{m[1]}="{float(m[2]) * SHRUNK:.2f}"', svg, count=2)


def _converted(svg: str, name: str) -> bytes:
    if name == "pdf":
        return vl_convert.svg_to_pdf(svg)
    if name == "png":
        return vl_convert.svg_to_png(svg, ppi=PNG_PPI)
    return re.sub(r'(width|height)="([\d.]+)"', r'\1="\2pt"', svg, count=2).encode("utf-8")
