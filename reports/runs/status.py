"""Status of a model over its cells."""

from reports.runs.results import Results


def state(results: Results, model: str) -> tuple[str, str]:
    """Status and reason of a model: failed before skipped before missing before done."""
    cells = results.cells[results.cells["model"] == model]
    n_missing = results.n_planned - len(cells)
    reasons = []
    for status in ("failed", "skipped"):
        reasons += [(status, reason) for reason in dict.fromkeys(cells.loc[cells["status"] == status, "reason"])]
    if n_missing:
        reasons.append(("missing", f"{n_missing} of {results.n_planned} cells not run yet"))
    if not reasons:
        return "done", ""
    return reasons[0][0], "; ".join(str(reason) for _, reason in reasons)
