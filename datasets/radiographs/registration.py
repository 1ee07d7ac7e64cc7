"""Registration of a DICOM file: the facts of its header on what the picture should show, and on its exam.

Only these facts are read, no further than the pixels. A value that cannot be read counts as missing; its keyword is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from radiographs.parse import parsed
from radiographs.part10 import PREAMBLE, is_dicom
from radiographs.terms import Parts, parts_of, parts_of_body_part, parts_of_codes

if TYPE_CHECKING:
    from pydicom import Dataset

TEXTS = {
    "body_part": "BodyPartExamined",
    "view": "ViewPosition",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "protocol": "ProtocolName",
    "accession": "AccessionNumber",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
    "patient": "PatientID",
    "modality": "Modality",
}
_ORDERED = ("RequestedProcedureDescription", "ScheduledProcedureStepDescription")
_LISTS = ("AnatomicRegionSequence", "RequestAttributesSequence", "ProcedureCodeSequence")
_SNOMED = ("SCT", "SNM3", "SRT", "99SDM")  # the last three with the older codes, such as T-D8700
_LONGEST = 200  # characters of a text: damage makes entries run into each other


@dataclass(frozen=True)
class Registration:
    """Facts of one file; empty where the header has none.

    Attributes
    ----------
    region_codes : tuple of str
        SNOMED CT codes of AnatomicRegionSequence; older SNOMED codes are translated.
    requested : str
        What was ordered: RequestedProcedureDescription, those of RequestAttributesSequence, the meanings of ProcedureCodeSequence.
    damaged : tuple of str
        Keywords of values that could not be read.
    """

    body_part: str = ""
    view: str = ""
    study_description: str = ""
    series_description: str = ""
    protocol: str = ""
    accession: str = ""
    study: str = ""
    series: str = ""
    instance: str = ""
    patient: str = ""
    modality: str = ""
    requested: str = ""
    region_codes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def exam(self) -> tuple[str, str]:
        """What the files of an exam share: patient, and accession number or, without one, study; or the file's own UID without either."""
        return self.patient, self.accession or self.study or self.instance

    @property
    def sources(self) -> dict[str, Parts]:
        """Parts by the header entry that names them. They can differ, and a picture has to match each."""
        found = {
            "BodyPartExamined": parts_of_body_part(self.body_part),
            "AnatomicRegionSequence": parts_of_codes(self.region_codes),
            "description of the exam": parts_of(f"{self.study_description} | {self.requested}"),
            "description of the series": parts_of(
                f"{self.series_description} | {self.protocol} | {self.view}", views=True
            ),
        }
        return {source: parts for source, parts in found.items() if parts}


def read_registration(stream: BinaryIO) -> Registration | None:
    """Read the facts of an open file; None if it is not DICOM.

    Raises
    ------
    DicomError
        If the header is damaged; the message holds nothing of it.
    ModuleNotFoundError
        If pydicom is not installed.
    """
    if not is_dicom(stream.read(PREAMBLE + 4)):
        return None
    stream.seek(0)
    dataset = parsed(stream, wanted=[*TEXTS.values(), *_ORDERED, *_LISTS])
    return registration_of(dataset)


def registration_of(dataset: Dataset) -> Registration:
    """Facts of a parsed header."""
    damaged: list[str] = []
    texts = {name: _text(dataset, keyword, damaged) for name, keyword in TEXTS.items()}
    return Registration(
        **texts,
        requested=_requested(dataset, damaged),
        region_codes=_region_codes(dataset, damaged),
        damaged=tuple(damaged),
    )


def _requested(dataset: Dataset, damaged: list[str]) -> str:
    texts = [_text(dataset, _ORDERED[0], damaged)]
    for item in _items(dataset, "RequestAttributesSequence", damaged):
        texts += [_text(item, keyword, damaged) for keyword in _ORDERED]
    texts += [_text(item, "CodeMeaning", damaged) for item in _items(dataset, "ProcedureCodeSequence", damaged)]
    return " | ".join(dict.fromkeys(text for text in texts if text))


def _region_codes(dataset: Dataset, damaged: list[str]) -> tuple[str, ...]:
    codes = []
    for item in _items(dataset, "AnatomicRegionSequence", damaged):
        scheme, value = _text(item, "CodingSchemeDesignator", damaged), _text(item, "CodeValue", damaged)
        if scheme in _SNOMED and value:
            codes.append(_snomed_ct(value))
    return tuple(codes)


def _snomed_ct(value: str) -> str:
    """SNOMED CT code of an older one, which is letters and digits; others unchanged."""
    if value.isdigit():
        return value
    from pydicom.sr._snomed_dict import mapping

    return mapping["SRT"].get(value, value)


def _items(dataset: Dataset, keyword: str, damaged: list[str]) -> Iterator[Any]:
    try:
        yield from dataset.get(keyword, None) or ()
    except Exception:  # noqa: BLE001 - a sequence that cannot be read counts as missing
        damaged.append(keyword)


def _text(dataset: Dataset, keyword: str, damaged: list[str]) -> str:
    """Put a value into one line of printable characters."""
    try:
        value = dataset.get(keyword, None)
        several = value if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue" else [value]
        text = " ".join(str(each) for each in several if each is not None)
    except Exception:  # noqa: BLE001 - a value that cannot be read counts as missing
        damaged.append(keyword)
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST]
