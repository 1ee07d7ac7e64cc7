"""What earlier versions wrote is read: exported models, and the parts of a prediction that was begun."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from radiographs.disk import write_checksums

from bench.inference.inputs import Item
from bench.inference.model import Prediction, load_model
from bench.inference.package import SCHEMA, PackageError, read_facts
from bench.inference.predict import Settings, predict_to
from reports.runs.format import sealed

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture
def images() -> np.ndarray:
    """The images that the golden predictions were made of, (5, 64, 64) uint8."""
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8)
    images[1:3] = images[1:3] // 4 + np.arange(0, 192, 3, dtype=np.uint8)
    return images


def test_a_model_of_schema_1_predicts_what_it_did(images: np.ndarray) -> None:
    expected = json.loads((GOLDEN / "export-1.json").read_text(encoding="utf-8"))
    found = load_model(GOLDEN / "export-1").predict(images)
    assert found.decision.labels.tolist() == expected["labels"]
    assert found.decision.sure.tolist() == expected["sure"]
    for name, values in {
        "probability": found.probability,
        "confidence": found.decision.confidence,
        "ood_score": found.ood_score,
    }.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-6, err_msg=name)  # on another processor, too


def test_a_model_of_schema_1_and_the_same_in_the_words_of_today_predict_the_same_bits(
    images: np.ndarray, tmp_path: Path
) -> None:
    new = tmp_path / "model"
    shutil.copytree(GOLDEN / "export-1", new)
    (new / "strangeness.safetensors").rename(new / "ood.safetensors")
    facts = {key: value for key, value in read_facts(GOLDEN / "export-1").items() if key != "seal"}
    (new / "model.json").write_text(json.dumps(sealed({**facts, "schema": SCHEMA})), encoding="utf-8")
    write_checksums(new)
    before, after = load_model(GOLDEN / "export-1").predict(images), load_model(new).predict(images)
    assert _bits(before) == _bits(after)


def test_a_model_of_a_schema_to_come_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(sealed({"schema": SCHEMA + 1})), encoding="utf-8")
    with pytest.raises(PackageError, match=f"written with schema {SCHEMA + 1}; this version reads up to {SCHEMA}"):
        load_model(tmp_path)


def test_parts_with_the_columns_of_before_are_kept(tmp_path: Path) -> None:
    files = [tmp_path / f"{k}.png" for k in range(4)]
    for k, file in enumerate(files):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (80, 70), dtype=np.uint8)).save(file)
    model, items = load_model(GOLDEN / "export-1"), [Item(str(file)) for file in files]
    out = tmp_path / "answers"
    predict_to(out, model, items, Settings(1, part=2))
    expected = pd.read_parquet(out)
    assert (expected["verdict"] == "out of distribution").any()
    _as_before(out)
    assert "strangeness" in pd.read_parquet(out)
    tally = predict_to(out, model, items, Settings(1, part=2))
    assert (tally.kept, tally.damaged) == (4, 0)
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected, check_exact=True)


def _as_before(out: Path) -> None:
    """Give a folder of predictions the columns and the plan of the first version."""
    plan = json.loads((out / "_plan.json").read_text(encoding="utf-8"))
    for file in sorted(out.glob("part-*.parquet")):
        table = pd.read_parquet(file).rename(columns={"ood_score": "strangeness"})
        table["verdict"] = table["verdict"].replace("out of distribution", "strange")
        content = table.to_parquet(index=False)
        file.unlink()
        digest = hashlib.sha256(content).hexdigest()[:20]
        file.with_name(f"{file.stem.rpartition('-')[0]}-{digest}.parquet").write_bytes(content)
    old = {key: value for key, value in plan.items() if key not in ("seal", "columns")}
    (out / "_plan.json").write_text(json.dumps(sealed(old)), encoding="utf-8")


def _bits(prediction: Prediction) -> dict[str, bytes]:
    arrays = {"probability": prediction.probability, "ood_score": prediction.ood_score, **asdict(prediction.decision)}
    return {name: np.asarray(values).tobytes() for name, values in arrays.items()}
