"""Body parts by whatever name a registration gives them: SNOMED CT codes, DICOM's defined terms, free text in six languages.

The table is ``terms.toml``. A part is called by its English name in lower case, such as ``lumbar spine``. What a model calls its classes is
read with the same words, so that a class and a registration meet in the same parts.

>>> sorted(parts_of("RX MAO ESQUERDA + punho"))
['hand', 'wrist']
>>> fits(parts_of("LWS 2 Ebenen"), "Lumbar Spine"), fits(parts_of("LWS 2 Ebenen"), "Thoracic Spine")
(True, False)
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

Parts = frozenset[str]
NOTHING: Parts = frozenset()
LANGUAGES = ("en", "de", "fr", "es", "pt", "it")
REST = frozenset({"other", "others", "rest", "misc", "miscellaneous", "andere", "sonstige", "autre", "autres", "otro", "otros", "outro", "outros", "altro", "altri"})  # fmt: skip
_NO_WORDS = {
    "FACE",
    "MOUTH",
    "BACK",
    "EYE",
    "IAC",
}  # terms that mean other things in a text: de face, open mouth, come back
_TOKEN = re.compile(r"[^\W\d_]+|\d+")  # letters and digits are separated: "Thorax2Ebenen"
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_Phrase = tuple[str, ...]


@dataclass(frozen=True)
class _Table:
    """Meaning of the words, codes and terms of ``terms.toml``."""

    phrases: dict[_Phrase, Parts]  # without accents
    accented: dict[_Phrase, Parts]  # that count only as written
    views: dict[_Phrase, Parts]
    codes: dict[str, Parts]
    terms: dict[str, Parts]
    written: dict[Parts, str]  # the term for a picture that shows exactly these
    above: dict[str, Parts]  # the larger regions that a part is in
    like: dict[str, Parts]
    not_before: frozenset[str]
    between: frozenset[str]


def parts_of(text: str, *, views: bool = False) -> Parts:
    """Parts that a text names: whole words, whatever their accents and capitals, the longest phrase at each place.

    Parameters
    ----------
    text : str
        Such as "Hand re. 2 Ebenen" or "RX COLUNA LOMBAR AP/P".
    views : bool, default False
        Whether names of projections count too. They are people's names (Waters, Harris), so only where a projection is expected.
    """
    return _parts_of(text, views)


def parts_of_body_part(value: str) -> Parts:
    """Parts of a BodyPartExamined: one of the standard's terms, else free text."""
    term = re.sub(r"[\s_./-]", "", value).upper()
    return _table().terms.get(term) or parts_of(value)


def parts_of_codes(codes: Iterable[str]) -> Parts:
    """Parts of SNOMED CT codes; codes missing in the table name none."""
    return NOTHING.union(*(_table().codes.get(code, NOTHING) for code in codes))


def fits(registered: Parts, name: str) -> bool:
    """Whether a class matches the registered parts.

    It may if it is one of them, lies within one (a spine may be any part of it), is the region around one (a calcaneus is a foot), or is
    what a correctly registered radiograph may also look like (the table's `like`: long bones are taken with their joints). Any of
    several parts is enough. A class without a term matches everything: nothing speaks against it.
    """
    seen = parts_of(name)
    return not seen or any(_fit(one, other) for one in registered for other in seen)


def fitting(registered: Parts, names: Iterable[str]) -> Parts:
    """Classes of a model that match a registration.

    A class for the rest, such as "Others" (`REST`), matches if a registered part has no class of its own.
    """
    names = tuple(names)
    own = {part for part in registered for name in names if any(_within(seen, part) for seen in parts_of(name))}
    rest = registered != own
    return frozenset(name for name in names if (rest if is_rest(name) else fits(registered, name)))


def is_rest(name: str) -> bool:
    """Whether a class covers everything that the others do not name."""
    return name.strip().casefold() in REST


def unknown_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Classes for which the table has no terms."""
    return tuple(name for name in names if not is_rest(name) and not parts_of(name))


def term_of(parts: Parts) -> str:
    """Return the standard's term of BodyPartExamined for a picture that shows exactly these parts; empty if it has none."""
    return _table().written.get(parts, "")


def _fit(registered: str, seen: str) -> bool:
    return _within(seen, registered) or _within(registered, seen) or seen in _table().like[registered]


def _within(part: str, region: str) -> bool:
    return part == region or region in _table().above[part]


@lru_cache(maxsize=4096)  # the texts of a hospital repeat
def _parts_of(text: str, views: bool) -> Parts:
    written, plain = _tokens(text)
    found: set[str] = set()
    place = 0
    while place < len(plain):
        length, parts = _longest(written, plain, place, views=views)
        if not _is_department(plain, place + length):
            found |= parts
        place += length
    return frozenset(found)


def _longest(written: _Phrase, plain: _Phrase, place: int, *, views: bool) -> tuple[int, Parts]:
    """Length and parts of the longest phrase that begins at a token; one token and no part if there is none."""
    table = _table()
    for length in range(min(_longest_phrase(), len(plain) - place), 0, -1):
        phrase = plain[place : place + length]
        parts = table.accented.get(written[place : place + length])
        parts = table.phrases.get(phrase) if parts is None else parts
        if parts is None and views:
            parts = table.views.get(phrase)
        if parts is not None:
            return length, parts
    return 1, NOTHING


def _is_department(plain: _Phrase, place: int) -> bool:
    """Whether the words after a part make it the name of a department: chest pain clinic."""
    table = _table()
    while place < len(plain) and plain[place] in table.between:
        place += 1
    return place < len(plain) and plain[place] in table.not_before


def _tokens(text: str) -> tuple[_Phrase, _Phrase]:
    """Words of a text in lower case, with their accents and without."""
    words = tuple(_TOKEN.findall(unicodedata.normalize("NFC", text.casefold())))
    return words, tuple(_without_accents(word) for word in words)


def _without_accents(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


@cache
def _table() -> _Table:
    entries = tomllib.loads(resources.files("radiographs").joinpath("terms.toml").read_text("utf-8"))
    ignored, several = entries.pop("ignored"), entries.pop("several")
    named = [(frozenset({part}), entry) for part, entry in entries.items()]
    named += [(frozenset(entry["parts"]), entry) for entry in several.values()]
    phrases, accented = _phrases(named, ignored["words"])
    return _Table(
        phrases=phrases,
        accented=accented,
        views={
            phrase: parts for parts, entry in named for word in entry.get("views", ()) for phrase in _spellings(word)
        },
        codes={code: parts for parts, entry in named for code in entry.get("codes", ())},
        terms={term: parts for parts, entry in named for term in entry.get("terms", ())},
        written={parts: entry["terms"][0] for parts, entry in named if entry.get("terms")},
        above={part: _regions(entries, part) for part in entries},
        like={part: frozenset(entry.get("like", ())) for part, entry in entries.items()},
        not_before=frozenset(ignored["not_before"]),
        between=frozenset(ignored["may_stand_between"]),
    )


def _phrases(named: list[tuple[Parts, dict]], ignored: list[str]) -> tuple[dict[_Phrase, Parts], dict[_Phrase, Parts]]:
    """Every phrase and its parts; one that several parts list means all of them, one that is ignored none."""
    phrases: dict[_Phrase, Parts] = {}
    accented: dict[_Phrase, Parts] = {}
    for parts, entry in named:
        for word in (word for key in (*LANGUAGES, "words") for word in entry.get(key, ())):
            if word.startswith("="):
                accented[_tokens(word[1:])[0]] = parts
                continue
            for phrase in _spellings(word):
                phrases[phrase] = phrases.get(phrase, NOTHING) | parts
        for term in entry.get("terms", ()):
            if len(parts) == 1 and term not in _NO_WORDS:
                phrases.setdefault((term.lower(),), parts)
    for word in ignored:
        phrases[_tokens(word)[1]] = NOTHING
    return phrases, accented


def _spellings(word: str) -> set[_Phrase]:
    """Return a phrase without accents, and with ae, oe, ue for umlauts."""
    return {_tokens(word)[1], _tokens(word.translate(_UMLAUTS))[1]}


def _regions(entries: dict[str, dict], part: str) -> Parts:
    regions = frozenset(entries[part].get("within", ()))
    return regions.union(*(_regions(entries, region) for region in regions))


@cache
def _longest_phrase() -> int:
    table = _table()
    return max(len(phrase) for phrase in (*table.phrases, *table.accented, *table.views))
