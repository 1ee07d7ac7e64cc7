"""A fitted model written as a self-contained folder."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from radiographs.disk import write_checksums

from bench.cells.encodings import Encodings
from bench.data.dataset import Data
from bench.export.refit import Refitted
from bench.inference.descriptor import CLASSICAL, Descriptor, choose_descriptor, write_descriptor_network
from bench.inference.native import Native
from bench.inference.novelty import MAX_REFERENCES, OodDetector, fit_ood_detector
from bench.inference.package import ONNX, encoder_file, head_folder, write_arrays, write_facts
from bench.recipes import contract
from bench.recipes.build import Resources, build, family, resolve
from bench.recipes.suite import Part

TOLERANCE = 1e-3  # between the probabilities of the graph and of torch, both in float32
_CHECKED = 16  # images on which graph and classes are compared
_log = logging.getLogger(__name__)


def assemble(
    folder: Path,
    name: str,
    refitted: Refitted,
    data: Data,
    encodings: Encodings,
    resources: Resources,
    seed: int,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Write everything of a model but its card into an empty folder, and return its facts.

    Parameters
    ----------
    facts : dict
        Further entries of model.json.
    """
    (folder / "encoders").mkdir()
    head_folder(folder).mkdir()
    parts = [_write_encoder(folder, k, part, resources) for k, part in enumerate(refitted.spec.encoders)]
    refitted.head.save(head_folder(folder))
    _write_references(folder, refitted, encodings)
    descriptor = choose_descriptor(refitted.spec.encoders, refitted.head, resources)
    network = write_descriptor_network(folder, resources) if descriptor.kind == CLASSICAL else None
    if network:
        descriptor = choose_descriptor(refitted.spec.encoders, refitted.head, resources, network)
    detector = _ood_detector(descriptor, refitted, data, encodings, seed)
    detector.save(folder)
    facts = {
        "name": name,
        "family": family(refitted.spec),
        "task": data.task,
        "classes": list(data.classes),
        "mirror": refitted.spec.mirror,
        "encoders": [_plain(part) for part in parts],
        "head": _plain(refitted.spec.head),
        "descriptor": descriptor.kind,
        "descriptor_network": _plain(network) if network else None,
        "trained_on": {
            "n_images": len(refitted.rows),
            "n_groups": len(set(data.groups[refitted.rows])),
            "fit_seconds": refitted.seconds,
            "chosen": contract.chosen(refitted.head),
        },
        **facts,
    }
    facts["graph"] = _write_graph(folder, facts, np.array(data.images[refitted.rows[:_CHECKED]]))
    return facts


def seal(folder: Path, facts: dict[str, Any]) -> None:
    """Write model.json and the checksums, which completes the folder."""
    write_facts(folder, facts)
    write_checksums(folder)


def _plain(part: Part) -> dict[str, Any]:
    """Return a part as stored in model.json; its weights are in the folder, not at a path."""
    parameters = {key: value for key, value in part.parameters.items() if key != "weights"}
    return {"class": part.class_, **json.loads(json.dumps(parameters))}


def _write_encoder(folder: Path, k: int, part: Part, resources: Resources) -> Part:
    encoder = build(part, resources, f"encoders.{k}")
    if not isinstance(encoder, contract.SavableEncoder):
        return part
    encoder.save(encoder_file(folder, k))
    packaged = contract.packaged(type(encoder), encoder_file(folder, k))
    return Part.model_validate(_plain(part) | {key: value for key, value in packaged.items() if key != "weights"})


def _write_references(folder: Path, refitted: Refitted, encodings: Encodings) -> None:
    if refitted.references is None:
        return
    arrays = {}
    for k, part in enumerate(refitted.spec.encoders):
        arrays[f"{k}"] = encodings.get(part).values[refitted.references]
        if refitted.spec.mirror:
            arrays[f"{k}-mirrored"] = encodings.get(part, mirrored=True).values[refitted.references]
    write_arrays(folder / "references.safetensors", arrays)


def _ood_detector(
    descriptor: Descriptor, refitted: Refitted, data: Data, encodings: Encodings, seed: int
) -> OodDetector:
    """Fit the detector to training images, from existing encodings."""
    rows = np.sort(np.random.default_rng(seed).permutation(refitted.rows)[:MAX_REFERENCES])
    described = descriptor.describe_cached(lambda: data.images[rows], lambda part: encodings.get(part).values[rows])
    return fit_ood_detector(described, data.groups[rows], whitened=descriptor.kind == CLASSICAL)


def _write_graph(folder: Path, facts: dict[str, Any], images: np.ndarray) -> dict[str, Any] | None:
    """Write model.onnx if every part is a network and the exporter is installed; return its largest difference from torch."""
    classes = [resolve(Part.model_validate(part), folder.name) for part in (*facts["encoders"], facts["head"])]
    if not contract.is_network(classes[:-1], classes[-1]):
        return None
    native = Native(folder, facts, "cpu", trusted=True)
    try:
        from bench.export.to_onnx import graph_of, largest_difference
    except ModuleNotFoundError as error:
        _log.warning("%s: no %s: pip install 'xraybench[deploy]' (%s)", folder.name, ONNX, error)
        return None
    differences = largest_difference(graph_of(native), native, images, folder / ONNX)
    if differences["onnx_to_torch"] > TOLERANCE:
        raise RuntimeError(f"{folder / ONNX}: differs from torch by {differences['onnx_to_torch']:.2g}")
    return {"input": "images", "output": "probability", "n_checked": len(images), **differences}
