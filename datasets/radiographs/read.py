"""Reading one image file into a grey-level array, or saying in one line why it must not be used.

What a file is, its content says, not its name: "DICM" at byte 128 comes first, for some such files have a TIFF header too. Pillow reads
the rest in strict mode: only the formats named here, truncated files refused, decompression bombs refused before a pixel is decoded.
Plain grey PNG files, whole ones only, are read by `radiographs.png` in half the time.
TIFF files of kinds that Pillow does not know go to tifffile. Modes are converted on purpose, one by one: Pillow's own ``convert("L")``
saturates 16-bit pictures, and it does not turn 16-bit TIFFs around in which 0 is white.
"""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from radiographs.dicom import DicomError, is_dicom, read_dicom

FORMATS = ("PNG", "JPEG", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima", "")  # in hospital trees often none
MAX_PIXELS = 100_000_000

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF 6.0
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in JPEG


class UnreadableImageError(ValueError):
    """An image file that cannot be used; the message is one line that names the file and the reason."""


@dataclass(frozen=True)
class Picture:
    """Grey levels of one image file and the facts of the file they came from."""

    grey: np.ndarray  # (h, w) uint8, uint16 or float32, larger is brighter
    sha256: str  # of the file's bytes
    mode: str  # "PNG L", "JPEG RGB", "DICOM MONOCHROME1 12 bit", ...
    tags: dict[str, str] = field(default_factory=dict)  # of a DICOM file: see radiographs.dicom.TAGS
    frames: int = 1
    coloured: float = 0.0  # share of the pixels that have a colour


def read_picture(path: Path, name: str | None = None, *, frame: int = 0, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read an image file.

    Parameters
    ----------
    path
        The file to open. Anything but a regular file (or a link to one) is refused unopened.
    name
        What to call the file in errors; by default `path`.
    frame
        Of a DICOM file with several, from 0.
    max_pixels
        Of all frames together, above which nothing is decoded.

    Raises
    ------
    UnreadableImageError
        Where the file is missing, not a picture of a known format, truncated, larger than `max_pixels` or without finite values.
    """
    name = name or str(path)
    return read_bytes(_bytes_of(path, name), name, frame=frame, max_pixels=max_pixels)


def read_bytes(data: bytes, name: str, *, frame: int = 0, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the content of an image file; as `read_picture`, which see.

    Raises
    ------
    UnreadableImageError
        As for `read_picture`.
    """
    if not data:
        raise UnreadableImageError(f"{name}: empty file (0 bytes)")
    if is_dicom(data):
        return _dicom_picture(data, name, frame, max_pixels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            grey, mode, coloured = _decode(data, name, max_pixels)
    except UnreadableImageError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableImageError(f"{name}: has more pixels than the limit of {max_pixels:,}") from None
    except UnidentifiedImageError:
        if data.startswith(_TIFF_MAGIC):
            return _other_tiff(data, name, max_pixels)
        raise UnreadableImageError(f"{name}: not a {', '.join(FORMATS)} or DICOM picture") from None
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
    return Picture(grey, hashlib.sha256(data).hexdigest(), mode, coloured=coloured)


def _dicom_picture(data: bytes, name: str, frame: int, max_pixels: int) -> Picture:
    try:
        image = read_dicom(data, max_pixels=max_pixels, frame=frame)
    except DicomError as error:
        raise UnreadableImageError(f"{name}: {error}") from None
    except ModuleNotFoundError:
        raise UnreadableImageError(f"{name}: is DICOM, which needs: pip install 'xraybench[dicom]'") from None
    return Picture(image.grey, hashlib.sha256(data).hexdigest(), image.mode, image.tags, image.frames)


def _other_tiff(data: bytes, name: str, max_pixels: int) -> Picture:
    """First page of a TIFF of a kind that Pillow does not know, such as 16-bit colour."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            if page.imagewidth * page.imagelength > max_pixels:
                raise UnreadableImageError(f"{name}: is over the limit of {max_pixels:,} pixels")
            values = page.asarray()
            white_is_zero, mode = page.photometric == _WHITE_IS_ZERO, f"TIFF {page.photometric.name} {page.dtype}"
    except UnreadableImageError:
        raise
    except Exception as error:  # noqa: BLE001 - tifffile raises what it pleases on damaged data
        raise UnreadableImageError(f"{name}: damaged or of an unknown kind ({type(error).__name__})") from None
    if values.ndim == 3 and values.shape[2] in (3, 4):
        values = values[..., :3].astype(np.float32) @ _LUMA  # (h, w)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise UnreadableImageError(f"{name}: has NaN or infinite values, or is no plain picture")
    return Picture(_turned(values, white_is_zero=white_is_zero), hashlib.sha256(data).hexdigest(), mode)


def _turned(values: np.ndarray, *, white_is_zero: bool) -> np.ndarray:
    """Grey levels of which larger is brighter, as uint8, uint16 or float32."""
    if values.dtype in (np.uint8, np.uint16):
        values = values.astype(values.dtype.newbyteorder("="))
        return np.iinfo(values.dtype).max - values if white_is_zero else values
    values = values.astype(np.float32)
    return values.min() + values.max() - values if white_is_zero and values.size else values


def _bytes_of(path: Path, name: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImageError(f"{name}: not a regular file")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{name}: cannot be opened ({error.strerror})") from None
    return data


def _decode(data: bytes, name: str, max_pixels: int) -> tuple[np.ndarray, str, float]:
    from radiographs.png import (
        plain_grey,  # its compiler takes long to load, which a run from the cache need not wait for
    )

    plain = plain_grey(data, max_pixels)
    if plain is not None:
        return plain, "PNG L", 0.0
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.verify()  # checks what decoding passes over, such as a PNG's checksums and its end
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > max_pixels:
            raise UnreadableImageError(
                f"{name}: {image.width} x {image.height} is over the limit of {max_pixels:,} pixels"
            )
        mode = f"{image.format} {image.mode}"
        white_is_zero = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        image.load()
        coloured = _coloured(image) if image.mode in ("RGB", "RGBA", "P", "CMYK", "YCbCr") else 0.0
        grey = _grey_levels(ImageOps.exif_transpose(image))
        if white_is_zero and image.mode not in ("1", "L"):  # those Pillow turns around by itself
            grey = _turned(grey, white_is_zero=True)
    if grey.size == 0 or not np.isfinite(grey).all():
        raise UnreadableImageError(f"{name}: has NaN or infinite values")
    return grey, mode, coloured


def _coloured(image: Image.Image) -> float:
    """Share of the pixels whose red, green and blue differ by more than 24."""
    few = np.asarray(image.convert("RGB"))[:: max(1, image.height // 256), :: max(1, image.width // 256)].astype(
        np.int16
    )
    return float((few.max(axis=2) - few.min(axis=2) > 24).mean())


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
