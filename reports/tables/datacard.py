"""Facts about the data set: sizes, formats, grey values, duplicates, patients, labels."""

from collections.abc import Iterator

import pandas as pd

from reports.runs.provenance import counted
from reports.runs.results import Results


def data_card(results: Results) -> list[tuple[str, str]]:
    """Describe the images that were used, as pairs of a name and a text; unknown facts are left out."""
    used = results.manifest[results.manifest["status"] == "ok"]
    return list(_facts(used, results)) if len(used) else []


def _facts(used: pd.DataFrame, results: Results) -> Iterator[tuple[str, str]]:
    noun = results.data.get("group_noun") or "group"
    sizes = used["labels"].map(len).value_counts().sort_index()
    yield "Labels per image", "; ".join(f"{n}: {counted(int(images), 'image')}" for n, images in sizes.items())
    per_group = used.groupby("group")
    several = int((per_group["labels"].agg(lambda rows: len({label for row in rows for label in row})) > 1).sum())
    yield (
        f"Images per {noun}",
        f"median {per_group.size().median():g}, at most {per_group.size().max()}; {counted(several, noun)} with several classes",
    )
    if {"width", "height"} <= set(used):
        width, height = used["width"], used["height"]
        yield (
            "Size in pixels",
            f"median {width.median():.0f} × {height.median():.0f}; width {width.min()} to {width.max()}, height {height.min()} to "
            f"{height.max()}; {counted(len(used[['width', 'height']].drop_duplicates()), 'size')}",
        )
    if "mode" in used:
        modes = used["mode"].value_counts()
        yield "Pixel format", "; ".join(f"{mode}: {counted(int(n), 'image')}" for mode, n in modes.items())
    if "grey_mean" in used:
        yield "Brightness after preprocessing", _spread(used["grey_mean"])
        yield "Contrast after preprocessing", f"{_spread(used['grey_sd'])} (standard deviation in the image)"
    if "pixels_sha256" in used:
        repeated = int(used["pixels_sha256"].duplicated().sum())
        across = int(
            (used.groupby("pixels_sha256")["labels"].agg(lambda rows: len({tuple(r) for r in rows})) > 1).sum()
        )
        conflict = f"; {counted(across, 'image')} with different labels" if across else ""
        yield "Identical pixels", f"{counted(repeated, 'duplicate image')}{conflict}; duplicates share a {noun}"
    reasons = results.manifest.loc[results.manifest["status"] != "ok", "reason"].value_counts()
    yield "Excluded", "; ".join(f"{reason}: {counted(int(n), 'file')}" for reason, n in reasons.items()) or "none"


def _spread(values: pd.Series) -> str:
    low, middle, high = values.quantile([0.05, 0.5, 0.95])
    return f"median {middle:.0f} of 255, 90 % of images between {low:.0f} and {high:.0f}"
