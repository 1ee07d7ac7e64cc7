"""`bench study`: one plan, one folder, one report."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from radiographs.phantom import Recipe, write_folder
from radiographs.sources import Hints, SourceError, open_source

from reports.runs.results import load

STUDY = """
folds = 3
seeds = [0, 1]
models = ["thumbnail-svm", "pixels", "prior"]
suite = "suite.toml"
leave_one_out = true

[[data]]
path = "a"
classes = { "Ankle" = "Feet", "Skull" = "" }

[[data]]
path = "b"
name = "other"
classes = { "Ankle" = "Feet" }

[variants.median]
"preprocessing.denoise" = "median"

[learning_curve]
shares = [0.5]
"""
SUITE = """
name = "tiny"
[preprocessing]
side = 64
[models.prior]
head = { class = "baselines.prior:Prior" }
[models.thumbnail-svm]
family = "classical"
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 16 }]
head = { class = "baselines.svm:SVM" }
[models.pixels]
family = "classical"
encoders = [{ class = "baselines.thumbnail:Thumbnail", side = 8 }]
head = { class = "baselines.svm:SVM", C = [1], gamma = [1] }
"""
CONSTANT = """
import numpy as np
class Constant:
    def fit(self, X, y, X_valid, y_valid, seed):
        self.classes = y.shape[1]
        return self
    def predict_proba(self, X):
        return np.full((len(X), self.classes), VALUE)
"""
PARTS = ("Chest", "Hand", "Feet", "Ankle")


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated data sets and a study file."""
    root = tmp_path_factory.mktemp("study")
    write_folder(root / "a", Recipe(48, 3, side=96, parts=(*PARTS, "Skull")))
    write_folder(root / "b", Recipe(36, 9, side=96, parts=PARTS))
    (root / "study.toml").write_text(STUDY)
    (root / "suite.toml").write_text(SUITE)
    return root


def test_a_study_is_one_plan_one_store_and_one_report(hospitals: Path, bench_command: Callable) -> None:
    plan = bench_command("study", hospitals / "study.toml", "--dry-run")
    assert "10 runs" in plan.stdout
    assert not Path("studies").exists()
    done = bench_command("study", hospitals / "study.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    root = Path("studies/study")
    runs = {folder.name: load(folder) for folder in sorted((root / "runs").iterdir())}
    assert len(runs) == 10
    same_folds = {name: run.run["splits"]["digest"] for name, run in runs.items() if name.split("-")[0] == "a"}
    assert len(same_folds) == 4
    assert len(set(same_folds.values())) == 1  # variants and seeds are compared fold by fold
    assert "Ankle" not in runs["a"].classes
    assert "Skull" not in runs["a"].classes
    away = runs["without-a"]
    assert away.data["n_images"] == runs["other"].data["n_images"]
    assert set(away.held_out) == {"thumbnail-svm", "pixels", "prior"}
    tables = {path.stem: pd.read_csv(path) for path in (root / "report" / "tables").glob("*.csv")}
    effects = tables["effects"]
    assert set(effects["model"]) == {"thumbnail-svm", "pixels"}
    assert (effects["n_seeds"] == 2).all()
    row = effects[(effects["data"] == "a") & (effects["model"] == "thumbnail-svm")].iloc[0]
    scores = tables["scores"].set_index(["run", "model"])["mean"]
    seeds = ("", "-seed1")
    change = np.mean([scores[f"a-median{s}", "thumbnail-svm"] - scores[f"a{s}", "thumbnail-svm"] for s in seeds])
    assert row["difference"] == pytest.approx(change)
    assert set(tables) == {"effects", "seeds", "external_validation", "patients", "ranks", "scores"}
    again = bench_command("study", hospitals / "study.toml")
    assert " 0 cells computed" in again.stdout or "\n0 cells computed" in again.stdout
    assert "1 cells computed" not in again.stdout
    page = bench_command("report", root, "--html", "--latex")
    assert page.returncode == 0
    text = (root / "report" / "report.html").read_text()
    assert "median: " in text
    assert "SYNTHETIC" in text
    plan = root / "study.json"
    content = plan.read_text()
    for old, new in (
        ('"seed": 1', '"seed": 3'),
        ('"variant": "median"', '"variant": "mediam"'),
        ('"seal": "', '"seal": "0'),
    ):
        plan.write_text(content.replace(old, new, 1))
        damaged = bench_command("report", root)
        assert damaged.returncode == 2
        assert "study.json: cannot be read as a study (it does not fit its seal)" in damaged.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"Ankle" = "Feet", "Skull" = ""', '"Ankel" = "Feet"'), "no image has the class 'Ankel'"),
        (('"preprocessing.denoise"', '"preprocessing.denose"'), "denose"),
        (("[variants.median]", "[variants.base]"), "variants.base"),
        (
            ('"preprocessing.denoise" = "median"', '"models.pixel.head.C" = [1]'),
            "model 'pixel' is in none of the suites",
        ),
        (('"pixels"', '"pixel"'), "'pixel' is in none of the suites"),
        (("shares = [0.5]", "shares = [5]"), "learning_curve.shares.0"),
        (('name = "other"', 'name = "a"'), "'a' is there twice"),
        (("seeds = [0, 1]", "seed = 1"), "seed: extra inputs"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line_before_anything_is_computed(
    hospitals: Path, bench_command: Callable, change: tuple[str, str], said: str
) -> None:
    wrong = hospitals / "wrong.toml"
    wrong.write_text(STUDY.replace(*change))
    done = bench_command("study", wrong, "--out", "out")
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not Path("out").exists()


def test_a_variant_of_one_model_leaves_suites_without_it_alone(
    hospitals: Path, bench_command: Callable, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "tiny.toml").write_text(SUITE)
    other = SUITE.replace("tiny", "own").replace("pixels", "mine").replace("baselines.thumbnail:Th", "own_thumbs:Th")
    (tmp_path / "other" / "own.toml").write_text(other)
    (tmp_path / "other" / "own_thumbs.py").write_text("from baselines.thumbnail import Thumbnail\n")
    lines = ["folds = 2", 'suite = ["tiny.toml", "other/own.toml"]', "[[data]]", f'path = "{hospitals / "a"}"']
    lines += ["[variants.firm]", '"models.pixels.head.C" = [100]', '"models.mine.head.C" = [100]']
    lines += ["[variants.soft]", '"models.pixels.head.C" = [0.01]']
    (tmp_path / "study.toml").write_text("\n".join(lines))
    done = bench_command("study", tmp_path / "study.toml", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = {folder.name for folder in Path("out/runs").iterdir()}
    assert runs == {"a-tiny", "a-tiny-firm", "a-tiny-soft", "a-own", "a-own-firm"}
    effects = pd.read_csv("out/report/tables/effects.csv")
    assert set(zip(effects["suite"], effects["variant"], effects["model"], strict=True)) == {
        ("tiny", "firm", "pixels"),
        ("tiny", "soft", "pixels"),
        ("own", "firm", "mine"),
    }


def test_suites_whose_own_classes_have_one_name_are_not_run_with_the_same_class(
    hospitals: Path, tmp_path: Path, bench_command: Callable
) -> None:
    for folder, value in (("one", 0.25), ("other", 0.75)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "constant.py").write_text(CONSTANT.replace("VALUE", str(value)))
        own = f'name = "{folder}"\n[models.constant]\nfamily = "classical"\nhead = {{ class = "constant:Constant" }}\n'
        (tmp_path / folder / "own.toml").write_text(own)
    lines = ["folds = 2", 'suite = ["one/own.toml", "other/own.toml"]', "[[data]]", f'path = "{hospitals / "a"}"']
    (tmp_path / "study.toml").write_text("\n".join(lines))
    done = bench_command("study", tmp_path / "study.toml", "--out", "out")
    assert done.returncode == 2
    assert "constant:Constant, which is" in done.stderr
    assert f"{tmp_path / 'one/constant.py'} before it is {tmp_path / 'other/constant.py'}" in done.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "other/constant.py").rename(tmp_path / "other/steady.py")
    suite = tmp_path / "other/own.toml"
    suite.write_text(suite.read_text().replace("constant:", "steady:"))
    assert bench_command("study", tmp_path / "study.toml", "--out", "out").returncode == 0
    for folder, value in (("one", 0.25), ("other", 0.75)):
        for table in load(tmp_path / f"out/runs/a-{folder}").predictions.values():
            assert (table.filter(like="probability/") == value).all(axis=None)


def test_a_study_folder_of_somebody_else_leads_nowhere_else(tmp_path: Path, bench_command: Callable) -> None:
    facts = {"name": "x", "data": ["a"], "suite": "s", "variant": "base", "seed": 0, "test": None}
    (tmp_path / "study.json").write_text(json.dumps({"name": "s", "runs": [facts | {"name": "../../etc"}]}))
    done = bench_command("report", tmp_path)
    assert done.returncode == 2
    assert "is not a valid name of a run" in done.stderr


def test_classes_get_other_names_and_images_without_any_are_left_out(hospitals: Path) -> None:
    plain = open_source(hospitals / "a", Hints())
    mapped = open_source(hospitals / "a", Hints(classes={"Ankle": "Feet", "Skull": ""}))
    assert {label for labels in mapped.items["labels"] for label in labels} == {"Chest", "Feet", "Hand"}
    assert all(len(set(labels)) == len(labels) > 0 for labels in mapped.items["labels"])
    skulls = sum(labels == ["Skull"] for labels in plain.items["labels"])
    assert len(plain.items) - len(mapped.items) == skulls > 0
    assert f"{skulls} images have only classes that are left out" in mapped.notes
    with pytest.raises(SourceError, match="'Skul'"):
        open_source(hospitals / "a", Hints(classes={"Skul": "Skull"}))


def test_a_pool_of_data_without_patients_has_none_and_leaves_refused_images_out(tmp_path: Path) -> None:
    from PIL import Image

    from bench.study.plan import DataSet
    from bench.study.pool import source

    for name in ("a", "b"):
        for k in range(4):
            place = tmp_path / name / "images" / ("x", "y")[k % 2] / f"1.{k}-c.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), 40 * k, np.uint8)).save(place)
    (tmp_path / "b" / "train.csv").write_text("SOPInstanceUID,Target\n" + "".join(f"1.{k},{k % 2}\n" for k in range(4)))
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / "b" / "images" / "1.3-c.png")
    card, hints = source([DataSet(path=str(tmp_path / name)) for name in ("a", "b")], "pool", tmp_path / "cache")
    listing = open_source(Path(card), hints)
    assert len(listing.items) == 4 + 3
    assert not listing.grouped
