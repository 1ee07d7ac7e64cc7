"""HTML pages without network access: one file with its style, scripts and data inside."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from reports.figures.figure import Figure

NO_GALLERY: dict[str, Any] = {"images": [], "cells": {}}


def render(template: str, figures: Iterable[Figure], gallery: dict[str, Any] = NO_GALLERY, **values: Any) -> str:
    """Fill a template with values, charts and small pictures.

    Returns
    -------
    str
        A page that a browser shows from a file, under a content security policy that allows its own scripts alone.
    """
    charts = [_chart(figure) for figure in figures]
    constants = f"const CHARTS = {script_json(charts)}, GALLERY = {script_json(gallery)};"
    scripts = [*([_bundle()] if charts else []), constants, _file("report.js")]
    style = _file("report.css")
    page = _environment().get_template(template)
    return page.render(figures=figures, style=style, scripts=scripts, policy=_policy(scripts), **values)


def script_json(value: Any) -> str:
    """Write JSON that cannot end the enclosing script element; NaN is refused."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _chart(figure: Figure) -> dict[str, Any]:
    spec = figure.chart.to_dict()
    del spec["$schema"], spec["config"]  # an address, and a size that the page decides
    spec["description"] = f"{figure.title}. {figure.text}"  # for screen readers
    return {"name": figure.name, "spec": spec}


def _policy(scripts: list[str]) -> str:
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"


@cache
def _bundle() -> str:
    """Bundle Vega, Vega-Lite and vega-embed in one script."""
    libraries = vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue] its stub requires the optional snippet
    return re.sub(r"</(script)", r"<\\/\1", libraries, flags=re.IGNORECASE)


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(["j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _file(name: str) -> str:
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")
