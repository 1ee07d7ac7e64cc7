"""Cards: the description of a data set, as a TOML file that can be read, cited and shared."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from radiographs.text import read_toml


class CardError(ValueError):
    """A card that cannot be read; one line that names the file and the key."""


class Columns(BaseModel):
    """Columns of a table of labels. An empty `separator` means one label per image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = "file"
    label: str = "label"
    group: str | None = None
    separator: str = ""


class Download(BaseModel):
    """An archive that may be downloaded: its address, and its hash as "sha256:..." or "md5:..."."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    checksum: str = Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")


class Card(BaseModel):
    """Description of a data set.

    `classes` maps a label of the table to the name to show; without it labels are shown unchanged.
    `task` "auto" means: several labels if any image has more than one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    description: str = ""
    synthetic: bool = False
    task: Literal["auto", "multiclass", "multilabel"] = "auto"
    at_least_one: bool = True
    group: str = "patient"
    public: bool = (
        False  # the names of its files and images are published and identify nobody: results may contain them
    )
    layout: Literal["kaggle", "folders", "table", "paths", "dicom"] = "table"
    table: str | None = None  # the CSV file inside the data folder, for the layout "table"
    pattern: str = ""  # for the layout "paths": what finds (?P<label>...) and (?P<group>...) in a file's path
    columns: Columns = Field(default_factory=Columns)
    classes: dict[str, str] = Field(default_factory=dict)
    licence: str = "not stated"
    citation: str = ""
    url: str = ""
    obtain: str = ""  # how to get the images by hand
    download: Download | None = None  # if the licence allows automatic download


def read_card(path: Path) -> Card:
    """Read a card file.

    Raises
    ------
    CardError
        If the file cannot be read, is not TOML, or a key is unknown, missing or of the wrong kind.
    """
    try:
        return Card.model_validate(read_toml(path))
    except OSError as error:
        raise CardError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CardError(f"{path}: not a TOML file ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise CardError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None


@cache
def known_cards() -> dict[str, Card]:
    """Return the cards that come with the package, by name."""
    folder = files("radiographs").joinpath("cards")
    cards = [read_card(Path(str(f))) for f in sorted(folder.iterdir(), key=str) if f.name.endswith(".toml")]
    return {card.name: card for card in cards}
