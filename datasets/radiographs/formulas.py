"""Strings in CSV files that a spreadsheet would execute as formulas: written with a leading apostrophe, and read back without."""

from __future__ import annotations

_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def neutral(text: object) -> object:
    """Return the written form of a value: a string that begins like a formula, after any apostrophes, gets one more.

    >>> neutral("=1+1.dcm"), neutral("'=1"), neutral("hand.dcm"), neutral(-1.5)
    ("'=1+1.dcm", "''=1", 'hand.dcm', -1.5)
    """
    return f"'{text}" if isinstance(text, str) and text.lstrip("'").startswith(_BEGINNINGS) else text


def original(text: object) -> object:
    """Return the value that `neutral` was given.

    >>> original("'=1+1.dcm"), original("''=1"), original("'hand'"), original("=2")
    ('=1+1.dcm', "'=1", "'hand'", '=2')
    """
    return text[1:] if isinstance(text, str) and text.startswith("'") and neutral(text) != text else text
