"""Models that earlier versions exported are read, and answer as they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.inference.model import load_model

GOLDEN = Path(__file__).parents[2] / "golden"


def test_a_model_of_schema_1_answers_as_it_did() -> None:
    model = load_model(GOLDEN / "export-1", "native", "cpu")
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    probability, description = model.engine.look(images)
    expected = [
        [0.5432897572763652, 0.17210496665471495, 0.22783715130365462],
        [0.5669045623813852, 0.17021313688400658, 0.21883229384157601],
        [0.5506231376339632, 0.15695023865652674, 0.23740948201048462],
    ]
    np.testing.assert_allclose(probability, expected, rtol=1e-6)
    assert description.shape == (3, 36 + 640 + 1664 + 256)
    assert model.classes == ("Chest", "Hand", "Knee")
