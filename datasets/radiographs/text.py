"""Text files in UTF-8, in UTF-16 as Excel writes it, or in the code page of an older program."""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Any

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_NAMES = {"cp1252": "Windows-1252", "mac_roman": "Mac Roman", "latin-1": "Latin-1"}
_WITHIN_WORDS = frozenset("’‘'-–")  # characters that do occur between letters


def encoding_of(content: bytes) -> str:
    """Name the encoding of a text: by its byte-order mark, else UTF-8 if valid, else the code page in which its words look like words.

    >>> encoding_of("Fêmur".encode("mac_roman")), encoding_of("Fêmur".encode("cp1252")), encoding_of("Fêmur".encode())
    ('mac_roman', 'cp1252', 'utf-8')
    """
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            return name
    if b"\0" in content[:1000]:
        return "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return min(("cp1252", "mac_roman", "latin-1"), key=lambda name: _oddness(content, name))
    return "utf-8"


def guessed(encoding: str) -> str:
    """Name for people of an encoding that the file does not state; empty where it does."""
    return _NAMES.get(encoding, "")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, with or without a byte-order mark.

    Raises
    ------
    OSError, UnicodeDecodeError, tomllib.TOMLDecodeError
        If it cannot be read, is not UTF-8, or is not TOML.
    """
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))


def _oddness(content: bytes, encoding: str) -> int:
    """Count the letters beyond ASCII that do not fit their word; many if the bytes are not text in this encoding."""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return len(content)
    places = (k for k, sign in enumerate(text) if ord(sign) > 127)
    return sum(_is_odd(text[k - 1 : k], text[k], text[k + 1 : k + 2]) for k in places)


def _is_odd(before: str, sign: str, after: str) -> bool:
    """Whether a character is a control, is not a letter inside a word, or differs in case from the letters around it."""
    if not sign.isprintable():
        return True
    beside = [letter for letter in (before, after) if letter.isalpha()]
    if not sign.isalpha():
        return bool(beside) and sign not in _WITHIN_WORDS
    return (sign.isupper() and before.islower()) or (
        sign.islower() and len(beside) == 2 and all(b.isupper() for b in beside)
    )
