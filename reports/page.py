"""One HTML file that holds the whole report and asks the network for nothing."""

import base64
import hashlib
import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from reports.evaluation import Evaluation
from reports.export import plain
from reports.figures.comparison import ranked
from reports.figures.gallery import Figure, gallery
from reports.pairwise import Level
from reports.provenance import DIGEST_LENGTH, caption, groups_in_words
from reports.results import Results, Sample
from reports.summary import as_text, columns
from reports.words import headline, remarks

MAX_SAMPLES, MAX_SUSPECTS = 12, 40
MAX_SAMPLE_BYTES = 400_000
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def html(evaluation: Evaluation, tables: dict[str, pd.DataFrame], level: Level) -> str:
    """Write the report.

    Parameters
    ----------
    evaluation : Evaluation
    tables : dict
        Every table of `reports.tables.all_tables`.
    level : Level
        That they were made with.

    Returns
    -------
    str
        A page that a browser shows from a file, under a content security policy that allows its own scripts alone.
    """
    results = evaluation.results
    figures = list(gallery(evaluation, tables["pairwise"], level))
    scripts = [_bundle(), f"const CHARTS = {script_json([_chart(figure) for figure in figures])};", _file("report.js")]
    return _template().render(
        results=results,
        run=results.run,
        data=results.data,
        caption=caption(results),
        groups=groups_in_words(results),
        headline=headline(tables["summary"], tables["pairwise"], results, level),
        remarks=remarks(tables["summary"], results),
        columns=columns(results),
        summary=_rows(tables["summary"], results),
        open_models=_records(tables["summary"].query("status != 'done'")),
        excluded=_records(tables["excluded"]),
        warned=_records(results.cells[results.cells["warnings"].map(len) > 0]),
        suspects=_records(
            plain(tables["suspects"].head(MAX_SUSPECTS)).rename(columns=lambda name: name.replace(" ", "_"))
        ),
        n_suspects=len(tables["suspects"]),
        failures=_records(results.cells[results.cells["traceback"].notna()]),
        figures=figures,
        best=next(iter(ranked(evaluation)), ""),
        per_class=_records(plain(tables["per_class"]).rename(columns=lambda name: name.replace(" ", "_"))),
        samples=[_sample(sample) for sample in results.samples[:MAX_SAMPLES]],
        style=_file("report.css"),
        scripts=scripts,
        policy=_policy(scripts),
        digest_length=DIGEST_LENGTH,
    )


def script_json(value: Any) -> str:
    """Write JSON that cannot end the script element it stands in; NaN is refused."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _chart(figure: Figure) -> dict[str, Any]:
    spec = figure.chart.to_dict()
    del spec["$schema"], spec["config"]  # an address, and a size that the page decides
    return {"name": figure.name, "spec": spec}


def _rows(table: pd.DataFrame, results: Results) -> list[dict[str, Any]]:
    shown = columns(results)
    texts = as_text(table, shown).itertuples(index=False, name=None)
    return [
        {
            "family": row["family"],
            "cells": [(text, _sort_value(row[column.key])) for text, column in zip(each, shown, strict=True)],
        }
        for each, (_, row) in zip(texts, table.iterrows(), strict=True)
    ]


def _sort_value(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.to_dict("records")


def _sample(sample: Sample) -> dict[str, Any]:
    pictures = {"before": sample.before, "after": sample.after}
    pictures |= {f"augmented {i}": path for i, path in enumerate(sample.augmented, start=1)}
    return {
        "image_id": sample.image_id,
        "labels": sample.labels,
        "pictures": [(name, source) for name, path in pictures.items() if (source := _data_uri(path))],
    }


def _data_uri(path: Path) -> str | None:
    if not path.is_file() or path.stat().st_size > MAX_SAMPLE_BYTES:
        return None
    content = path.read_bytes()
    if not content.startswith(PNG_SIGNATURE):
        return None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _policy(scripts: list[str]) -> str:
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and vega-embed in one script."""
    return re.sub(r"</(script)", r"<\\/\1", vl_convert.javascript_bundle(), flags=re.IGNORECASE)


def _template():
    loader = PackageLoader("reports")
    environment = Environment(
        loader=loader,
        autoescape=select_autoescape(["j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _file(name: str) -> str:
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")
