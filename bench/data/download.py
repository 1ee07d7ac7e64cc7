"""``bench data get``: fetch a data set if its licence allows a program to, otherwise explain how to get it."""

from __future__ import annotations

from pathlib import Path

from radiographs.cards import Card, known_cards, read_card
from radiographs.download import fetch, unpack
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from bench.errors import UserError

NOT_FETCHED = 1


def get_data(name: str, out: Path | None, console: Console) -> int:
    """Fetch and unpack a data set known by name, or described by a card file; exit code 1 if it must be obtained by hand.

    Raises
    ------
    UserError, SourceError
        For an unknown name, a folder that already exists, or a failed download.
    """
    card = _card(name)
    folder = out or Path(card.name)
    console.print(Text(f"{card.title}. Licence: {card.licence}"))
    if card.download is None:
        console.print(
            Text(
                f"its licence does not allow automatic download. How to get it:\n{card.obtain or card.url or 'its card does not say'}"
            )
        )
        return NOT_FETCHED
    if folder.exists():
        raise UserError(f"{folder}: already exists; give another --out, or remove it")
    archive = folder.with_name(f"{folder.name}.{card.download.url.rsplit('/', 1)[-1]}")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"downloading {card.name}", total=None)
        fetch(
            card.download.url,
            archive,
            card.download.checksum,
            lambda have, total: bar.update(task, completed=have, total=total or None),
        )
    unpack(archive, folder)
    archive.unlink()
    console.print(Text(f"{card.name} is in {folder}. Next: bench run --all --data {folder}"))
    return 0


def _card(name: str) -> Card:
    if name.endswith(".toml"):
        return read_card(Path(name))
    cards = known_cards()
    if name not in cards:
        raise UserError(f"bench data get {name}: unknown; there are {', '.join(cards)}, or give a card file (.toml)")
    return cards[name]
