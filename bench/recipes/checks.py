"""Check whether an encoder or a head keeps the contract, on small random data, like scikit-learn's ``check_estimator``.

Each error is one line: what the class does wrong, and how to fix it.
"""

from __future__ import annotations

import copy
import inspect
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import ValidationError

from bench.recipes import contract
from bench.recipes.inputs import Rows
from bench.recipes.search import Dimension
from bench.recipes.small_data import SmallData, small_data, small_images, some_rows

_NEAR = 0.02  # of the largest value: as much as bfloat16 rounds
_PICKLED = (".pkl", ".pickle", ".joblib", ".pt", ".pth")


_FINITE = "it must take any finite input, even if a class has no training image"
_WAYS_OUT = {
    "encode": "it must take any uint8 images (n, h, w)",
    "fingerprint": "it must work before anything is encoded or fitted",
    "fit": _FINITE,
    "predict_proba": _FINITE,
    "refit": "its folds are flat dicts, one per fold: the entries of chosen_ and of the JSON files that save wrote, such as fold['C']",
    "save": "it gets a folder that exists, or of an encoder the file to write",
    "load": "it gets the folder that save wrote to, and no parameters of the constructor",
    "the constructor": "it must take weights = FILE, which save wrote",
}


class ContractError(ValueError):
    """A violation of the contract, and how to fix it."""


def check_encoder(encoder: Any, *, side: int = 64) -> None:
    """Check an encoder.

    Parameters
    ----------
    encoder : object or type
        An encoder that has not encoded yet, or a class that needs no parameters.
    side : int
        Images of side x side pixels are encoded.

    Raises
    ------
    ContractError
        Naming the class, what it does wrong, and how to fix it.
    """
    encoder, name = _made(encoder)
    _demand(isinstance(encoder, contract.Encoder), name, "has no encode(images)", "add it, see docs/add-a-model.md")
    _check_declared(encoder, name)
    if isinstance(encoder, contract.InferenceEncoder):
        encoder.inference_mode()
    images, fresh, before = small_images(8, side, 0), copy.deepcopy(encoder), _parameters(encoder)
    untouched = images.copy()
    values = _tried(name, "encode", lambda: encoder.encode(images))
    _check_encoding(values, len(images), name)
    _demand(np.array_equal(images, untouched), name, "encode changes the images", "work on a copy")
    _check_parameters(before, encoder, name, "encode")
    same = np.array_equal(values, encoder.encode(images)) and np.array_equal(values, fresh.encode(images))
    _demand(same, name, "encode gives other values for the same images", "learn nothing, and pass a fixed seed")
    few = encoder.encode(images[:3])
    _demand(
        _near(few, values[:3]),
        name,
        "encode lets the images of a batch influence each other",
        "describe each image by itself",
    )
    if isinstance(encoder, contract.SavableEncoder):
        _check_saved_encoder(encoder, images, values, name)


def check_head(head: Any, *, encoders: Sequence[Any] | None = None, side: int = 64) -> None:
    """Check a head, for several labels per image and for one if it has a parameter `task`.

    Parameters
    ----------
    head : object or type
        A head that is not fitted, or a class that needs no parameters.
    encoders : sequence of object, optional
        What describes the images; an empty one for a head on pixels. By default the head gets random features, or distances between them.
    side : int
        Size in pixels of the images that encoders, or the head, get.

    Raises
    ------
    ContractError
        Naming the class, what it does wrong, and how to fix it.
    """
    head, name = _made(head)
    _demand(isinstance(head, contract.Head), name, "lacks fit or predict_proba", "add them, see docs/add-a-model.md")
    _check_declared(head, name)
    both = contract.is_pairwise(head) and contract.is_rowwise(head)
    _demand(not both, name, "is pairwise and rowwise", "choose one kind of input")
    for task in ("multilabel", "multiclass") if "task" in _parameters(head) else ("multilabel",):
        unfitted = copy.deepcopy(head)
        if "task" in _parameters(head):
            unfitted.task = task
        _check_task(unfitted, small_data(head, encoders, side, task), name, task)


def _check_task(unfitted: Any, data: SmallData, name: str, task: str) -> None:
    head, before, untouched = copy.deepcopy(unfitted), _parameters(unfitted), copy.deepcopy(data)
    _fitted(head, data, name, stir=1)
    _check_parameters(before, head, name, "fit")
    same = all(_equal(getattr(data, key), getattr(untouched, key)) for key in vars(data))
    _demand(same, name, "fit changes its input", "work on a copy")
    probability = _tried(name, "predict_proba", lambda: head.predict_proba(data.X_valid))
    _check_probability(probability, data.y_valid.shape, name, task)
    _check_attributes(head, name)
    again = _fitted(copy.deepcopy(unfitted), data, name, stir=2).predict_proba(data.X_valid)
    _demand(
        np.array_equal(probability, again),
        name,
        "gives other probabilities when it is fitted again with the same seed",
        "draw from np.random.default_rng(seed), never from a global generator",
    )
    few = head.predict_proba(some_rows(data.X_valid, slice(0, 3), head))
    _demand(
        _near(few, probability[:3]),
        name,
        "predicts an image differently in a smaller batch",
        "predict each row by itself",
    )
    if isinstance(head, contract.RandomisableHead):
        head.randomise_weights(0).predict_proba(data.X_valid)
        same = np.array_equal(head.predict_proba(data.X_valid), probability)
        _demand(same, name, "randomise_weights changes the head itself", "return a copy")
    folds = [contract.chosen(head)] * 2
    if isinstance(head, contract.SavableHead):
        folds = [contract.chosen(head) | _check_saved_head(head, data, probability, name)] * 2
    if isinstance(head, contract.PrunableHead):
        _check_pruned(head, data, probability, name)
    if isinstance(head, contract.RefittableHead):
        refitted = copy.deepcopy(unfitted)
        _tried(name, "refit", lambda: refitted.refit(data.X, data.y, folds, 0))
        _check_probability(refitted.predict_proba(data.X_valid), data.y_valid.shape, f"{name} after refit", task)


def _made(part: Any) -> tuple[Any, str]:
    """Return an object to work with, and the name of its class."""
    if not isinstance(part, type):
        return copy.deepcopy(part), type(part).__name__
    try:
        return part(), part.__name__
    except TypeError as error:
        raise ContractError(
            f"{part.__name__}: needs parameters ({error}): give an object instead of the class"
        ) from None


def _demand(fulfilled: bool, name: str, wrong: str, fix: str) -> None:
    if not fulfilled:
        raise ContractError(f"{name}: {wrong}: {fix}")


def _tried(name: str, what: str, do: Callable[[], Any]) -> Any:
    """Call a method of the class; an exception becomes one line."""
    try:
        return do()
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ContractError(
            f"{name}: {what} fails with {type(error).__name__} ({reason}): {_WAYS_OUT[what]}"
        ) from error


def _parameters(part: Any) -> dict[str, Any]:
    """Constructor's parameters with their values, of those that are kept as attributes of the same name."""
    names = [name for name in inspect.signature(type(part)).parameters if name in vars(part)]
    return {name: copy.deepcopy(vars(part)[name]) for name in names}


def _check_parameters(before: dict[str, Any], part: Any, name: str, method: str) -> None:
    after = _parameters(part)
    for key, value in before.items():
        _demand(
            key in after and _equal(value, after[key]),
            name,
            f"{method} changes the constructor's parameter {key!r}",
            f"keep what is learned in an attribute that ends in _, such as {key}_",
        )


def _check_declared(part: Any, name: str) -> None:
    """Check what a class declares: its family, its search space, and its fingerprint."""
    known = inspect.signature(type(part)).parameters
    family = contract.family(type(part))
    _demand(
        family in (None, *contract.FAMILIES),
        name,
        f"family is {family!r}",
        f"use one of {', '.join(contract.FAMILIES)}",
    )
    for key, table in contract.search_space(type(part)).items():
        _demand(key in known, name, f"search_space names {key!r}", f"it has {', '.join(known) or 'no parameters'}")
        try:
            dimension = Dimension.model_validate(table)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ContractError(f"{name}: search_space[{key!r}]: {reason}") from None
        _demand(
            isinstance(dimension.first, list | tuple) or not contract.takes_candidates(part, key),
            name,
            f"search_space[{key!r}] tries single values of a parameter that holds a list",
            "write choices such as [[1], [10]], or as_list = true",
        )
    if isinstance(part, contract.Fingerprinted):
        found = _tried(name, "fingerprint", part.fingerprint)
        stable = isinstance(found, str) and found == copy.deepcopy(part).fingerprint()
        _demand(stable, name, "fingerprint is not a string or changes", "hash what the numbers depend on, nothing else")


def _check_encoding(values: Any, n: int, name: str) -> None:
    _demand(isinstance(values, np.ndarray), name, f"encode returns {type(values).__name__}", "return a numpy array")
    _demand(
        values.ndim >= 2 and len(values) == n,
        name,
        f"encode returns shape {values.shape} for {n} images",
        f"return ({n}, d)",
    )
    _demand(values.dtype in (np.float32, np.float16), name, f"encode returns {values.dtype}", "add .astype(np.float32)")
    _demand(bool(np.isfinite(values).all()), name, "encode returns values that are not finite", "do not divide by zero")


def _check_probability(found: Any, shape: tuple[int, ...], name: str, task: str) -> None:
    _demand(
        isinstance(found, np.ndarray), name, f"predict_proba returns {type(found).__name__}", "return a numpy array"
    )
    _demand(
        found.shape == shape, name, f"predict_proba returns shape {found.shape}", f"return {shape}: a column per class"
    )
    _demand(found.dtype == np.float64, name, f"predict_proba returns {found.dtype}", "add .astype(np.float64)")
    _demand(
        bool(np.isfinite(found).all()),
        name,
        "predict_proba returns values that are not finite",
        "mind a class without a training image",
    )
    inside = found.min() >= 0 and found.max() <= 1 + 1e-6
    _demand(bool(inside), name, "predict_proba returns values outside of 0 .. 1", "return probabilities, not scores")
    sums = task != "multiclass" or np.allclose(found.sum(axis=1), 1, atol=1e-4)
    _demand(sums, name, "probabilities of one label per image do not add up to 1", "use a soft-max")


def _check_attributes(head: Any, name: str) -> None:
    """Check what a fitted head reports on its fit."""
    try:
        json.dumps([contract.chosen(head), contract.history(head)], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ContractError(
            f"{name}: chosen_ or history_ cannot be written as JSON ({error}): use float(), int() and str"
        ) from None
    _demand(isinstance(contract.chosen(head), dict), name, "chosen_ is not a dict", "name what was chosen")
    history = contract.history(head)
    named = isinstance(history, list) and all("epoch" in record for record in history)
    _demand(named, name, "history_ has records without an epoch", 'write [{"epoch": 1, "valid_loss": ...}, ...]')
    _demand(contract.n_parameters(head) >= 0, name, "n_parameters_ is below 0", "count the learned numbers")


def _check_saved_encoder(encoder: Any, images: np.ndarray, values: np.ndarray, name: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "0.safetensors"
        _tried(name, "save", lambda: encoder.save(file))
        _check_no_pickle(Path(folder), name)
        options = _parameters(encoder) | contract.packaged(type(encoder), file)
        loaded = _tried(name, "the constructor", lambda: type(encoder)(**options))
        if isinstance(loaded, contract.InferenceEncoder):
            loaded.inference_mode()
        same = np.array_equal(loaded.encode(images), values)
        _demand(
            same, name, "encodes differently with weights = the file that save wrote", "write everything it depends on"
        )


def _check_saved_head(head: Any, data: SmallData, probability: np.ndarray, name: str) -> dict[str, Any]:
    """Save and load a head; return the content of its JSON files, as ``bench export`` passes it to refit."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        _tried(name, "save", lambda: head.save(folder))
        _check_no_pickle(folder, name)
        loaded = _tried(name, "load", lambda: contract.load_head(type(head), folder, "cpu"))
        if loaded is None:
            raise ContractError(f"{name}: has save(folder) and no load: add a class method load(folder)")
        near = np.allclose(loaded.predict_proba(data.X_valid), probability, atol=1e-6)
        _demand(near, name, "predicts differently after save and load", "write everything that predict_proba uses")
        facts: dict[str, Any] = {}
        for path in sorted(folder.glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            facts |= content if isinstance(content, dict) else {}
        return facts


def _check_no_pickle(folder: Path, name: str) -> None:
    """Check that nothing saved can run code when it is read."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    _demand(bool(files), name, "save writes nothing", "write safetensors or JSON into the folder")
    for path in files:
        begin = path.read_bytes()[:2]
        held = zipfile.is_zipfile(path) and any(item.endswith(".pkl") for item in zipfile.ZipFile(path).namelist())
        pickled = path.suffix in _PICKLED or (begin[:1] == b"\x80" and begin[1:2] <= b"\x05") or held
        _demand(
            not pickled, name, f"save writes a pickle ({path.name})", "write safetensors or JSON, which run no code"
        )


def _check_pruned(head: Any, data: SmallData, probability: np.ndarray, name: str) -> None:
    pruned = copy.deepcopy(head)
    kept = pruned.prune_to_support()
    near = np.allclose(pruned.predict_proba(data.X_valid[:, :, kept]), probability, atol=1e-6)
    _demand(near, name, "predicts differently after prune_to_support", "drop the images without weight, and no others")


def _fitted(head: Any, data: SmallData, name: str, *, stir: int) -> Any:
    """Fit, with the global generators in a different state each time: a head must not use them."""
    state, torch = np.random.get_state(), sys.modules.get("torch")  # noqa: NPY002 - it is restored
    np.random.seed(stir)  # noqa: NPY002
    if torch is not None:
        torch.manual_seed(stir)
    try:
        _tried(name, "fit", lambda: head.fit(data.X, data.y, data.X_valid, data.y_valid, 0))
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return head


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    wide = max(float(np.abs(b.astype(np.float64)).max()), 1e-12)
    return a.shape == b.shape and bool(np.abs(a.astype(np.float64) - b).max() <= _NEAR * wide)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Rows):
        return np.array_equal(a.array, b.array)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
