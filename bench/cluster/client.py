"""Typed calls of a synchronous Dask client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

from distributed import Client


def addresses(client: Client) -> frozenset[str]:
    """Return the addresses of the connected workers."""
    return frozenset(cast("dict[str, int]", client.nthreads()))  # a coroutine only with an asynchronous client


def run_on(
    client: Client,
    address: str,
    function: Callable[..., Any],
    *arguments: Any,
    on_error: Literal["raise", "return"] = "raise",
) -> Any:
    """Have one worker run a function beside its cells, and return what it returns.

    Parameters
    ----------
    client : Client
    address : str
    function : callable
    *arguments : object
    on_error : {"raise", "return"}, default="raise"
        With ``return`` an exception is returned.

    Returns
    -------
    object
    """
    found = client.run(function, *arguments, workers=[address], on_error=on_error)
    return cast("dict[str, Any]", found)[address]


def run_everywhere(client: Client, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Have every worker run a function; return the results of those that succeed, and skip the others."""
    return list(cast("dict[str, Any]", client.run(function, *arguments, on_error="ignore")).values())
