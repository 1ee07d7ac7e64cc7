"""``bench dictionary``: what Fisher vectors compare descriptors with, learned from images of its own."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from radiographs import phantom
from radiographs.disk import write_file
from radiographs.pixels import load_pixels
from radiographs.preprocess import Preprocessing
from radiographs.sources import open_source
from rich.console import Console

from bench import environment
from bench.errors import UserError
from bench.terminal.progress import Progress


@dataclass(frozen=True, kw_only=True)
class DictionaryRequest:
    """What a dictionary is learned from, and its size.

    Attributes
    ----------
    out : Path
        File to write.
    data : str or None
        Folder, table or card whose images it is learned from; None for simulated radiographs. Labels are not used.
    n : int
        Number of images.
    components, gaussians : int
        Principal components that are kept of a descriptor, and Gaussians of the mixture.
    side : int
        Side of the preprocessed images in pixels.
    seed : int
    """

    out: Path
    data: str | None = None
    n: int = 200
    components: int = 48
    gaussians: int = 64
    side: int = 224
    seed: int = 2010


def dictionary_session(request: DictionaryRequest, console: Console) -> Path:
    """Learn a dictionary and write it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        If the file exists, or scikit-learn is not installed.
    SourceError
        If the data cannot be read.
    """
    from baselines.fisher import Sampling, learn_dictionary, sample_descriptors, save_dictionary

    if request.out.exists():
        raise UserError(f"{request.out}: exists: give another --out, or remove it")
    progress = Progress(console)
    images, about = _images(request, progress)
    sampling = Sampling()
    with progress.counting("describing images", len(images)) as counted:
        descriptors = sample_descriptors(images, sampling, request.seed, counted)
    progress.note(f"learning {request.gaussians} Gaussians from {len(descriptors):,} descriptors")
    try:
        found = learn_dictionary(descriptors, sampling, request.components, request.gaussians, request.seed, about)
    except ImportError:
        raise UserError("bench dictionary needs scikit-learn: pip install 'xraybench[classical]'") from None
    except ValueError as error:
        raise UserError(f"bench dictionary: {error}") from None
    request.out.parent.mkdir(parents=True, exist_ok=True)
    write_file(request.out, lambda path: save_dictionary(found, path))
    return request.out


def _images(request: DictionaryRequest, progress: Progress) -> tuple[np.ndarray, dict[str, str | int]]:
    """Return preprocessed images (n, side, side) uint8, and what is written down about them."""
    with tempfile.TemporaryDirectory(prefix="xraybench-") as scratch:
        folder = Path(request.data) if request.data else Path(scratch) / "phantoms"
        if request.data is None:
            recipe = phantom.Recipe(request.n, request.seed, side=max(256, request.side))
            with progress.counting("simulating radiographs (synthetic)", request.n) as counted:
                phantom.write_folder(folder, recipe, workers=environment.threads(), progress=counted)
        listing = open_source(folder)
        pixels = load_pixels(
            listing, Preprocessing(side=request.side), Path(scratch) / "cache", workers=environment.threads()
        )
        images = np.asarray(pixels.images)
        chosen = np.sort(np.random.default_rng(request.seed).permutation(len(images))[: request.n])
        name = listing.card.name
        about = {"data": name, "n_images": len(chosen), "side": request.side, "seed": request.seed}
        return images[chosen], about if request.data else {
            **about,
            "data": "phantom (synthetic)",
            "phantom": phantom.VERSION,
        }
