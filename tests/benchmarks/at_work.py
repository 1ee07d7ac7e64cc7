"""Models at work on UNIFESP: what predict, audit and the verdicts are worth on patients that no fold saw.

    bench run hog-lbp-svm hog-lbp-xgboost squeezenet-svm squeezenet-last-stage --suite standard --data UNIFESP --holdout 0.2 --out RUN
    python tests/benchmarks/at_work.py RUN UNIFESP MEDNIST

prints, for each model of the run: whether `bench predict` gives the numbers of the final test; how many of 5 % wrong BodyPartExamined `bench
audit` finds in the first tenth of its list; what is said of 100 images that are no radiographs; and how fast files are answered.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from radiographs.read import read_picture
from radiographs.terms import parts_of

from bench.audit.mismatch import CERTAIN_MISMATCH, mismatch
from bench.inference.inputs import Item, load_images
from bench.inference.model import Model, load_model
from bench.inference.predict import Settings, predict_files, predict_to
from reports.comparison.final_test import score_table
from reports.runs.results import Results, load

TERMS = {
    "Cervical Spine": "CSPINE", "Thoracic Spine": "TSPINE", "Lumbar Spine": "LSPINE", "Feet": "FOOT", "Clavicles": "CLAVICLE",
    "Lower Leg": "LEG", "Sinus": "SINUS",
}  # fmt: skip
WRONG = 0.05  # of the files are registered under another part
N_STRANGE = 100


def main(run: Path, unifesp: Path, mednist: Path) -> None:
    results = load(run)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        strangers = write_strangers(work / "strangers", mednist)
        large = write_large(work / "large", sorted((unifesp / "images" / "train").iterdir())[:24])
        for model in results.held_out:
            package = run / "holdout" / model / "model"
            loaded = load_model(package)
            reproduced(loaded, model, results, unifesp, work / f"{model}.parquet")
            if model != "prior":
                audited(package, model, results, unifesp, work / f"audit-{model}")
                audited_often(loaded, model, results, unifesp)
                looked_at_strangers(loaded, model, strangers)
            small = sorted((unifesp / "images" / "train").iterdir())[:400]
            rate(loaded, model, small, "PNG of 512 pixels")
            if model in ("hog-xgboost", "squeezenet-svm", "squeezenet-last-stage"):
                compiled = load_model(package, "openvino")
                looked_at_strangers(compiled, f"{model}, OpenVINO", strangers)
                rate(compiled, f"{model}, OpenVINO", small, "PNG of 512 pixels")
                for kind, files in large.items():
                    rate(loaded, model, files, kind)
                    rate(compiled, f"{model}, OpenVINO", files, kind)


def reproduced(loaded: Model, model: str, results: Results, unifesp: Path, out: Path) -> None:
    """Predict the held-out images from their files, and score them as the report does."""
    record, stored = results.held_out[model]
    files = [unifesp / "images" / "train" / f"{image}-c.png" for image in stored["image_id"]]
    predict_to(out, loaded, (Item(str(file)) for file in files), Settings(2))
    found = pd.read_parquet(out)
    columns = [f"probability/{name}" for name in results.classes]
    difference = np.abs(found[columns].to_numpy() - stored[columns].to_numpy()).max()
    again = score_table(stored.assign(**found[columns]), record["decision"], results)
    same = again == score_table(stored, record["decision"], results)
    f1 = again["F1 per image"]["value"]
    print(
        f"{model}: predict on {len(files)} held-out files: largest difference {difference}, same scores: {same} (F1 {f1:.3f})"
    )
    sure = found["verdict"] == "sure"
    truth = stored[[f"truth/{name}" for name in results.classes]].to_numpy(bool)
    right = truth[np.arange(len(truth)), found[columns].to_numpy().argmax(axis=1)]
    counts = found["verdict"].value_counts().to_dict()
    print(
        f"{model}: {counts}; most probable part is right: {right.mean():.3f} of all, {right[sure].mean():.3f} of the sure"
    )


def audited(package: Path, model: str, results: Results, unifesp: Path, out: Path) -> None:
    """Write the held-out images as DICOM with some wrong tags, and audit them."""
    rng = np.random.default_rng(0)
    _, table = results.held_out[model]
    labels = results.manifest.set_index("image_id")["labels"]
    wrong = set(rng.permutation(len(table))[: round(WRONG * len(table))])
    tree = out.with_name("dicom")
    tree.mkdir(exist_ok=True)
    for k, image in enumerate(table["image_id"]):
        true = list(labels[image])
        others = [name for name in results.classes if name not in true and name != "Others"]
        part = str(rng.choice(others)) if k in wrong else true[0]
        write_dicom(
            tree / f"{k:04d}.dcm", unifesp / "images" / "train" / f"{image}-c.png", TERMS.get(part, part.upper()), k
        )
    done = subprocess.run(
        [sys.executable, "-c", "from bench.cli import main; main()", "audit", str(package), str(tree), "--out", str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    listed = pd.read_csv(out / "images.csv", keep_default_na=False)
    listed["mismatch"] = pd.to_numeric(listed["mismatch"], errors="coerce")
    listed["wrong"] = [int(Path(file).stem) in wrong for file in listed["file"]]
    registered = listed["mismatch"].notna()
    tenth = listed.sort_values("mismatch", ascending=False, kind="stable").head(round(0.1 * len(listed)))
    worklist = pd.read_csv(out / "worklist.csv", keep_default_na=False)
    print(
        f"{model}: audit of {len(listed)} files, {len(wrong)} registered wrongly: {int(tenth['wrong'].sum())} of them "
        f"({tenth['wrong'].sum() / len(wrong):.0%}) in the first tenth ({len(tenth)}); without a mismatch: {int((~registered).sum())}; "
        f"status of the wrong: {listed.loc[listed['wrong'], 'status'].value_counts().to_dict() if 'status' in listed else ''}; "
        f"worklist {worklist['status'].value_counts().to_dict()}"
    )


def audited_often(loaded: Model, model: str, results: Results, unifesp: Path, draws: int = 50) -> None:
    """The same with other files registered wrongly each time, by the audit's own judgement of each image."""
    _, table = results.held_out[model]
    labels = results.manifest.set_index("image_id")["labels"]
    files = [unifesp / "images" / "train" / f"{image}-c.png" for image in table["image_id"]]
    settings = loaded.preprocessing
    prediction = loaded.predict(np.stack([settings.apply(read_picture(file).grey) for file in files]))
    calibrated, found = loaded.rule.calibrated(prediction.probability), []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        wrong = np.zeros(len(table), bool)
        wrong[rng.permutation(len(table))[: round(WRONG * len(table))]] = True
        mismatches = []
        for k, image in enumerate(table["image_id"]):
            true = list(labels[image])
            others = [name for name in results.classes if name not in true and name != "Others"]
            parts = parts_of(str(rng.choice(others)) if wrong[k] else true[0])
            value = mismatch(parts, loaded.classes, calibrated[k], several=loaded.rule.task == "multilabel")
            told = prediction.ood_score[k] <= 1 and (prediction.decision.sure[k] or value >= CERTAIN_MISMATCH)
            mismatches.append(value if told else -1)
        first = np.argsort(-np.nan_to_num(mismatches, nan=-1), kind="stable")[: round(0.1 * len(table))]
        found.append(wrong[first].sum() / wrong.sum())
    print(
        f"{model}: over {draws} draws of the wrong ones: {np.mean(found):.0%} in the first tenth (sd {np.std(found):.0%})"
    )


def write_dicom(path: Path, picture: Path, term: str, k: int) -> None:
    """A radiograph as a file of its own exam."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    grey = read_picture(picture).grey
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(k)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID = generate_uid(entropy_srcs=[f"study {k}"])
    file.SeriesInstanceUID = generate_uid(entropy_srcs=[f"series {k}"])
    file.PatientID, file.AccessionNumber, file.Modality, file.BodyPartExamined = f"P{k}", f"A{k:05d}", "CR", term
    file.Rows, file.Columns = grey.shape
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit = 7
    file.PixelData = grey.tobytes() + b"\0" * (grey.size % 2)
    file.save_as(path, enforce_file_format=True)


def write_strangers(folder: Path, mednist: Path) -> list[Path]:
    """A hundred images that are no radiographs of the body parts: photographs, drawings, CT and MR slices, patterns, blanks."""
    folder.mkdir()
    pictures = [(f"photograph-{k:02d}", grey) for k, grey in enumerate(itertools.islice(_photographs(), 50))]
    for kind in ("AbdomenCT", "ChestCT", "HeadCT", "BreastMRI"):
        files = sorted((mednist / kind).iterdir())[:10]
        pictures += [(f"{kind}-{k}", read_picture(file).grey) for k, file in enumerate(files)]
    pictures += [(f"pattern-{k}", grey) for k, grey in enumerate(_patterns())]
    paths = []
    for name, grey in pictures[:N_STRANGE]:
        paths.append(folder / f"{name}.png")
        cv2.imwrite(str(paths[-1]), grey)
    return paths


def _photographs():
    """Grey photographs and drawings that come with scikit-image, scikit-learn and matplotlib, and quarters of the large ones."""
    import matplotlib
    import skimage
    import sklearn

    places = [
        *sorted((Path(skimage.__file__).parent / "data").glob("*.[pj][np]g")),
        *sorted((Path(sklearn.__file__).parent / "datasets" / "images").glob("*.jpg")),
        Path(matplotlib.__file__).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg",
    ]
    whole = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in places]
    whole = [grey for grey in whole if grey is not None and min(grey.shape) >= 100]
    yield from whole
    for grey in whole:
        if min(grey.shape) >= 300:
            yield np.ascontiguousarray(grey[: grey.shape[0] // 2, : grey.shape[1] // 2])


def _patterns():
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(400), np.arange(300))
    yield np.zeros((300, 400), np.uint8)
    yield np.full((300, 400), 255, np.uint8)
    yield rng.integers(0, 256, (300, 400), dtype=np.uint8)
    yield rng.normal(128, 6, (300, 400)).astype(np.uint8)
    yield (x * 255 // 400).astype(np.uint8)
    yield ((x // 32 + y // 32) % 2 * 255).astype(np.uint8)
    yield ((x + y) // 16 % 2 * 255).astype(np.uint8)
    yield (np.hypot(x - 200, y - 150) < 100).astype(np.uint8) * 200
    yield cv2.GaussianBlur(rng.integers(0, 256, (300, 400), dtype=np.uint8), (0, 0), 12)
    yield (127 + 120 * np.sin(np.hypot(x - 200, y - 150) / 9)).astype(np.uint8)


def looked_at_strangers(loaded: Model, model: str, paths: list[Path]) -> None:
    """Count verdicts, and confidence as it would be believed without them."""
    table = pd.concat(predict_files(loaded, [Item(str(path)) for path in paths], Settings(2)))
    kinds = {"photograph": "photographs", "pattern": "patterns"}
    table["kind"] = [kinds.get(Path(file).stem.split("-")[0], "CT and MR") for file in table["file"]]
    for kind, rows in table.groupby("kind"):
        verdicts = Counter(rows["verdict"])
        over = (rows["confidence"] > 0.9).sum()
        print(
            f"{model}: {len(rows)} {kind}: out of distribution {verdicts['out of distribution']}, not sure {verdicts['not sure']}, sure {verdicts['sure']}; "
            f"confidence mean {rows['confidence'].mean():.2f}, above 0.9: {over}"
        )


def write_large(folder: Path, pictures: list[Path]) -> dict[str, list[Path]]:
    """Radiographs of the size and depth that detectors give (2,500 x 2,048, 12 bits), uncompressed and as lossless JPEG 2000."""
    from pydicom import dcmread
    from pydicom.uid import JPEG2000Lossless

    rng = np.random.default_rng(0)
    folder.mkdir()
    found: dict[str, list[Path]] = {"DICOM of 10 MB": [], "DICOM, lossless JPEG 2000": []}
    for k, picture in enumerate(pictures):
        plain, packed = folder / f"plain-{k}.dcm", folder / f"packed-{k}.dcm"
        write_dicom(plain, picture, "CHEST", k)
        file = dcmread(plain)
        grey = cv2.resize(file.pixel_array, (2048, 2500), interpolation=cv2.INTER_CUBIC).astype(np.float32) * 16
        grey = np.clip(grey + rng.normal(0, 6, grey.shape), 0, 4095).astype(np.uint16)
        file.Rows, file.Columns, file.BitsAllocated, file.BitsStored, file.HighBit = *grey.shape, 16, 12, 11
        file.PixelData = grey.tobytes()
        file["PixelData"].VR = "OW"
        file.save_as(plain)
        file.compress(JPEG2000Lossless)
        file.save_as(packed)
        found["DICOM of 10 MB"].append(plain)
        found["DICOM, lossless JPEG 2000"].append(packed)
    return found


def rate(loaded: Model, model: str, paths: list[Path], kind: str) -> None:
    """Files per second: decoded and preprocessed alone, and answered, in turns."""
    files = [Item(str(path)) for path in paths]
    decoded, answered = [], []
    for _ in range(3):
        start = time.perf_counter()
        for _ in load_images(files, loaded.preprocessing, workers=2):
            pass
        decoded.append(len(files) / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in predict_files(loaded, files, Settings(2)):
            pass
        answered.append(len(files) / (time.perf_counter() - start))
    d, a = np.median(decoded), np.median(answered)
    print(f"{model}: {kind}: {d:.1f} files/s decoded, {a:.1f} files/s answered: {a / d:.0%}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
