"""Read one image file into a grey-level array, or state in one line why it must not be used.

The content of a file decides its format, not its name: "DICM" at byte 128 comes first, for some such files have a TIFF header too. Pillow reads
the rest in strict mode: only the formats named here, truncated files refused, decompression bombs refused before a pixel is decoded.
Plain grey PNG files, whole ones only, are read by `radiographs.png` in half the time.
TIFF files of kinds that Pillow does not know, or would cut to 8 bits, are read by `radiographs.tiff`, colours of 16 bits in PNG files by OpenCV.
Modes are converted on purpose, one by one: Pillow's own ``convert("L")`` saturates 16-bit pictures, and it does not turn 16-bit TIFFs around
in which 0 is white.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from radiographs import tiff
from radiographs.codestreams import is_whole, size_of, too_many_scans
from radiographs.colours import luma, share_coloured, turned, upright
from radiographs.dicom import DicomError, is_dicom, read_dicom
from radiographs.library_warnings import captured_warnings

FORMATS = ("PNG", "JPEG", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima", "")  # in hospital trees often none
MAX_PIXELS = 100_000_000

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_BYTES_PER_PIXEL, _BYTES_BESIDE = 8, 1 << 26  # bytes of a file: four samples of 16 bits, and non-pixel data
_PNG_DEPTH, _PNG_COLOURS = 24, 25  # bytes of a PNG file
_ORIENTATION = 274  # EXIF
_JPEG = b"\xff\xd8\xff"
_MAGIC = (b"\x89PNG\r\n\x1a\n", _JPEG, *tiff.MAGIC)


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
    padding: np.ndarray | None = None  # (h, w) bool, pixels that must not influence the grey levels
    remarks: tuple[str, ...] = ()  # contradictions in the file, and warnings of libraries


def looks_like_picture(head: bytes) -> bool:
    """Whether a file's first 132 bytes are those of a format that is read here, whatever its name is."""
    return head.startswith(_MAGIC) or is_dicom(head)


def read_picture(path: Path, name: str | None = None, *, frame: int = 0, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read an image file.

    Parameters
    ----------
    path : Path
        The file to open. Anything but a regular file (or a link to one) is refused unopened.
    name : str, optional
        Name of the file in errors; by default `path`.
    frame : int, default 0
        Of a file with several frames or pages, from 0.
    max_pixels : int, default MAX_PIXELS
        Of all frames of a DICOM file together, or of one page, above which nothing is decoded.

    Raises
    ------
    UnreadableImageError
        Where the file is missing, not a picture of a known format, truncated, larger than `max_pixels` or without finite values.
    """
    name = name or str(path)
    try:
        return read_bytes(_bytes_of(path, name, max_pixels), name, frame=frame, max_pixels=max_pixels)
    except MemoryError:
        raise UnreadableImageError(f"{name}: needs more memory than is available") from None


def frames_of(path: Path) -> int:
    """Return the number of frames or pages that `read_picture` can give of a file other than DICOM, without decoding any; 1 if unknown."""
    try:
        with captured_warnings(), Image.open(path, formats=FORMATS) as image:
            return len(_pages_of(image))
    except Exception:  # noqa: BLE001 - reading the file reports the error
        return 1


def read_bytes(data: bytes, name: str, *, frame: int = 0, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the content of an image file; as `read_picture`, which see.

    Raises
    ------
    UnreadableImageError
        As for `read_picture`.
    """
    if not data:
        raise UnreadableImageError(f"{name}: empty file (0 bytes)")
    with captured_warnings() as heard, np.errstate(all="ignore"):  # the result must be finite
        read = _dicom_picture if is_dicom(data) else _other_picture
        picture = read(data, name, frame, max_pixels)
    return replace(picture, remarks=(*picture.remarks, *heard))


def _other_picture(data: bytes, name: str, frame: int, max_pixels: int) -> Picture:
    try:
        return _decode(data, name, frame, max_pixels)
    except UnreadableImageError:
        raise
    except tiff.TiffError as error:
        raise UnreadableImageError(f"{name}: {error}") from None
    except Image.DecompressionBombError:
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        raise UnreadableImageError(f"{name}: has more pixels than the limit of {limit:,}") from None
    except UnidentifiedImageError:
        if data.startswith(tiff.MAGIC):
            return _unknown_tiff(data, name, frame, max_pixels)
        if data.startswith(_JPEG) and (size := size_of(data)):
            return _unknown_jpeg(data, name, size, max_pixels)
        raise UnreadableImageError(f"{name}: not a {', '.join(FORMATS)} or DICOM picture") from None
    # Pillow's decoders raise these for damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, struct.error) as error:
        raise UnreadableImageError(f"{name}: damaged or truncated ({_one_line(error)})") from None


def _dicom_picture(data: bytes, name: str, frame: int, max_pixels: int) -> Picture:
    try:
        image = read_dicom(data, max_pixels=max_pixels, frame=frame)
    except DicomError as error:
        raise UnreadableImageError(f"{name}: {error}") from None
    except ModuleNotFoundError:
        raise UnreadableImageError(f"{name}: is DICOM, which needs: pip install 'xraybench[dicom]'") from None
    facts = {"tags": image.tags, "frames": image.frames, "padding": image.padding, "remarks": image.remarks}
    return Picture(image.grey, hashlib.sha256(data).hexdigest(), image.mode, **facts)


def _unknown_tiff(data: bytes, name: str, frame: int, max_pixels: int) -> Picture:
    """Page of a TIFF file of a kind that Pillow does not know."""
    try:
        page = tiff.deep_page(data, frame, max_pixels)
    except tiff.TiffError as error:
        raise UnreadableImageError(f"{name}: {error}") from None
    if not np.isfinite(page.grey).all():
        raise UnreadableImageError(f"{name}: has NaN or infinite values")
    digest = hashlib.sha256(data).hexdigest()
    return Picture(page.grey, digest, page.mode, frames=page.pages, coloured=page.coloured)


def _unknown_jpeg(data: bytes, name: str, size: tuple[int, int], max_pixels: int) -> Picture:
    """JPEG of a kind that Pillow does not know: of 12 bits, without loss, JPEG-LS."""
    if size[0] * size[1] > max_pixels:
        raise UnreadableImageError(f"{name}: {size[0]} x {size[1]} is over the limit of {max_pixels:,} pixels")
    if not is_whole(data):
        raise UnreadableImageError(f"{name}: damaged or truncated (it has no end)")
    try:
        from libjpeg.utils import decode

        values = decode(data)
    except ModuleNotFoundError:
        reason = "is a JPEG of 12 bits or without loss, which needs: pip install 'xraybench[dicom]'"
        raise UnreadableImageError(f"{name}: {reason}") from None
    except Exception as error:  # noqa: BLE001 - the library raises anything on damaged data
        raise UnreadableImageError(f"{name}: damaged or truncated ({type(error).__name__})") from None
    coloured = share_coloured(values) if values.ndim == 3 else 0.0
    mode = f"JPEG {values.dtype} {'RGB' if values.ndim == 3 else 'L'}"
    return Picture(luma(values), hashlib.sha256(data).hexdigest(), mode, coloured=coloured)


def _bytes_of(path: Path, name: str, max_pixels: int) -> bytes:
    limit = max_pixels * _BYTES_PER_PIXEL + _BYTES_BESIDE
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImageError(f"{name}: not a regular file")
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(size + 1) if size <= limit else b""
    except OSError as error:
        raise UnreadableImageError(f"{name}: cannot be opened ({error.strerror})") from None
    if size > limit or len(data) > size:
        what = f"more than a picture within the limit of {max_pixels:,} pixels needs" if size > limit else "and grows"
        raise UnreadableImageError(f"{name}: has {size:,} bytes, {what}")
    return data


def _decode(data: bytes, name: str, frame: int, max_pixels: int) -> Picture:
    from radiographs.png import (
        plain_grey,  # its compiler is slow to load, and not needed for a run from the cache
    )

    plain = plain_grey(data, max_pixels) if frame == 0 else None
    if plain is not None:
        return Picture(plain, hashlib.sha256(data).hexdigest(), "PNG L")
    if scans := too_many_scans(data):
        raise UnreadableImageError(f"{name}: has {scans:,} scans, which no encoder of JPEG makes")
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.verify()  # checks what decoding ignores, such as a PNG's checksums and its end
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        pages = _pages_of(image)
        if frame >= len(pages):
            raise UnreadableImageError(
                f"{name}: has {len(pages)} {'frame' if len(pages) == 1 else 'frames'}, not frame {frame}"
            )
        image.seek(pages[frame])
        if image.width * image.height > max_pixels:
            raise UnreadableImageError(
                f"{name}: {image.width} x {image.height} is over the limit of {max_pixels:,} pixels"
            )
        grey, mode, coloured = _frame(data, image, pages, frame, max_pixels)
    if grey.size == 0 or not np.isfinite(grey).all():
        raise UnreadableImageError(f"{name}: has NaN or infinite values")
    return Picture(grey, hashlib.sha256(data).hexdigest(), mode, frames=len(pages), coloured=coloured)


def _pages_of(image: Image.Image) -> Sequence[int]:
    return tiff.pages_of(image) if image.format == "TIFF" else range(getattr(image, "n_frames", 1))


def _frame(
    data: bytes, image: Image.Image, pages: Sequence[int], frame: int, max_pixels: int
) -> tuple[np.ndarray, str, float]:
    """Grey levels, mode and share of coloured pixels of the frame at which a file is open."""
    mode = f"{image.format} {image.mode}"
    if image.format == "TIFF" and tiff.is_beyond_pillow(image):
        page = tiff.deep_page(data, pages[frame], max_pixels)
        return page.grey, page.mode, page.coloured
    image.load()
    colours = image.mode in ("RGB", "RGBA", "P", "CMYK", "YCbCr")
    whole = "RGBA" if image.mode == "P" else "RGB"  # Pillow warns of palettes with transparency that would lose it
    coloured = share_coloured(np.asarray(image.convert(whole))[..., :3]) if colours else 0.0
    orientation = int(image.getexif().get(_ORIENTATION, 1) or 1)
    if image.format == "PNG" and frame == 0 and data[_PNG_DEPTH] == 16 and data[_PNG_COLOURS] in (2, 4, 6):
        return upright(_deep_png(data), orientation), f"{mode} 16 bit", coloured
    if image.format != "TIFF":
        return _grey_levels(ImageOps.exif_transpose(image)), mode, coloured
    white_is_zero = tiff.white_is_zero(image) and image.mode not in ("1", "L")  # those Pillow turns around by itself
    for known in (tiff.palette_grey, tiff.as_written):
        if (grey := known(image)) is not None:
            grey = upright(grey, orientation)
            break
    else:
        grey = _grey_levels(ImageOps.exif_transpose(image))
    return turned(grey) if white_is_zero else grey, mode, coloured


def _deep_png(data: bytes) -> np.ndarray:
    """Grey levels (h, w) uint16 of a PNG file with 16 bits for each of several channels, of which Pillow keeps 8."""
    import cv2

    from radiographs.png import critical_chunks

    bare = np.frombuffer(critical_chunks(data), np.uint8)
    values = cv2.imdecode(bare, cv2.IMREAD_UNCHANGED)  # (h, w, 3 or 4), blue first
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise ValueError("16 bits cannot be decoded")
    return luma(values[..., 2::-1], values[..., 3] if values.shape[2] == 4 and data[_PNG_COLOURS] != 2 else None)


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
        rgba = np.asarray(image.convert("RGBA"))
        return luma(rgba[..., :3], rgba[..., 3])
    return luma(np.asarray(image.convert("RGB")))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
