"""Facts from the headers of a source's DICOM files: patients, body parts, frames, and whether folders are sorted by class."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from radiographs.class_folders import are_identifiers
from radiographs.dicom import DicomError, read_tags
from radiographs.listing import SourceError
from radiographs.patients import identify_all
from radiographs.read import DICOM_SUFFIXES

_FEW = 10  # folders, which may be classes however few images they hold
_PER_CLASS = 5  # images in a class, on average, where there are more folders


@dataclass(frozen=True)
class Header:
    """Header of one file.

    Attributes
    ----------
    is_dicom : bool
        By its content.
    tags : dict of str
        See `radiographs.dicom.TAGS`; empty if the header cannot be read, or there is none.
    frames : int
        0 in a DICOM file that is not a picture, such as a presentation state.
    """

    is_dicom: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    frames: int = 1

    @property
    def patient(self) -> str:
        """PatientID, or empty."""
        return self.tags.get("patient", "")


def read_header(path: Path) -> Header:
    """Read the header of a file of any kind, no further than its pixels."""
    try:
        with path.open("rb") as stream:
            found = read_tags(stream)
    except OSError:
        return Header()
    except DicomError:
        return Header(is_dicom=True)
    except ModuleNotFoundError:
        raise SourceError(f"{path}: is DICOM, which needs: pip install 'xraybench[dicom]'") from None
    return Header() if found is None else Header(True, *found)


def read_headers(root: Path, files: Iterable[object]) -> list[Header]:
    """Headers of files relative to a folder; an empty one for a missing file."""
    return [
        read_header(root / file) if isinstance(file, str) and (root / file).is_file() else Header() for file in files
    ]


def mostly_dicom(files: Sequence[str], headers: Sequence[Header]) -> bool:
    """Whether more than half of the files are DICOM, by content or ending; a picture beside a DICOM file of its name is a preview of it."""
    endings = DICOM_SUFFIXES[:-1]
    of_dicom = {f for f, header in zip(files, headers, strict=True) if header.is_dicom or f.lower().endswith(endings)}
    stems = {os.path.splitext(file)[0] for file in of_dicom}  # noqa: PTH122 - texts, of which there may be many
    others = sum(os.path.splitext(file)[0] not in stems for file in files)  # noqa: PTH122
    return len(of_dicom) > others


def sorted_by_class(labels: Sequence[str | None], headers: Sequence[Header]) -> bool:
    """Whether the folders of DICOM files can be classes: several, and not one for each patient, exam or date.

    Parameters
    ----------
    labels : sequence of str or None
        Folder of each file, as `radiographs.class_folders` finds it.
    headers : sequence of Header
        Of the same files.
    """
    held = [
        (label, header) for label, header in zip(labels, headers, strict=True) if label is not None and header.is_dicom
    ]
    names = sorted({label for label, _ in held})
    if len(names) < 2 or are_identifiers(names) or (len(names) > _FEW and len(held) < _PER_CLASS * len(names)):
        return False
    for entry in ("patient", "study"):  # the first that is known at all
        values = identify_all([header.tags.get(entry, "") for _, header in held])
        by_folder: dict[str, set[str]] = defaultdict(set)
        for (label, _), value in zip(held, values, strict=True):
            by_folder[label] |= {value} - {""}
        known = [found for found in by_folder.values() if found]
        if known:
            single = sum(len(found) == 1 for found in known)
            return not (2 * single > len(known) and 2 * len(set().union(*known)) > len(names))
    return True
