"""Entries of a parsed DICOM header as text and numbers; one that cannot be read counts as missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset


def text(dataset: Dataset, keyword: str) -> str:
    """Put an entry into one line of printable characters."""
    try:
        value = dataset.get(keyword, "")
    except Exception:  # noqa: BLE001 - a value that cannot be read counts as missing
        return ""
    return " ".join("".join(c for c in str(value or "") if c.isprintable()).split())


def number(dataset: Dataset, keyword: str, default: int = 0) -> int:
    """Read a whole number; the default where there is none."""
    try:
        value = dataset.get(keyword, None)
        return default if value is None or value == "" else int(value)
    except Exception:  # noqa: BLE001 - as above
        return default


def decimal(dataset: Dataset, keyword: str, default: float) -> float:
    """First value of a decimal entry."""
    try:
        value = dataset.get(keyword, None)
        if value is None or value == "":
            return default
        return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)
    except Exception:  # noqa: BLE001 - as above
        return default
