"""How the models of a run were tuned, as text."""

from typing import Any

from reports.runs.results import Results


def summarise_tuning(results: Results) -> str:
    """State the tuning budget of the models, and which had another or none; empty if no model was tuned."""
    models = {name: model["tuned"] for name, model in results.models.items() if isinstance(model.get("tuned"), dict)}
    budgets = {name: _budget(tuned) for name, tuned in models.items()}
    if not budgets:
        return ""
    others = ", ".join(name for name in results.models if name not in budgets)
    if len(set(budgets.values())) > 1:
        named = ", ".join(f"{name} with {budget}" for name, budget in budgets.items())
        return f"Models were not tuned alike: per fold, {named}{f'; not at all, {others}' if others else ''}."
    who = f"Every model but {others}" if others else "Every model"
    return f"{who} was tuned with {next(iter(budgets.values()))} per fold on the validation part alone."


def _budget(tuned: dict[str, Any]) -> str:
    return f"{tuned['trials']} trials" if tuned.get("trials") else f"{tuned.get('seconds') or 0:g} seconds"
