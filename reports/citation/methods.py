"""A methods section for a paper, written from a run and its settings."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from reports.citation.bibliography import model_keys
from reports.comparison.bootstrap import N_RESAMPLES
from reports.comparison.fixed_test import has_one_test_set
from reports.comparison.pairwise import TestSettings
from reports.runs.provenance import DIGEST_LENGTH, count_groups, counted, describe_weights, pretrained
from reports.runs.results import Results
from reports.runs.tuning import summarise_tuning
from reports.scores.naming import title
from reports.scores.ranking import primary_metric
from reports.tables.export import latex_escaped, markdown_escaped

_CITED = re.compile(r"\[@([\w; @]+)\]")
_PACKAGES = ("numpy", "scipy", "scikit-learn", "xgboost", "opencv-python-headless", "torch", "torchvision", "timm")


def markdown(results: Results, settings: TestSettings) -> str:
    """Write the methods in Markdown, with Pandoc citations of the keys in citations.bib."""
    texts = [_cited(text, markdown_escaped, "[@{}]", "; @") for text in _paragraphs(results, settings)]
    return "\n\n".join([f"# Methods of {markdown_escaped(results.run['run_id'])}", *texts]) + "\n"


def latex(results: Results, settings: TestSettings) -> str:
    r"""Write the methods in LaTeX, with \cite of the keys in citations.bib."""
    texts = [_cited(text, latex_escaped, r"~\cite{{{}}}", ",") for text in _paragraphs(results, settings)]
    return "\n\n".join(text.replace(" ~", "~") for text in texts) + "\n"


def _cited(text: str, escaped: Callable[[str], str], form: str, comma: str) -> str:
    """Escape a text but for its citations, which get the given form."""
    pieces, end = [], 0
    for match in _CITED.finditer(text):
        keys = comma.join(key.strip(" @") for key in match.group(1).split(";"))
        pieces += [escaped(text[end : match.start()]), form.format(keys)]
        end = match.end()
    return "".join([*pieces, escaped(text[end:])])


def _paragraphs(results: Results, settings: TestSettings) -> Iterator[str]:
    yield " ".join(_data(results))
    yield " ".join(_splits(results))
    yield " ".join(_models(results))
    yield " ".join(_statistics(results, settings))
    yield " ".join(_machine(results))


def _data(results: Results) -> Iterator[str]:
    data, settings = results.data, results.run["suite"].get("preprocessing") or {}
    several = data["task"] == "multilabel"
    simulated = "simulated images (of no real patients)" if data.get("synthetic") else "images"
    yield (
        f"The data set {data.get('title') or data['name']} has {data['n_images']:,} {simulated} of {count_groups(results)} in "
        f"{len(data['classes'])} classes, {'with one or several labels per image' if several else 'one per image'}."
    )
    if data.get("n_excluded"):
        yield f"{counted(data['n_excluded'], 'file')} could not be used and {'was' if data['n_excluded'] == 1 else 'were'} excluded."
    steps = []
    if settings.get("normalise"):
        steps.append("stretched so that the 0.1th and 99.9th percentile of the grey levels became 0 and 255")
    if settings.get("crop"):
        steps.append("cropped to the exposed field")
    if settings.get("denoise", "none") != "none":
        steps.append(f"filtered ({settings['denoise']})")
    if "side" in settings:
        how = "padded to a square and resized" if settings.get("shape") == "pad" else "stretched"
        steps.append(f"{how} to {settings['side']} × {settings['side']} pixels")
    if settings.get("clahe"):
        steps.append("equalised locally (CLAHE)")
    if steps:
        yield f"Every image was {', '.join(steps)}; the preprocessing has no learned parameters and was the same for all models."


def _splits(results: Results) -> Iterator[str]:
    splits = results.run["splits"]
    noun = results.data.get("group_noun") or "group"
    if has_one_test_set(results):
        parts = results.splits["part"].value_counts()
        yield (
            f"Models were compared on one fixed test set of {counted(int(parts['test']), 'image')}; no {noun} had images in two parts."
        )
        yield (
            f"Parameters, epochs and thresholds were chosen on {counted(int(parts['valid']), 'validation image')}. All models used the same "
            f"parts (SHA-256 {splits['digest'][:DIGEST_LENGTH]}, seed {results.run['seed']})."
        )
        return
    often = f", {splits['repeats']} times with other folds" if splits["repeats"] > 1 else ""
    yield (
        f"Models were compared by {splits['folds']}-fold cross-validation{often}, with folds grouped by "
        f"{noun}, so that no {noun} had images in two parts, and stratified over all labels at once [@sechidis2011]."
    )
    yield (
        f"A validation part was split from the other images by the same rule; parameters, epochs and thresholds were chosen on it "
        f"alone. All models used the same splits (SHA-256 {splits['digest'][:DIGEST_LENGTH]}, seed {results.run['seed']})."
    )


def _models(results: Results) -> Iterator[str]:
    yield f"{counted(len(results.models), 'model')} of the suite {results.run['suite']['name']} were compared."
    for name, model in results.models.items():
        cited = model_keys(model)
        text = (model.get("description") or "").rstrip(".")
        if text.split(" ")[0].istitle():
            text = text[0].lower() + text[1:]
        yield f"{name}: {text or 'no description'}{_settings(model)}" + (f" [@{'; @'.join(cited)}]." if cited else ".")
    if found := pretrained(results):
        yield f"Pretrained weights: {'; '.join(describe_weights(each) for each in found)}."
    if tuning := summarise_tuning(results):
        yield f"{tuning} The parameters above were the first trial; a tree-structured Parzen estimator chose the others [@akiba2019]."


def _settings(model: dict[str, Any]) -> str:
    """Parameters of a model that differ from their defaults, as the suite states them."""
    parts = [part for part in (*model.get("encoders", ()), model.get("head") or {}) if len(part) > 1]
    if not parts:
        return ""
    texts = [
        f"{part['class'].split(':')[-1]}({', '.join(f'{k}={json.dumps(v)}' for k, v in part.items() if k != 'class')})"
        for part in parts
        if "class" in part
    ]
    share = model.get("train_share", 1)
    trained = f", trained on {share:.0%} of the training groups" if share < 1 else ""
    return f" ({'; '.join(texts)}{trained})" if texts else ""


def _statistics(results: Results, settings: TestSettings) -> Iterator[str]:
    noun = results.data.get("group_noun") or "group"
    metric = title(primary_metric(results), results)
    decision = (
        "An image was assigned every label whose probability reached a threshold common to all classes, the one with the highest mean F1 per "
        "image on the validation part"
        + (", and at least the most probable label." if results.data["at_least_one"] else ".")
        if results.data["task"] == "multilabel"
        else "An image was assigned its most probable class."
    )
    yield decision
    yield (
        f"The primary metric is {metric}; further metrics are reported [@maierhein2024]. Scores are mean and standard deviation "
        f"over the folds, with {100 * (1 - settings.alpha):g} % bootstrap intervals over {noun}s ({N_RESAMPLES:,} draws)."
    )
    yield "Calibration was assessed before and after temperature scaling fitted on the validation part [@guo2017]."
    if has_one_test_set(results):
        yield (
            f"Models were compared by McNemar's exact test on whether all labels of an image are correct [@mcnemar1947], with p values adjusted by "
            f"Holm's method [@holm1979] (alpha {settings.alpha:g})."
        )
        return
    yield (
        "Models were compared by the corrected resampled t-test [@nadeau2003], with p values adjusted by Holm's method [@holm1979] "
        f"(alpha {settings.alpha:g}), and by the Bayesian correlated t-test with a region of practical equivalence of ± {settings.rope:g} "
        "[@corani2015]."
    )


def _machine(results: Results) -> Iterator[str]:
    environment = results.run.get("environment") or {}
    packages = environment.get("packages") or {}
    yield (
        f"Computed with xraybench {results.run.get('xraybench', '')} on {environment.get('gpu') or environment.get('cpu', 'an unnamed processor')}"
        f" ({environment.get('threads', '?')} threads, {environment.get('memory_gb', '?')} GB memory, Python {environment.get('python', '?')}"
        + "".join(f", {name} {packages[name]}" for name in _PACKAGES if name in packages)
        + f"); run {results.run['run_id']}, {results.run.get('created', '')}."
    )
