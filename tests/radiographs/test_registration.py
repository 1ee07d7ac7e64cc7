"""What a DICOM header says a picture should show, whatever is wrong with the header."""

import io
import itertools

import numpy as np
import pytest
from radiographs.dicom import DicomError
from radiographs.registration import Registration, read_registration, registration_of

pydicom = pytest.importorskip("pydicom")


def header(**entries: object) -> "pydicom.Dataset":
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    for keyword, value in entries.items():
        setattr(data, keyword, value)
    return data


def written(data: "pydicom.Dataset") -> io.BytesIO:
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return stream


def read(**entries: object) -> Registration:
    found = read_registration(written(header(**entries)))
    assert found is not None
    return found


def code(value: str, scheme: str = "SCT") -> "pydicom.Dataset":
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "Some meaning"
    return item


def test_every_fact_is_read_where_it_stands() -> None:
    item = pydicom.Dataset()
    item.RequestedProcedureDescription, item.ScheduledProcedureStepDescription = "XR hand", "Hand 2 views"
    found = read(
        BodyPartExamined="HAND",
        ViewPosition="PA",
        StudyDescription="Hand li.",
        SeriesDescription="dv",
        ProtocolName="Hand ap",
        AccessionNumber="A1",
        StudyInstanceUID="1.2.3.4",
        SeriesInstanceUID="1.2.3.5",
        PatientID="P1",
        Modality="DX",
        RequestedProcedureDescription="Wrist",
        RequestAttributesSequence=[item],
        AnatomicRegionSequence=[code("85562004")],
        ProcedureCodeSequence=[code("X1", "99LOCAL")],
        PatientName="CANARY^NAME",
    )
    assert found == Registration(
        "HAND", "PA", "Hand li.", "dv", "Hand ap", "A1", "1.2.3.4", "1.2.3.5", "1.2.3", "P1", "DX",
        "Wrist | XR hand | Hand 2 views | Some meaning", ("85562004",), (),
    )  # fmt: skip
    assert "CANARY" not in str(found)


def test_each_source_tells_its_parts() -> None:
    found = read(BodyPartExamined="CHEST", StudyDescription="RX MÃO", ViewPosition="WATERS", AnatomicRegionSequence=[code("72696002")],
                 SpecificCharacterSet="ISO_IR 100")  # fmt: skip
    assert found.sources == {
        "BodyPartExamined": {"chest"},
        "AnatomicRegionSequence": {"knee"},
        "description of the exam": {"hand"},
        "description of the series": {"sinus"},
    }
    assert read(StudyDescription="Polytrauma").sources == {}


def test_older_snomed_codes_are_translated_and_others_left_out() -> None:
    found = read(
        AnatomicRegionSequence=[
            code("T-D8700", "SRT"),
            code("T-11501", "SNM3"),
            code("HAND", "99LOCAL"),
            code("nonsense", "SRT"),
        ]
    )
    assert found.region_codes == ("85562004", "122494005", "nonsense")
    assert found.sources == {"AnatomicRegionSequence": {"hand", "cervical spine"}}


def test_an_exam_is_an_accession_number_of_a_patient_or_a_study() -> None:
    same = [read(AccessionNumber="7", PatientID="P", StudyInstanceUID=f"1.{k}") for k in (1, 2)]
    assert same[0].exam == same[1].exam
    assert read(AccessionNumber="7", PatientID="Q").exam != same[0].exam
    assert read(PatientID="P", StudyInstanceUID="1.9").exam == ("P", "1.9")
    assert read().exam == ("", "1.2.3")


def test_several_values_and_control_characters_become_one_line() -> None:
    found = read(BodyPartExamined=["HAND", "WRIST"], StudyDescription="Hand\r\nlinks", SeriesDescription="x" * 500)
    assert (found.body_part, found.study_description, len(found.series_description)) == (
        "HAND WRIST",
        "Hand links",
        200,
    )
    assert found.sources["BodyPartExamined"] == {"hand", "wrist"}


def test_a_value_that_cannot_be_read_is_named_and_the_others_stay() -> None:
    class Broken(pydicom.Dataset):
        def get(self, key: str, default: object = None) -> object:
            if key in ("StudyDescription", "AnatomicRegionSequence"):
                raise ValueError("boom")
            return super().get(key, default)

    data = Broken()
    data.BodyPartExamined = "HAND"
    found = registration_of(data)
    assert (found.body_part, found.study_description) == ("HAND", "")
    assert set(found.damaged) == {"StudyDescription", "AnatomicRegionSequence"}


def test_what_is_not_dicom_has_no_registration() -> None:
    assert read_registration(io.BytesIO(b"\x89PNG")) is None
    assert read_registration(io.BytesIO(b"")) is None


def test_damage_anywhere_is_a_reason_or_a_registration_but_never_a_crash() -> None:
    whole = written(
        header(BodyPartExamined="HAND", StudyDescription="CANARY", AnatomicRegionSequence=[code("85562004")])
    ).getvalue()
    rng = np.random.default_rng(0)
    cuts = (whole[:length] for length in range(132, len(whole), 7))
    reasons = [reason(data) for data in itertools.chain(cuts, (damaged(whole, rng) for _ in range(400)))]
    assert any(reasons)
    assert not all(reasons)
    assert "CANARY" not in "".join(reasons)


def reason(data: bytes) -> str:
    """Why a file is refused; empty if it is read."""
    try:
        assert isinstance(read_registration(io.BytesIO(data)), Registration)
    except DicomError as error:
        return str(error)
    return ""


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(whole)
    for place in rng.integers(132, len(data), size=4):
        data[place] = int(rng.integers(256))
    return bytes(data)
