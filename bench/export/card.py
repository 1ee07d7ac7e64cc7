"""The model card (Mitchell et al. 2019): what a model is, its training data, its performance, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from bench.recipes.contract import DEEP, declared_family

_IMAGENET = "trained on ImageNet, whose terms allow non-commercial research; see the backbone's own licence"


def card(facts: dict[str, Any]) -> str:
    """Write README.md of a model folder as Markdown."""
    text = files("bench.export").joinpath("card.md.j2").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - Markdown
    environment.filters["cell"] = lambda value: "–" if value is None else f"{value:.3f}"
    return environment.from_string(text).render(m=facts)


def licences(run: dict[str, Any], facts: dict[str, Any], weights: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Licence of the data, and of the weights that the model started from; `weights` are the entries of its cells."""
    if weights:
        from reports.runs.provenance import describe_weights

        described = "; ".join(describe_weights(each) for each in weights)
        return {"data": run["data"]["licence"], "weights": f"{described}; {_IMAGENET}"}
    networks = [part for part in [*facts["encoders"], facts["head"]] if declared_family(part["class"]) == DEEP]
    backbones = sorted({part["backbone"] for part in networks if "backbone" in part})
    terms = f"{', '.join(backbones)}: weights {_IMAGENET}" if backbones else "none: no pretrained weights"
    return {"data": run["data"]["licence"], "weights": terms}
