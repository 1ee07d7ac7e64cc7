"""What a request may be: from whom, how large, how many at a time. Refusals are one line of JSON and never a path or a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what a user may have asked for


@dataclass(frozen=True)
class Limits:
    """Of the server.

    Attributes
    ----------
    max_bytes : int
        Of a request's body.
    max_pixels : int
        Of an image, all frames together.
    at_once : int
        Images that are looked at at the same time.
    reading : int
        Files that are decoded at the same time, so that one that takes long holds up no other.
    waiting : int
        Requests that may wait for that; further ones are sent away with 503.
    seconds : float
        In which a request must have come whole.
    image_seconds : float
        Seconds in which an image must have been read; what reads a longer one is ended.
    hosts : tuple of str
        Names that requests may be addressed to, besides those of this machine: a page on the internet that has its name resolve to this machine
        (DNS rebinding) is not among them.
    """

    max_bytes: int = 64_000_000
    max_pixels: int = 100_000_000
    at_once: int = 1
    reading: int = 4
    waiting: int = 16
    seconds: float = 60
    image_seconds: float = 10
    hosts: tuple[str, ...] = ()

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server; any address of it will do where it listens to others."""
        name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
        name = name.lower().removesuffix(".")
        known = name in _OWN_NAMES or name in self.hosts or name.strip("[]") in self.hosts
        return known or (any(host in _EVERYWHERE for host in self.hosts) and _is_address(name))


class Guard:
    """Refuses what is not addressed to this server, what another site's page sends, and what is too large, before it is read or while it is."""

    def __init__(self, app: ASGIApp, limits: Limits, count: Callable[[int], None]) -> None:
        self.app = app
        self.limits = limits
        self.count = count  # called with the status of each refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self.limits.knows(headers.get("host", "")):
            await self._refuse(refusal(403, "this server does not answer to that name"), scope, receive, send)
            return
        if scope["method"] not in _HARMLESS and not _is_own_page(headers):
            await self._refuse(refusal(403, "this server does not answer to other sites' pages"), scope, receive, send)
            return
        told = headers.get("content-length", "0")
        if not told.isdigit() or int(told) > self.limits.max_bytes:
            await self._refuse(self._too_large(), scope, receive, send)
            return
        body = _Counted(receive, self.limits)

        async def answer(message: Message) -> None:
            if not body.over:  # what is said of half a body is not what is wrong with it
                await send(message)

        try:
            await self.app(scope, body, answer)
        except Exception:  # of a body that was cut off, in whatever it comes wrapped
            if not body.over:
                raise
        if body.over:
            late = refusal(408, f"the file did not come within {self.limits.seconds:g} seconds")
            await self._refuse(late if body.late else self._too_large(), scope, receive, send)

    async def _refuse(self, response: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
        self.count(response.status_code)
        await response(scope, receive, send)

    def _too_large(self) -> JSONResponse:
        return refusal(413, f"the file is over the limit of {self.limits.max_bytes:,} bytes")


class _Counted:
    """Gives the parts of a body until there are too many bytes, or they take too long to come."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self.receive = receive
        self.left = limits.max_bytes
        self.deadline = time.monotonic() + limits.seconds
        self.whole = False
        self.over = self.late = False

    async def __call__(self) -> Message:
        if self.whole:  # what comes now is the end of the connection, which may take its time
            return await self.receive()
        try:
            message = await asyncio.wait_for(self.receive(), max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            self.over = self.late = True
            raise _CutOffError from None
        self.whole = not message.get("more_body", False)
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            self.over = True
            raise _CutOffError
        return message


class Turns:
    """Lets so many in at a time and so many wait."""

    def __init__(self, limits: Limits) -> None:
        self.reading = asyncio.Semaphore(limits.reading)
        self.inside = asyncio.Semaphore(limits.at_once)
        self.free = limits.at_once + limits.waiting

    async def read(self, do: Callable[[], Any]) -> Any:
        """Decode something in a thread, beside others."""
        async with self.reading:
            return await asyncio.to_thread(do)

    async def take(self, do: Callable[[], Any]) -> Any:
        """Do something in a thread when it is its turn."""
        async with self.inside:
            return await asyncio.to_thread(do)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place in the queue, from before a file is read to its answer.

        Raises
        ------
        BusyError
            If too many wait already.
        """
        if self.free == 0:
            raise BusyError
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1


class BusyError(Exception):
    """Too many requests wait."""


class _CutOffError(Exception):
    """The rest of a body is not waited for."""


def refusal(status: int, words: str) -> JSONResponse:
    """One line that says what is wrong."""
    headers = {"Retry-After": "2"} if status == 503 else None
    return JSONResponse({"error": words}, status_code=status, headers=headers)


def _is_own_page(headers: dict[str, str]) -> bool:
    """Whether a request comes from this server's page or from no page at all: browsers say so, and no page can make them say otherwise."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or origin.lower().partition("://")[2] == headers.get("host", "").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
