"""The model card (Mitchell et al. 2019): what a model is, what it was trained on, how well it did, and what it is not for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

_IMAGENET = "trained on ImageNet, whose terms allow non-commercial research; see the backbone's own licence"


def card(facts: dict[str, Any]) -> str:
    """Write README.md of a model folder as Markdown."""
    text = files("bench.export").joinpath("card.md.j2").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - Markdown
    environment.filters["cell"] = lambda value: "–" if value is None else f"{value:.3f}"
    return environment.from_string(text).render(m=facts)


def licences(run: dict[str, Any], facts: dict[str, Any], weights: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Licence of the data, and of the weights that the model started from; `weights` is what its cells say of them."""
    if weights:
        from reports.runs.provenance import describe_weights

        said = "; ".join(describe_weights(each) for each in weights)
        return {"data": run["data"]["licence"], "weights": f"{said}; {_IMAGENET}"}
    deep = [part for part in [*facts["encoders"], facts["head"]] if part["class"].startswith("deep.")]
    backbones = sorted({part["backbone"] for part in deep if "backbone" in part})
    said = f"{', '.join(backbones)}: weights {_IMAGENET}" if backbones else "none: it started from nothing"
    return {"data": run["data"]["licence"], "weights": said}
