"""BibTeX of the software, the data set, and every method and library that a run used."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from typing import Any

from reports.comparison.fixed_test import has_one_test_set
from reports.runs.provenance import pretrained
from reports.runs.results import Results

_ENTRY = re.compile(r"^@\w+\{(\w+),.*$", re.MULTILINE)
_CLASSES = {
    "baselines.hog:HOG": ("dalal2005",),
    "baselines.lbp:LBP": ("ojala2002",),
    "baselines.fisher:FisherVector": ("lowe2004", "arandjelovic2012", "perronnin2010", "sanchez2013"),
    "baselines.svm:SVM": ("cortes1995", "chang2011"),
    "baselines.boosting:XGBoost": ("chen2016",),
    "deep.frozen:Frozen": ("perronnin2010",),
    "deep.probe:LogisticProbe": ("liu1989",),
    "deep.finetune:FineTune": ("loshchilov2019", "kumar2022"),
    "deep.laststages:LastStages": ("loshchilov2019", "kumar2022"),
}
_BACKBONES = {
    "squeezenet": "iandola2016",
    "resnet": "he2016",
    "xception": "chollet2017",
    "convnext": "liu2022",
    "densenet": "huang2017",
    "efficientnet": "tan2019",
    "vgg": "simonyan2015",
    "vit": "dosovitskiy2021",
}
_PACKAGES = {
    "numpy": "harris2020",
    "scipy": "virtanen2020",
    "pandas": "mckinney2010",
    "opencv-python-headless": "bradski2000",
    "numba": "lam2015",
}
_ROOMS = {
    "baselines": {"scikit-learn": "pedregosa2011"},
    "deep": {"torch": "paszke2019"},
}  # used by models of that room
ALWAYS = ("holm1979", "maierhein2024", "guo2017")
OVER_FOLDS, ONE_TEST_SET = ("sechidis2011", "nadeau2003", "corani2015"), ("mcnemar1947",)


def bibtex(results: Results | None) -> str:
    """Write the entries of a run, or without one of the software alone."""
    if results is None:
        return software("")
    own = [software(str(results.run.get("xraybench", ""))), str(results.data.get("citation") or "").strip()]
    known = references()
    return "\n\n".join([*(text for text in own if text), *(known[key] for key in keys(results))]) + "\n"


def software(version: str) -> str:
    """BibTeX of xraybench; by default of the installed version."""
    if not version:
        from importlib.metadata import version as installed

        version = installed("xraybench")
    return (
        "@misc{xraybench,\n"
        "  author  = {{The xraybench developers}},\n"
        "  title   = {xraybench: classical vision against deep transfer learning on radiographs},\n"
        f"  note    = {{Software, version {version}}}\n"
        "}"
    )


def keys(results: Results) -> list[str]:
    """Keys of what a run used, in the order of first use, each once."""
    return list(dict.fromkeys(_keys(results)))


def model_keys(model: dict[str, Any]) -> list[str]:
    """Keys of the methods of one model."""
    return list(dict.fromkeys(_model_keys(model)))


@cache
def references() -> dict[str, str]:
    """Return the bibliography of the package: entry by key."""
    text = resources.files("reports").joinpath("citation", "references.bib").read_text(encoding="utf-8")
    return {match.group(1): _laid_out(match.group(0)) for match in _ENTRY.finditer(text)}


def _keys(results: Results) -> Iterator[str]:
    yield from ALWAYS
    yield from ONE_TEST_SET if has_one_test_set(results) else OVER_FOLDS
    if any("tuned" in model for model in results.models.values()):
        yield "akiba2019"
    rooms = set()
    for model in results.models.values():
        yield from _model_keys(model)
        rooms |= {part["class"].split(".")[0] for part in _parts(model)}
    packages = (results.run.get("environment") or {}).get("packages") or {}
    used = dict(_PACKAGES)
    for room in sorted(rooms & set(_ROOMS)):
        used |= _ROOMS[room]
    names = {str(part.get("backbone", "")) for model in results.models.values() for part in _parts(model)}
    if any("xception" in name or name != _bare(name) for name in names):
        used["timm"] = "wightman2019"
    yield from (key for weights in pretrained(results) for key in weights["citations"] if key in references())
    yield from (key for package, key in used.items() if package in packages)


def _model_keys(model: dict[str, Any]) -> Iterator[str]:
    for part in _parts(model):
        yield from _CLASSES.get(part["class"], ())
        backbone = str(part.get("backbone", ""))
        yield from (key for name, key in _BACKBONES.items() if _bare(backbone).startswith(name))
        if backbone and part.get("start", "imagenet") == "imagenet":
            yield "russakovsky2015"


def _bare(backbone: str) -> str:
    """Name of an architecture without timm's prefix or suffix for its weights or version."""
    return backbone.removeprefix("tf_").removeprefix("legacy_")


def _parts(model: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return [part for part in (*model.get("encoders", ()), model.get("head") or {}) if "class" in part]


def _laid_out(entry: str) -> str:
    """One field per line."""
    head, fields = entry[:-1].split(", ", 1)
    return head + ",\n  " + re.sub(r"\}, (?=\w+ = \{)", "},\n  ", fields) + "\n}"
