"""The figures are valid, and the page holds everything and lets nothing in."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import vl_convert

from reports.comparison.pairwise import TestSettings
from reports.figures.run_figures import all_figures
from reports.figures.theme import inline
from reports.pages.offline import script_json
from reports.pages.run_page import html
from reports.runs.results import Results, load
from reports.scores.confusion import confusion_counts, error_counts
from reports.scores.curves import GRID, precision_recall, roc
from reports.scores.evaluation import Decided, Evaluation, evaluate
from reports.tables.run_tables import all_tables


@pytest.fixture
def page(make_run: Callable[..., Path]) -> str:
    evaluation = evaluate(load(make_run("multilabel", synthetic=True)))
    return _html(evaluation)


def _html(evaluation: Evaluation) -> str:
    tables = all_tables(evaluation)
    return html(evaluation, tables, list(all_figures(evaluation, tables["pairwise"], TestSettings())), TestSettings())


class Outline(HTMLParser):
    """Collects the tags, attributes and headings of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_every_figure_is_drawn_by_vega(results: Results) -> None:
    evaluation = evaluate(results)
    for figure in all_figures(evaluation, all_tables(evaluation)["pairwise"], TestSettings()):
        svg = vl_convert.vegalite_to_svg(figure.chart.properties(width=500).to_json())
        assert svg.count("<path") > 5, figure.name


def test_curves_end_where_they_must_and_agree_with_their_areas() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.3
    scores = truth + rng.normal(size=400)
    metrics = pytest.importorskip("sklearn.metrics")
    assert roc(truth, scores)[-1] == 1
    assert np.trapezoid(roc(truth, scores), GRID) == pytest.approx(metrics.roc_auc_score(truth, scores), abs=0.01)
    precision = precision_recall(truth, scores)
    assert precision[-1] >= truth.mean()
    assert precision[1:].mean() == pytest.approx(metrics.average_precision_score(truth, scores), abs=0.01)


def test_confusions_count_pairs_of_missed_and_wrong_labels() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    decided = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=bool)
    part = Decided(np.arange(3), truth, decided, decided.astype(float))
    assert error_counts(part).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert confusion_counts(part)[0].tolist() == [1, 1, 0]


def test_undefined_values_become_null_in_charts() -> None:
    rows = json.loads(inline(pd.DataFrame({"x": [1.0, float("nan")], "n": [1, 2], "label": ["a", None]})).values)
    assert rows == [{"x": 1.0, "n": 1, "label": "a"}, {"x": None, "n": 2, "label": None}]


def test_json_in_a_script_cannot_end_it() -> None:
    text = script_json({"a": "</script><!--", "b": "\u2028&"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--", "b": "\u2028&"}
    with pytest.raises(ValueError, match="JSON compliant"):
        script_json(float("nan"))


def test_hostile_names_are_text_in_the_page(page: str) -> None:
    outline = Outline(page)
    assert outline.tags.count("script") == 3
    assert outline.tags.count("style") == 1
    assert re.search(r"<b>(out of memory|cut)", page) is None
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{7*7}}" in page


def test_the_page_loads_nothing_from_elsewhere(page: str) -> None:
    assert all(source.startswith(("#", "data:")) for source in Outline(page).sources)
    assert "vega.github.io/schema/vega-lite" not in page
    assert re.search(r"url\(|@import", page.split("</style>")[0]) is None
    assert re.search(r"default-src &#39;none&#39;|default-src 'none'", page)


def test_the_page_has_its_parts_in_order(page: str) -> None:
    places = [
        page.index(f'<section id="{name}"') for name in ("summary", "comparison", "balance", "classes", "samples")
    ]
    assert places == sorted(places)
    assert page.index("SYNTHETIC") < page.index("<h1>") < places[0]
    tags = Outline(page).tags
    assert tags.count("h1") == 1
    assert sum(source.startswith("data:image/png") for source in Outline(page).sources) == 3


def test_a_picture_that_is_no_png_is_left_out(make_run: Callable[..., Path]) -> None:
    run = make_run("multiclass")
    (run / "samples/0-after.png").write_bytes(b"<svg onload=alert(1)>")
    evaluation = evaluate(load(run))
    assert sum(source.startswith("data:image/png") for source in Outline(_html(evaluation)).sources) == 2


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("reports.scores.metrics", {"pandas", "altair", "scipy"}),
        ("reports.pages.terminal", {"altair", "jinja2"}),
        ("reports.pages.report", {"torch", "sklearn", "xgboost", "bench", "radiographs"}),
    ],
)
def test_importing_a_module_brings_no_more_than_it_needs(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not absent & set(loaded)
