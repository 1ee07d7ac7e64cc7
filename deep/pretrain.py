"""Pretraining a backbone on labelled images, into a weights file like the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
from safetensors.torch import save

from deep.backbones import Backbone, published_state
from deep.finetune import FineTune


def pretrain(
    head: FineTune,
    images: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    out: Path,
    seed: int,
    about: dict[str, object],
) -> dict[str, float]:
    """Train a network from random weights and write its backbone in the layout of its library.

    Parameters
    ----------
    head : FineTune
        How to train; `start` must be "random".
    images : ndarray of shape (n, h, w), uint8
    y : ndarray of shape (n, n_classes)
        Of 0 and 1.
    groups : ndarray of shape (n,)
        A tenth of the groups decides which epoch is kept.
    out : Path
        The .safetensors file to write; it is replaced when the new one is complete.
    about : dict of str to object
        Provenance written to the file, besides the returned record.

    Returns
    -------
    The record of the epoch that was kept.

    Raises
    ------
    ValueError
        If there are fewer than two groups.
    """
    names = np.unique(groups)
    if len(names) < 2:
        raise ValueError("pretraining needs at least two groups: one of them decides which epoch is kept")
    held = np.random.default_rng(seed).permutation(names)[: max(1, len(names) // 10)]
    valid = np.isin(groups, held)
    head.fit(images[~valid], y[~valid], images[valid], y[valid], seed)
    record = min(head.history_, key=lambda epoch: epoch["valid_loss"])
    said = {"xraybench": json.dumps({**about, "record": record}, sort_keys=True)}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    partial.write_bytes(save(published_state(head.backbone, cast(Backbone, head.network_.backbone)), metadata=said))
    partial.replace(out)
    return record
