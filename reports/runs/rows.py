"""Tables as plain lists: rows by the names of their columns, and these names."""

from typing import Any, cast

import pandas as pd


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, each by the names of its columns."""
    return cast("list[dict[str, Any]]", table.to_dict("records"))  # the columns of every table here are named by text


def columns_of(table: pd.DataFrame) -> list[str]:
    """Return the names of the columns of a table."""
    return cast("list[str]", list(table.columns))
