"""Where pretrained weights come from, in order: a named file, a weights folder, torch's cache, a download with hash check.

A backbone whose weights cannot be had is never trained from random numbers under a pretrained name: `WeightsUnavailableError`
says what was looked for, and the caller shows the cell as skipped.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file, save

_HASH_IN_NAME = re.compile(
    r"-([a-f0-9]{8,})\.pth$"
)  # PyTorch's convention: the name carries the first digits of the sha256
PHANTOM, RANDOM = "phantom", "random"  # starts: simulated radiographs, and none


class WeightsUnavailableError(RuntimeError):
    """Pretrained weights that cannot be had here; one line with the reason and the way out."""


@dataclass(frozen=True)
class Start:
    """What a backbone starts from: published weights, those of ``bench pretrain``, or random numbers. Fields as for `find_weights`."""

    backbone: str
    start: str = "imagenet"
    path: str | None = None
    weights_dir: Path | None = None
    offline: bool = False

    @property
    def file(self) -> Path:
        """Where the weights are."""
        return find_weights(
            self.backbone, self.start, path=self.path, weights_dir=self.weights_dir, offline=self.offline
        )

    def state(self) -> dict[str, torch.Tensor] | None:
        """Return the weights, or None where the start is random."""
        return None if self.start == RANDOM else read_weights(self.file)

    def fingerprint(self, device: torch.device) -> str:
        """SHA-256 of the weights ("random" without) and the kind of device: what a result depends on beside the parameters."""
        return f"{RANDOM if self.start == RANDOM else fingerprint(self.file)} {device.type}"


def find_weights(
    backbone: str,
    start: str = "imagenet",
    *,
    path: str | None = None,
    weights_dir: Path | None = None,
    offline: bool = False,
) -> Path:
    """File with the weights of a backbone.

    Parameters
    ----------
    backbone
        Name in torchvision, else in timm.
    start
        What it was trained on. For "imagenet" any BACKBONE-* file of `weights_dir` will do but those of ``bench pretrain``, then
        torch's cache, then a download; for any other word only ``BACKBONE-WORD.safetensors`` or ``.pth`` in `weights_dir`.
    path
        A file named in the suite; then nothing else is looked at.
    weights_dir
        Folder with files named ``BACKBONE-*.safetensors`` or ``BACKBONE-*.pth``.
    offline
        Never download.

    Raises
    ------
    WeightsUnavailableError
        If there is no such file and it may not or cannot be downloaded.
    """
    if path is not None:
        if not Path(path).is_file():
            raise WeightsUnavailableError(f"{backbone}: the weights file {path} named in the suite is not there")
        return Path(path)
    pattern = f"{backbone}-*" if start == "imagenet" else f"{backbone}-{start}"
    for folder in [weights_dir] if weights_dir else []:
        found = sorted(f for suffix in ("safetensors", "pth") for f in folder.glob(f"{pattern}.{suffix}"))
        found = [f for f in found if start != "imagenet" or f.stem != f"{backbone}-{PHANTOM}"]
        if found:
            return found[0]
    if start != "imagenet":
        make = f"; make it with: bench pretrain {backbone} --phantom" if start == PHANTOM else ""
        raise WeightsUnavailableError(f"no {pattern}.safetensors or .pth in {weights_dir or 'a --weights-dir'}{make}")
    where = f"no {backbone}-*.safetensors or .pth in {weights_dir}" if weights_dir else "no --weights-dir given"
    if backbone not in torchvision.models.list_models():
        return _from_timm(backbone, where, offline=offline)
    url = torchvision.models.get_model_weights(backbone).DEFAULT.url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if cached.is_file():
        return cached
    if offline:
        raise WeightsUnavailableError(
            f"no weights for {backbone}: {where}, none in torch's cache, and --offline forbids the download"
        )
    return download(url, cached, backbone, where)


def download(url: str, target: Path, backbone: str, where: str) -> Path:
    """Fetch a weights file with a progress bar; its name carries the hash that the content must have."""
    digits = _HASH_IN_NAME.search(target.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), hash_prefix=digits.group(1) if digits else None, progress=True)
    except RuntimeError as error:  # torch's word for a wrong hash
        raise WeightsUnavailableError(
            f"no weights for {backbone}: the download from {url} is damaged ({' '.join(str(error).split())})"
        ) from None
    except (URLError, OSError) as error:
        raise WeightsUnavailableError(
            f"no weights for {backbone}: {where}, none in torch's cache, and the download failed ({getattr(error, 'reason', error)})"
        ) from None
    return target


def _from_timm(backbone: str, where: str, *, offline: bool) -> Path:
    """Weights of a timm model, by the Hugging Face hub's own cache and download."""
    import timm
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if not timm.is_model(backbone):
        raise ValueError(f"backbone {backbone!r} is neither in torchvision nor in timm")
    settings = timm.get_pretrained_cfg(backbone)
    hub_id = settings.hf_hub_id if settings else None
    if not hub_id:
        raise WeightsUnavailableError(
            f"no weights for {backbone}: {where}, and timm names no pretrained weights for it"
        )
    try:
        return Path(hf_hub_download(hub_id, "model.safetensors", local_files_only=offline))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = "--offline forbids the download" if offline else f"the download failed ({type(error).__name__})"
        raise WeightsUnavailableError(
            f"no weights for {backbone}: {where}, none in the hub's cache, and {reason}"
        ) from None


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
    except Exception as error:  # noqa: BLE001 - pickle.UnpicklingError: importing pickle to name it would look worse than this
        raise WeightsUnavailableError(f"{path}: refused: it holds more than tensors ({type(error).__name__})") from None
    return state.get("state_dict", state)


def weights_file(network: torch.nn.Module) -> bytes:
    """Content of a safetensors file with everything that a network has learned."""
    return save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})


def fingerprint(path: Path) -> str:
    """SHA-256 of a weights file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
