"""Figures for a paper have the width of a column, letters that can be read, and a caption."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bench.cli import invoke
from reports.figures.files import COLUMN_WIDTHS, SHRUNK, parse_formats
from reports.runs.results import ResultsError
from tests.reports.conftest import write_run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "quick", "multilabel", ("Hand", "Knee", "<b>Hip</b>"))
    assert invoke(["report", str(run), "--figures", "svg,pdf,PNG"]) == 0
    return run / "report" / "figures"


def test_every_figure_is_as_wide_as_its_column(drawn: Path) -> None:
    names = {path.stem.rsplit("-", 1)[0] for path in drawn.glob("*.svg")}
    assert {"comparison", "roc", "precision-recall", "calibration", "tradeoff", "confusion"} <= names
    for path in drawn.glob("*.svg"):
        width = COLUMN_WIDTHS[path.stem.rsplit("-", 1)[1]]
        found = re.search(r'width="([\d.]+)pt"', path.read_text())
        assert found
        assert float(found[1]) == pytest.approx(width, abs=2)
        box = re.search(rb"/MediaBox ?\[0 0 ([\d.]+)", path.with_suffix(".pdf").read_bytes())
        assert box
        assert float(box[1]) == pytest.approx(width, abs=2)
        with Image.open(path.with_suffix(".png")) as picture:
            assert picture.width == pytest.approx(width / 72 * 600, rel=0.01)
            assert picture.info["dpi"][0] == pytest.approx(600, abs=1)


def test_letters_have_at_least_six_points_and_a_half(drawn: Path) -> None:
    for path in drawn.glob("*.svg"):
        sizes = {float(size) for size in re.findall(r'font-size="([\d.]+)px"', path.read_text())}
        assert sizes
        assert min(sizes) * SHRUNK >= 6.5


def test_an_axis_that_the_page_names_in_a_list_has_its_title_in_the_file(drawn: Path) -> None:
    assert "F1 per image" in (drawn / "comparison-single.svg").read_text()
    assert "Encode + predict (ms per image)" in (drawn / "tradeoff-double.svg").read_text()


def test_captions_say_what_is_shown_and_from_which_run(drawn: Path) -> None:
    text = (drawn / "captions.md").read_text(encoding="utf-8")
    assert "**roc**" in text
    assert re.search(r"\*\*roc\*\*: .* Shown: model: \S+; class: All classes \(micro-average\)\.", text)
    assert "splits c0ffeec0ffee" in text


def test_figures_alone_write_no_tables(drawn: Path) -> None:
    assert not (drawn.parent / "tables").exists()
    assert not (drawn.parent / "report.html").exists()


def test_an_unknown_format_is_refused_in_one_line(make_run: Callable[..., Path], capsys) -> None:
    run = make_run("multiclass")
    assert invoke(["report", str(run), "--figures", "pdf,eps"]) == 2
    assert "--figures pdf,eps: give some of pdf, svg, png" in capsys.readouterr().err
    assert not (run / "report").exists()
    assert parse_formats(None) == ()
    assert parse_formats("svg, pdf,svg") == ("svg", "pdf")
    with pytest.raises(ResultsError):
        parse_formats(",")
