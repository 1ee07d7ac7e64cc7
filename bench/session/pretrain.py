"""``bench pretrain``: a backbone trained on simulated radiographs, as a weights file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from radiographs import phantom
from radiographs.pixels import load_pixels
from radiographs.preprocess import Preprocessing
from radiographs.sources import open_source
from rich.console import Console

from bench import environment
from bench.data.dataset import label_matrix
from bench.errors import UserError
from bench.terminal.progress import Progress

_LEARNING_RATE, _BATCH = 1e-3, 32
_AUGMENTATION: dict[str, float] = {}  # the default ranges of deep.augment.Augmentation


def pretrain_on_phantoms(
    backbone: str, folder: Path, n: int, epochs: int, side: int, seed: int, device: str, console: Console
) -> Path:
    """Simulate `n` radiographs, train a backbone from random weights to name their parts, and write FOLDER/BACKBONE-phantom.safetensors.

    Raises
    ------
    UserError
        If no library has the backbone, or the file already exists.
    """
    from deep.backbones import build_backbone
    from deep.finetune import FineTune
    from deep.pretrain import pretrain

    out = folder / f"{backbone}-phantom.safetensors"
    if out.exists():
        raise UserError(f"{out}: already exists: give another --out, or remove it")
    try:
        build_backbone(backbone)
    except ValueError as error:
        raise UserError(str(error)) from None
    progress = Progress(console)
    with tempfile.TemporaryDirectory(prefix="xraybench-") as scratch:
        data = Path(scratch) / "phantoms"
        with progress.counting("simulating radiographs (synthetic)", n) as advance:
            recipe = phantom.Recipe(n, seed, side=max(256, side))
            phantom.write_folder(data, recipe, workers=environment.threads(), progress=advance)
        listing = open_source(data)
        pixels = load_pixels(listing, Preprocessing(side=side), Path(scratch) / "cache", workers=environment.threads())
        manifest = pixels.manifest
        labels = listing.items.set_index("image_id")["labels"].reindex(manifest["image_id"])
        classes = sorted({part for parts in labels for part in parts})
        y = label_matrix(labels, classes).astype(np.uint8)
        head = FineTune(
            backbone,
            epochs,
            start="random",
            batch=_BATCH,
            learning_rate=_LEARNING_RATE,
            backbone_rate=1.0,
            augmentation=_AUGMENTATION,
            device=device,
            on_epoch=lambda record: progress.note(
                f"epoch {record['epoch']:.0f}/{epochs}: train loss {record['train_loss']:.3f}, valid loss {record['valid_loss']:.3f}"
            ),
        )
        about = {"data": "phantom (synthetic)", "version": phantom.VERSION, "n": n, "side": side, "seed": seed}
        try:
            pretrain(head, np.asarray(pixels.images), y, manifest["group"].to_numpy(), out, seed, about)
        except ValueError as error:
            raise UserError(str(error)) from None
    return out
