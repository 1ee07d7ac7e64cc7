"""Reading one image file into a grey-level array, or saying in one line why it must not be used.

Pillow in strict mode: only the formats named here, truncated files refused, decompression bombs refused before a pixel is
decoded. Modes are converted on purpose, one by one: Pillow's own ``convert("L")`` saturates 16-bit pictures.
"""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MAX_PIXELS = 100_000_000

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in JPEG


class UnreadableImageError(ValueError):
    """An image file that cannot be used; the message is one line that names the file and the reason."""


@dataclass(frozen=True)
class Picture:
    """Grey levels of one image file and the facts of the file they came from."""

    grey: np.ndarray  # (h, w) uint8, uint16 or float32, larger is brighter
    sha256: str  # of the file's bytes
    mode: str  # "PNG L", "JPEG RGB", ...


def read_picture(path: Path, name: str | None = None) -> Picture:
    """Read an image file.

    Parameters
    ----------
    path
        The file to open. Anything but a regular file (or a link to one) is refused unopened.
    name
        What to call the file in errors; by default `path`.

    Raises
    ------
    UnreadableImageError
        Where the file is missing, not a picture of a known format, truncated, larger than 100 megapixels or without
        finite values.
    """
    name = name or str(path)
    data = _bytes_of(path, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            grey, mode = _decode(data, name)
    except UnreadableImageError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableImageError(f"{name}: has more pixels than the limit of {MAX_PIXELS:,}") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(f"{name}: not a {', '.join(FORMATS)} picture") from None
    # Pillow's decoders raise these for damaged files; all of them mean that the picture is not whole.
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        KeyError,
        IndexError,
        TypeError,
        struct.error,
        Warning,
    ) as error:
        raise UnreadableImageError(f"{name}: damaged or truncated ({_one_line(error)})") from None
    return Picture(grey, hashlib.sha256(data).hexdigest(), mode)


def _bytes_of(path: Path, name: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImageError(f"{name}: not a regular file")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{name}: cannot be opened ({error.strerror})") from None
    if not data:
        raise UnreadableImageError(f"{name}: empty file (0 bytes)")
    return data


def _decode(data: bytes, name: str) -> tuple[np.ndarray, str]:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.verify()  # checks what decoding passes over, such as a PNG's checksums and its end
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImageError(
                f"{name}: {image.width} x {image.height} is over the limit of {MAX_PIXELS:,} pixels"
            )
        mode = f"{image.format} {image.mode}"
        image.load()
        grey = _grey_levels(ImageOps.exif_transpose(image))
    if grey.size == 0 or not np.isfinite(grey).all():
        raise UnreadableImageError(f"{name}: has NaN or infinite values")
    return grey, mode


def _grey_levels(image: Image.Image) -> np.ndarray:
    """Grey levels (h, w) of a picture of any mode, keeping 16 bits where the file has them."""
    if image.mode == "L":
        return np.asarray(image)
    if image.mode in _GREY_16:
        values = np.asarray(image)
        if image.mode == "I" and values.size and values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max:
            return values.astype(np.uint16)
        return values.astype(np.float32) if image.mode in ("I", "F") else values.astype(np.uint16)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * np.uint8(255)
    if image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa"):
        return _over_black(image.convert("RGBA"))
    return _luma(np.asarray(image.convert("RGB")))


def _over_black(image: Image.Image) -> np.ndarray:
    rgba = np.asarray(image).astype(np.float32)  # (h, w, 4)
    return np.rint(rgba[..., :3] @ _LUMA * (rgba[..., 3] / 255)).astype(np.uint8)  # (h, w)


def _luma(rgb: np.ndarray) -> np.ndarray:
    return np.rint(rgb.astype(np.float32) @ _LUMA).astype(np.uint8)  # (h, w, 3) -> (h, w)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
