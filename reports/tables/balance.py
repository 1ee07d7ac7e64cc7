"""How many images and groups of each class there are: in all, and in each part of each fold."""

import pandas as pd

from reports.runs.results import Results


def fold_balance(results: Results) -> pd.DataFrame:
    """Count images and groups of each class in each part of each fold, with the zeros.

    Returns
    -------
    DataFrame
        repeat, fold, part, class, n_images, n_groups.
    """
    labelled = results.splits.merge(results.manifest[["image_id", "labels", "group"]], on="image_id").explode("labels")
    by_place = labelled.groupby(["repeat", "fold", "part", "labels"])
    counted = pd.DataFrame({"n_images": by_place["image_id"].nunique(), "n_groups": by_place["group"].nunique()})
    places = results.splits[["repeat", "fold", "part"]].drop_duplicates()
    grid = places.merge(pd.DataFrame({"labels": results.classes}), how="cross")
    table = grid.merge(counted.reset_index(), how="left").fillna({"n_images": 0, "n_groups": 0})
    table = table.astype({"n_images": int, "n_groups": int}).rename(columns={"labels": "class"})
    return table.sort_values(["repeat", "fold", "part"], kind="stable", ignore_index=True)


def class_sizes(results: Results) -> pd.DataFrame:
    """Count images, groups and cells with test images of each class: class, n_images, n_groups, n_folds_with_test."""
    used = results.manifest[results.manifest["status"] == "ok"].explode("labels")
    by_class = used.groupby("labels")
    balance = fold_balance(results)
    tested = balance[(balance["part"] == "test") & (balance["n_images"] > 0)]
    counts = {
        "n_images": by_class["image_id"].nunique(),
        "n_groups": by_class["group"].nunique(),
        "n_folds_with_test": tested.groupby("class").size(),
    }
    frame = pd.DataFrame(counts).reindex(results.classes).fillna(0).astype(int)
    return frame.rename_axis("class").reset_index()


def rare_classes(results: Results) -> pd.DataFrame:
    """List the classes with fewer groups than folds, which some test part must lack."""
    sizes = class_sizes(results)
    return sizes[sizes["n_groups"] < results.run["splits"]["folds"]].reset_index(drop=True)


def excluded(results: Results) -> pd.DataFrame:
    """List the files that were not used: image_id, file, reason."""
    table = results.manifest.loc[results.manifest["status"] == "excluded", ["image_id", "file", "reason"]]
    return table.reset_index(drop=True)
