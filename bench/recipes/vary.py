"""Models of a suite that differ in a word or a number, written once: `[[vary]]` lists the values for `{word}` in a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

_WORD = re.compile(r"\{(\w+)\}")


def varied(models: Mapping[str, Any], vary: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write out the models of a suite.

    Parameters
    ----------
    models : mapping
        Raw tables by name. A name with a ``{word}`` stands for as many models as the word has values.
    vary : sequence of mapping
        Each with lists of one length by word, whose k-th values belong together; several are combined, the first changing slowest. With
        ``outer = true`` the models follow each other within a value, else the values within a model.

    Returns
    -------
    dict
        Raw tables by name, in order.

    Raises
    ------
    ValueError
        If lists differ in length, a word is unknown or two models get one name.
    """
    outer = list(_combined([table for table in vary if table.get("outer")]))
    inner = list(_combined([table for table in vary if not table.get("outer")]))
    found: dict[str, Any] = {}
    for around in outer:
        for name, table in models.items():
            for values in inner if _WORD.search(name) else [{}]:
                words = {**around, **values}
                full = str(_filled(name, words))
                if full in found and _WORD.search(name):
                    raise ValueError(f"models.{name}: gives two models the name {full!r}")
                found[full] = _filled(table, words) if _WORD.search(name) else table
    return found


def _combined(tables: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Values by word, for every combination."""
    for rows in product(*map(_rows, tables)):
        yield {word: value for row in rows for word, value in row.items()}


def _rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    lists = {word: values for word, values in table.items() if word != "outer"}
    if not lists or not all(isinstance(values, list) for values in lists.values()):
        raise ValueError("vary: give each word a list of values")
    if len({len(values) for values in lists.values()}) > 1:
        raise ValueError(f"vary: {', '.join(lists)} belong together and need lists of one length")
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _filled(value: Any, words: Mapping[str, Any]) -> Any:
    """Put values for words, in texts, lists and tables; a string that is only a word becomes the value itself, such as a number."""
    if isinstance(value, Mapping):
        return {key: _filled(each, words) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, words) for each in value]
    if not isinstance(value, str):
        return value
    alone = _WORD.fullmatch(value)
    return _value(alone, words) if alone else _WORD.sub(lambda found: str(_value(found, words)), value)


def _value(found: re.Match[str], words: Mapping[str, Any]) -> Any:
    if found[1] not in words:
        raise ValueError(f"{found[0]}: no such word under vary; there are {', '.join(words)}")
    return words[found[1]]
