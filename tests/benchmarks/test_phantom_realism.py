"""What a network learns from phantoms alone, tested on real radiographs: ``pytest -m slow -s tests/benchmarks/test_phantom_realism.py``.

Half of the real patients are for development, to see what the anatomy lacks; the figure is that of the other half.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from radiographs.phantom import Recipe, write_folder
from radiographs.phantom.views import PARTS
from radiographs.pixels import load_pixels
from radiographs.preprocess import Preprocessing
from radiographs.sources import Listing, open_source
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix

from deep.frozen import Frozen

pytestmark = pytest.mark.slow

NAMED = [part for part in PARTS if part != "Others"]
PHANTOMS = 2200


def encoded(listing: Listing, cache: Path, weights_dir: Path) -> pd.DataFrame:
    """Image, part and group of every image with one named part, and its activations."""
    pixels = load_pixels(listing, Preprocessing(), cache, workers=2)
    manifest = pixels.manifest[pixels.manifest["status"] == "ok"].reset_index(drop=True)
    labels = listing.items.set_index("image_id")["labels"].reindex(manifest["image_id"])
    kept = np.flatnonzero([len(label) == 1 and label[0] in NAMED for label in labels])
    features = Frozen("squeezenet1_0", weights_dir=weights_dir, offline=True).encode(np.asarray(pixels.images)[kept])
    parts = [labels.iloc[k][0] for k in kept]
    return pd.DataFrame({"part": parts, "group": manifest["group"].to_numpy()[kept], "features": list(features)})


def test_a_model_trained_on_phantoms_alone_knows_real_radiographs(
    shared: Path, weights_dir: Path, tmp_path: Path
) -> None:
    write_folder(tmp_path / "phantoms", Recipe(PHANTOMS, 7, side=320))
    phantoms = encoded(open_source(tmp_path / "phantoms"), tmp_path / "cache", weights_dir)
    real = encoded(open_source(shared / "data/unifesp"), tmp_path / "cache", weights_dir)
    model = LogisticRegression(C=10, class_weight="balanced", max_iter=500)
    model.fit(np.stack(phantoms["features"].tolist()), phantoms["part"])
    real["predicted"] = model.predict(np.stack(real["features"].tolist()))
    groups = real["group"].unique()
    ours = np.random.default_rng(0).permutation(groups)[: len(groups) // 2]
    halves = {"development": real[real["group"].isin(ours)], "final": real[~real["group"].isin(ours)]}
    found = {}
    for name, half in halves.items():
        recall = (half["part"] == half["predicted"]).groupby(half["part"]).mean()
        found[name] = recall.mean()
        print(f"\n{name}: {len(half)} images, balanced accuracy {recall.mean():.3f} over {len(recall)} parts")
        print(pd.DataFrame({"n": half["part"].value_counts(), "recall": recall.round(2)}).sort_values("n").to_string())
    table = confusion_matrix(halves["development"]["part"], halves["development"]["predicted"], labels=NAMED)
    print(pd.DataFrame(table, NAMED, [part[:6] for part in NAMED]).to_string())
    assert found["final"] >= 0.25
    recall = (real["part"] == real["predicted"]).groupby(real["part"]).mean()
    frequent = real["part"].value_counts().index[:12]
    assert (recall[frequent] > 1 / len(NAMED)).all()
