"""What the server answers is what `bench predict` writes, and nothing of the patient is in it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from bench.inference.model import load_model
from bench.serving.predictions import disambiguate
from tests.bench.made import Made
from tests.bench.serving.server import MODELS, send


def test_every_model_answers_as_it_does_in_predict(address: str, classical: Made, picture: bytes) -> None:
    found = send(address, picture).json()
    assert [each["model"] for each in found["models"]] == list(MODELS)
    path = next((classical.data / "images" / "train").iterdir())
    for each in found["models"]:
        model = load_model(classical.model(each["model"]))
        with Image.open(path) as image:
            grey = np.asarray(image)
        probability = model.probabilities(model.preprocessing.apply(grey)[None])[0]
        assert list(each["probabilities"].values()) == [round(p, 6) for p in probability]
        assert each["verdict"] in ("sure", "not sure", "out of distribution")
        assert each["picture"].startswith("data:image/png;base64,")


def test_dicom_is_answered_and_nothing_of_the_patient_comes_back(address: str, classical: Made, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    made = classical.bench(
        "data", "phantom", tmp_path / "d", "--n", 1, "--side", 256, "--part", "Hand", "--format", "dicom"
    )
    assert made.returncode == 0, made.stderr
    file = next(path for path in (tmp_path / "d").rglob("*.dcm"))
    response = send(address, file.read_bytes(), "scan.dcm")
    assert response.status_code == 200
    assert response.json()["kind"].startswith("DICOM")
    import pydicom

    header = pydicom.dcmread(file)
    for entry in ("PatientID", "SOPInstanceUID", "StudyInstanceUID"):
        assert str(header.get(entry, "absent")) not in response.text


def test_heat_maps_are_pictures_of_every_model(address: str, picture: bytes) -> None:
    found = send(address, picture, route="/v1/explain").json()
    assert [each["model"] for each in found["models"]] == list(MODELS)
    assert all(each["png"].startswith("data:image/png;base64,") for each in found["models"])


def test_counts_and_descriptions(address: str, picture: bytes) -> None:
    send(address, picture)
    httpx.get(address + "/secret-name-of-a-patient")
    assert httpx.get(address + "/health", headers={"Host": "elsewhere.example"}).status_code == 403
    text = httpx.get(address + "/metrics").text
    assert 'xraybench_requests_total{route="refused",status="403"}' in text
    assert re.search(r'xraybench_requests_total\{route="/v1/predict",status="200"\} [1-9]', text)
    assert re.search(r'xraybench_answers_total\{model="hog-svm",verdict="\w', text)
    assert "secret" not in text
    schema = httpx.get(address + "/openapi.json").json()
    assert {"/v1/predict", "/v1/explain", "/v1/models", "/health", "/metrics"} <= set(schema["paths"])
    known = httpx.get(address + "/v1/models").json()
    assert [each["name"] for each in known] == list(MODELS)
    assert httpx.get(address + "/docs").status_code == 404  # it would load scripts from elsewhere


def test_models_of_one_name_are_told_apart(classical: Made, tmp_path: Path) -> None:
    here, there = load_model(classical.model("hog-svm")), tmp_path / "elsewhere"
    shutil.copytree(here.folder, there)
    other = load_model(classical.model("hog-xgboost"))
    names = [model.name for model in disambiguate([here, load_model(there), other, here])]
    folder = here.folder.name
    assert names == [f"hog-svm ({folder}) 1", "hog-svm (elsewhere)", "hog-xgboost", f"hog-svm ({folder}) 2"]
