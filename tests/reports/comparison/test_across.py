"""Several data sets: ranks that agree with Demšar and scipy, and no way to pass off folds as data sets."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, rankdata

from bench.cli import invoke
from reports.comparison.across import across, cliques, ranks_table, summarise_ranks
from reports.runs.results import Results, ResultsError, load
from reports.scores.evaluation import evaluate

CLASSES = ("Hand", "Knee", "Chest", "<b>Hip</b>")
MODELS = {
    "prior": ("dummy", 0.0),
    "hog-svm": ("classical", 1.0),
    "efficientnet-probe": ("deep", 2.0),
    "fusion-svm": ("fusion", 3.0),
}


@pytest.fixture
def several(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write runs of so many different data sets."""
    from tests.reports.conftest import write_run

    def make(n: int, task: str = "multilabel") -> list[Path]:
        runs = []
        for k in range(n):
            path = write_run(tmp_path / f"set-{k}", task, CLASSES, models=MODELS, seed=k)
            _rename(path, f"set-{k}")
            runs.append(path)
        return runs

    return make


def _rename(path: Path, name: str) -> None:
    description = json.loads((path / "run.json").read_text())
    description["data"] |= {"name": name, "digest": name * 8}
    (path / "run.json").write_text(json.dumps(description))
    manifest = pd.read_parquet(path / "manifest.parquet")
    manifest["sha256"] = [f"{name}{digest}"[:64] for digest in manifest["sha256"]]
    manifest.to_parquet(path / "manifest.parquet")


def _evaluated(paths: list[Path]) -> list:
    return [evaluate(load(path)) for path in paths]


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_ranks_and_friedman_agree_with_scipy(several: Callable[..., list[Path]], task: str) -> None:
    found = across(_evaluated(several(4, task)))
    scores = found.scores.to_numpy()
    np.testing.assert_allclose(found.test.ranks, np.mean([rankdata(-row) for row in scores], axis=0))
    if all(len(set(row)) == len(row) for row in scores):  # scipy corrects for ties, Demšar does not
        assert found.test.chi2 == pytest.approx(friedmanchisquare(*scores.T).statistic)
    assert [*found.scores][:: len(MODELS) - 1] == ["fusion-svm", "prior"]
    assert found.test.permutation_p < 0.001
    table = ranks_table(found)
    assert table["wins"].sum() >= 4
    assert table["wins"].iloc[-1] == 0
    assert table["mean_rank"].is_monotonic_increasing


def test_cliques_join_what_the_critical_difference_does_not_part(several: Callable[..., list[Path]]) -> None:
    found = across(_evaluated(several(3)))
    ranks, difference = found.test.ranks, found.test.critical_difference
    for first, last in cliques(found):
        assert ranks[last] - ranks[first] <= difference
        assert last + 1 == len(ranks) or ranks[last + 1] - ranks[first] > difference


def test_few_data_sets_are_said_to_be_few(several: Callable[..., list[Path]]) -> None:
    words = summarise_ranks(across(_evaluated(several(2))))
    assert words[0] == "fusion-svm has the best mean rank over 2 data sets: 1.00 of 4"
    assert any("fewer than 10 data sets" in line for line in words)


def test_runs_of_one_data_set_are_refused(make_run: Callable[..., Path], tmp_path: Path, capsys) -> None:
    run = make_run("multilabel", classes=CLASSES)
    again = shutil.copytree(run, tmp_path / "again")
    assert invoke(["report", str(run), str(again), "--html", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "both of data set generated" in " ".join(error.split())
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_shared_images_and_other_parameters_are_refused(several: Callable[..., list[Path]]) -> None:
    one, other = several(2)
    stolen = pd.read_parquet(one / "manifest.parquet")["sha256"].tolist()
    manifest = pd.read_parquet(other / "manifest.parquet")
    manifest.loc[:4, "sha256"] = stolen[:5]
    manifest.to_parquet(other / "manifest.parquet")
    with pytest.raises(ResultsError, match="share 5 images"):
        across(_evaluated([one, other]))
    _rename(other, "set-9")
    description = json.loads((other / "run.json").read_text())
    description["suite"]["models"]["hog-svm"]["head"] = {"class": "baselines.svm:SVM", "C": 3}
    (other / "run.json").write_text(json.dumps(description))
    with pytest.raises(ResultsError, match=r"hog-svm is not the same model .*\(head differs\)"):
        across(_evaluated([one, other]))


def test_a_model_that_is_not_finished_everywhere_is_left_out_by_name(several: Callable[..., list[Path]]) -> None:
    one, other = several(2)
    shutil.rmtree(other / "cells" / "hog-svm" / "r0-f1")
    found = across(_evaluated([one, other]))
    assert found.left_out == ("hog-svm",)
    first, *_, last = summarise_ranks(found)
    assert first.startswith("Not answered, no classical model finished on every data set: ")
    assert first.endswith("left out: hog-svm")
    assert last == "Left out: hog-svm: missing on set-1 (1 of 3 cells not run yet)."
    for model in ("prior", "efficientnet-probe"):
        shutil.rmtree(other / "cells" / model / "r0-f1")
    with pytest.raises(ResultsError, match="1 model with all folds in every run"):
        across(_evaluated([one, other]))


def test_every_format_is_written(several: Callable[..., list[Path]], tmp_path: Path) -> None:
    runs = [str(path) for path in several(3)]
    out = tmp_path / "out"
    assert invoke(["report", *runs, "--html", "--latex", "--md", "--figures", "svg", "--out", str(out)]) == 0
    assert {p.name for p in (out / "tables").iterdir()} == {
        f"{n}.{e}" for n in ("ranks", "scores") for e in ("csv", "md", "tex")
    }
    assert (out / "figures" / "ranks-double.svg").read_text().count("<path") > 5
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Critical-difference diagram" in page
    scores = pd.read_csv(out / "tables" / "scores.csv", index_col=0)
    assert list(scores.index) == ["set-0", "set-1", "set-2"]


def test_a_folder_that_is_no_run_is_named(several: Callable[..., list[Path]], tmp_path: Path, capsys) -> None:
    (run,) = several(1)
    assert invoke(["report", str(run), str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err


def test_the_models_know_their_families(several: Callable[..., list[Path]]) -> None:
    found = across(_evaluated(several(2)))
    assert found.families == {name: family for name, (family, _) in reversed(MODELS.items())}
    assert all(isinstance(run, Results) for run in found.runs)
