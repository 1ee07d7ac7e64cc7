"""Images whose registered label the models do not believe: likely wrong labels, the likeliest first.

Every image is judged by models that did not learn from its patient: those of the fold that tests it. One model may err on a hard
image; where classical and deep models agree against the label, the label is worth a look. It is a ranking for people to go
through, not a correction.
"""

import numpy as np
import pandas as pd

from reports.evaluation import Evaluation, in_order

COLUMNS = (
    *("image_id", "file", "group", "labels", "suggested", "models_against", "n_models"),
    *("probability_labels", "probability_suggested"),
)


def suspects(evaluation: Evaluation) -> pd.DataFrame:
    """Rank the images to whose labels most models give none of the support that they give to another class.

    Models of the family "floor" do not look at the image and have no say. A model is against the label if its most probable class is
    not among the registered ones; with several repeats its mean probabilities count.

    Returns
    -------
    DataFrame
        image_id, file, group, labels (as registered, "; " between), suggested (the class that the models together find most
        probable), models_against, n_models; probability_labels, the mean over the models of the highest probability of a
        registered label, and probability_suggested. Only images that more than half of the models are against; those with
        the widest gap between the two probabilities first.
    """
    results = evaluation.results
    judges = [
        m
        for m in evaluation.finished
        if results.models[m]["family"] != "floor" and len(evaluation.parts(m)) == results.n_planned
    ]
    if not judges:
        return pd.DataFrame(columns=list(COLUMNS))
    votes = []
    for model in judges:
        parts = [in_order(part) for part in evaluation.pooled(model)]
        votes.append(np.mean([part.probability for part in parts], axis=0))
    whole = in_order(evaluation.pooled(judges[0])[0])  # every model has tested the same images
    ids, truth = whole.image_id, whole.truth
    probability = np.stack(votes)  # (n_models, n, n_classes)
    first = probability.argmax(axis=2)  # (n_models, n)
    against = (~np.take_along_axis(truth[None], first[:, :, None], axis=2)[:, :, 0]).sum(axis=0)
    support = np.where(truth, probability, 0).max(axis=2).mean(axis=0)
    together = np.where(truth, -1, probability.mean(axis=0))  # of the classes that are not registered
    suggested = together.argmax(axis=1)
    files = results.manifest.set_index("image_id").loc[ids]
    table = pd.DataFrame(
        {
            "image_id": ids,
            "file": files["file"].to_numpy(),
            "group": files["group"].to_numpy(),
            "labels": ["; ".join(labels) for labels in files["labels"]],
            "suggested": np.array(results.classes, dtype=object)[suggested],
            "models_against": against,
            "n_models": len(judges),
            "probability_labels": support,
            "probability_suggested": together.max(axis=1),
        }
    )
    table = table[(2 * table["models_against"] > len(judges)) & truth.any(axis=1)]
    gap = table["probability_suggested"] - table["probability_labels"]
    return table.loc[gap.sort_values(ascending=False, kind="stable").index, list(COLUMNS)].reset_index(drop=True)
