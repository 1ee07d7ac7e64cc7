"""A run folder that contradicts itself is found, though every checksum and seal in it was made anew."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from radiographs import splits as splitting
from radiographs.disk import sha256
from rich.console import Console

from bench.inspection.consistency import contradictions, folder_digest
from bench.inspection.verify import verify
from bench.session.record import data_digest, suite_digest
from reports.comparison.pairwise import TestSettings
from reports.runs.format import sealed
from reports.runs.results import ResultsError, load

Forge = Callable[[Path], None]


@pytest.fixture(scope="module")
def finished(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bench.session.request import Request
    from bench.session.run import run_session

    root = tmp_path_factory.mktemp("verified")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRAYBENCH_CACHE", str(root / "cache"))
        request = Request(("prior", "thumbnail-svm"), str(phantom_folder), str(_suite(root)), root / "run", folds=3)
        assert run_session(request, Console(quiet=True)) == 0
    return root / "run"


def _suite(root: Path) -> Path:
    path = root / "small.toml"
    path.write_text(
        'name = "small"\ndescription = "Small."\n[models.prior]\nhead = {class = "baselines.prior:Prior"}\n'
        "[models.thumbnail-svm]\nencoders = [{class = 'baselines.thumbnail:Thumbnail', side = 16}]\n"
        'head = {class = "baselines.svm:SVM", C = [1], gamma = [1]}\n[models.other]\nhead = {class = "baselines.prior:Prior"}\n'
    )
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file and seal it again."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(sealed(content), indent=1))


def table(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def reseal(run: Path) -> None:
    """Make every checksum, digest and seal anew, as somebody would who knows how they are made."""
    splits = splitting.digest(pd.read_parquet(run / "splits.parquet"))
    models = json.loads((run / "run.json").read_text())["suite"]["models"]

    def described(content: dict[str, Any]) -> None:
        content["files"] = {name: sha256(run / name) for name in content["files"]}
        content["splits"]["digest"] = splits
        content["data"]["digest"] = data_digest(pd.read_parquet(run / "manifest.parquet"))

    edit(run / "run.json", described)
    for path in run.glob("cells/*/*/cell.json"):
        names = [p.relative_to(path.parent).as_posix() for p in path.parent.rglob("*") if p.is_file() and p != path]
        spec = {k: v for k, v in models.get(path.parts[-3], {}).items() if k not in ("family", "description")}
        provenance = {"splits": splits, "model": hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()}
        checksums = {name: sha256(path.parent / name) for name in names}
        edit(
            path,
            lambda c, provenance=provenance, sums=checksums: c.update(
                provenance=c["provenance"] | provenance, checksums=sums
            ),
        )


def _n_train(run: Path) -> None:
    edit(run / "cells/prior/r0-f0/cell.json", lambda cell: cell.update(n_train=cell["n_train"] + 1))


def _n_test(run: Path) -> None:
    edit(run / "cells/prior/r0-f0/cell.json", lambda cell: cell.update(n_test=9999))


def _family(run: Path) -> None:
    edit(run / "cells/prior/r0-f0/cell.json", lambda cell: cell.update(family="deep"))


def _n_images(run: Path) -> None:
    edit(run / "run.json", lambda content: content["data"].update(n_images=4000))


def _n_groups(run: Path) -> None:
    edit(run / "run.json", lambda content: content["data"].update(n_groups=4000))


def _n_excluded(run: Path) -> None:
    table(run / "manifest.parquet", lambda t: pd.concat([t, t.tail(1).assign(image_id="x", status="excluded")]))


def _class(run: Path) -> None:
    edit(run / "run.json", lambda content: content["data"]["classes"].append("Skull"))
    for path in run.glob("cells/*/*/predictions.parquet"):
        table(path, lambda t: t.assign(**{"truth/Skull": 0, "probability/Skull": 0.0}))


def _image_taken_away(run: Path) -> None:
    table(run / "manifest.parquet", lambda t: t.iloc[1:])


def _label(run: Path) -> None:
    def changed(manifest: pd.DataFrame) -> pd.DataFrame:
        other = ["Knee"] if list(manifest["labels"][0]) == ["Hand"] else ["Hand"]
        return manifest.assign(labels=[other, *manifest["labels"][1:]])

    table(run / "manifest.parquet", changed)


def _truth(run: Path) -> None:
    path = run / "cells/thumbnail-svm/r0-f1/predictions.parquet"
    table(path, lambda t: t.assign(**{"truth/Hand": 1 - t["truth/Hand"]}))


def _no_probability(run: Path) -> None:
    path = run / "cells/thumbnail-svm/r0-f1/predictions.parquet"
    table(path, lambda t: t.assign(**{"probability/Hand": 1.5}))


def _moved(run: Path, one: str, other: str) -> None:
    """Move one image from a part of the first fold to another, there and in the predictions, and count it there."""
    splits = pd.read_parquet(run / "splits.parquet")
    row = splits.index[(splits["fold"] == 0) & (splits["part"] == one)][0]
    image = splits.at[row, "image_id"]
    splits.at[row, "part"] = other
    splits.to_parquet(run / "splits.parquet", index=False)
    for cell in run.glob("cells/*/r0-f0"):
        predictions = pd.read_parquet(cell / "predictions.parquet")
        own = predictions["image_id"] == image
        predictions.loc[own, "part"] = other
        if other == "train":
            predictions = predictions[~own]
        elif one == "train":
            predictions = pd.concat([predictions, predictions.head(1).assign(image_id=image, part=other)])
        predictions.to_parquet(cell / "predictions.parquet", index=False)
        edit(cell / "cell.json", lambda c: c.update({f"n_{one}": c[f"n_{one}"] - 1, f"n_{other}": c[f"n_{other}"] + 1}))


def _valid_to_train(run: Path) -> None:
    """A whole patient, so that nothing leaks: only the seed tells."""
    group = dict(zip(*(pd.read_parquet(run / "manifest.parquet")[name] for name in ("image_id", "group")), strict=True))
    splits = pd.read_parquet(run / "splits.parquet")
    valid = splits[(splits["fold"] == 0) & (splits["part"] == "valid")]
    whole = valid["image_id"].map(group)
    for _ in range(int((whole == whole.iloc[0]).sum())):
        _moved(run, "valid", "train") if whole.nunique() > 1 else None


def _valid_to_test(run: Path) -> None:
    _moved(run, "valid", "test")


def _test_to_valid(run: Path) -> None:
    _moved(run, "test", "valid")


def _train_to_test(run: Path) -> None:
    _moved(run, "train", "test")


def _fold_less(run: Path) -> None:
    """Everywhere: in run.json, in the splits, in the cells."""
    edit(run / "run.json", lambda c: (c["splits"].update(folds=2), c["suite"]["cv"].update(folds=2)))
    table(run / "splits.parquet", lambda t: t[t["fold"] < 2])
    for cell in run.glob("cells/*/r0-f2"):
        shutil.rmtree(cell)


def _fold_less_in_run_json(run: Path) -> None:
    edit(run / "run.json", lambda c: (c["splits"].update(folds=2), c["suite"]["cv"].update(folds=2)))


def _fold_removed(run: Path) -> None:
    shutil.rmtree(run / "cells/thumbnail-svm/r0-f2")


def _model_removed(run: Path) -> None:
    shutil.rmtree(run / "cells/thumbnail-svm")


def _model_removed_from_run_json(run: Path) -> None:
    edit(run / "run.json", lambda c: c["suite"]["models"].pop("thumbnail-svm"))


def _model_removed_everywhere(run: Path) -> None:
    _model_removed(run)
    _model_removed_from_run_json(run)


def _parameter(run: Path) -> None:
    edit(run / "run.json", lambda c: c["suite"]["models"]["thumbnail-svm"]["head"].update(C=[10]))


def _fold_declared_failed(run: Path) -> None:
    edit(run / "cells/thumbnail-svm/r0-f2/cell.json", lambda c: c.update(status="failed", reason="out of memory"))


def _seed(run: Path) -> None:
    edit(run / "run.json", lambda c: c.update(seed=7))
    for path in run.glob("cells/*/*/cell.json"):
        edit(path, lambda c: c["provenance"].update(seed=7))


def _model_file_exchanged(run: Path) -> None:
    (run / "cells/thumbnail-svm/r0-f0/junk.bin").write_bytes(b"junk")


FORGERIES = (
    *(_n_train, _n_test, _family, _n_images, _n_groups, _n_excluded, _class, _image_taken_away, _label, _truth),
    *(_no_probability, _valid_to_train, _valid_to_test, _test_to_valid, _train_to_test, _fold_less),
    *(_fold_less_in_run_json, _fold_removed, _model_removed, _model_removed_from_run_json, _model_removed_everywhere),
    *(_parameter, _fold_declared_failed, _seed),
)


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_folder_that_contradicts_itself_is_found_though_it_was_sealed_again(
    bench_command: Callable[..., Any], finished: Path, tmp_path: Path, forge: Forge
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    reseal(tmp_path / "run")
    assert bench_command("verify", tmp_path / "run").returncode == 0
    forge(tmp_path / "run")
    reseal(tmp_path / "run")
    done = bench_command("verify", tmp_path / "run")
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    assert "\n  " in done.stdout or done.stderr.startswith("error:")


def test_what_nobody_names_in_a_cell_is_found(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run/cells/prior/r0-f0/model.pkl").write_bytes(b"junk")
    (tmp_path / "run/cells/prior/r0-f0/.DS_Store").write_bytes(b"left by a file manager")
    model = next((tmp_path / "run/cells/thumbnail-svm/r0-f1/model").iterdir())
    model.write_bytes(b"junk")
    assert contradictions(load(tmp_path / "run")) == [
        "cells/prior/r0-f0: model.pkl is not named in cell.json",
        f"cells/thumbnail-svm/r0-f1: model/{model.name} does not match its checksum",
    ]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_predictions_without_some_of_their_rows_are_refused(finished: Path, tmp_path: Path, part: str) -> None:
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run/cells/prior/r0-f0/predictions.parquet"
    table(path, lambda t: t.drop(t.index[t["part"] == part][0]))
    reseal(tmp_path / "run")
    with pytest.raises(ResultsError, match=f"is not for the {part} part in splits.parquet"):
        load(tmp_path / "run")


def test_checks_cannot_be_switched_off(finished: Path, tmp_path: Path) -> None:
    """By an older schema, no checksums, no origin, no list of pictures."""

    def fresh() -> Path:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return Path(shutil.copytree(finished, tmp_path / "run"))

    content = json.loads((fresh() / "run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps({**content, "schema": 1}))
    with pytest.raises(ResultsError, match=r"run\.json does not match its seal"):
        load(tmp_path / "run")
    for key, said in (("files", "run.json lacks 'files'"), ("seal", "run.json does not match its seal")):
        (tmp_path / "run/run.json").write_text(json.dumps({k: v for k, v in content.items() if k != key}))
        if key == "files":
            edit(tmp_path / "run/run.json", dict)
        with pytest.raises(ResultsError, match=said.replace(".", r"\.")):
            load(tmp_path / "run")
    edit(fresh() / "cells/prior/r0-f0/cell.json", lambda cell: cell.pop("provenance"))
    with pytest.raises(ResultsError, match="lacks 'provenance'"):
        load(tmp_path / "run")
    (fresh() / "pictures.json").unlink()
    with pytest.raises(ResultsError, match=r"pictures\.json: is missing"):
        load(tmp_path / "run")


def test_a_run_that_is_not_finished_was_not_checked_whole(
    bench_command: Callable[..., Any], finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/cells/prior/r0-f2")
    done = bench_command("verify", tmp_path / "run")
    assert done.returncode == 1
    assert "not checked: prior: 1 of 3 cells are missing: not run yet, or removed" in done.stdout


def test_a_published_digest_tells_a_forged_folder(
    bench_command: Callable[..., Any], finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    digest = folder_digest(finished)
    done = bench_command("verify", tmp_path / "run", "--digest", digest)
    assert done.returncode == 0
    assert digest in done.stdout
    edit(tmp_path / "run/run.json", lambda content: content.update(created="2020-01-01T00:00:00+00:00"))
    assert bench_command("verify", tmp_path / "run").returncode == 0
    done = bench_command("verify", tmp_path / "run", "--digest", digest)
    assert done.returncode == 1
    assert "this is not the folder that was published" in done.stdout


def test_models_that_join_later_are_in_the_digest_of_the_suite(
    bench_command: Callable[..., Any], phantom_folder: Path, tmp_path: Path
) -> None:
    run = ("--data", phantom_folder, "--suite", _suite(tmp_path), "--folds", 2, "--out", "run")
    for model in ("prior", "other"):
        assert bench_command("run", model, *run).returncode == 0
        content = json.loads((tmp_path / "run/run.json").read_text())
        assert suite_digest(content["suite"]) == content["suite"]["digest"]
        assert verify(tmp_path / "run", None, TestSettings(), Console(quiet=True)) == 0
