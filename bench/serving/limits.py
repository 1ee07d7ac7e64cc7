"""What a request may be: from whom, how large, how many at a time. A refusal is one line of JSON, without paths or tracebacks."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what a user may give as --host
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Limits of the server.

    Attributes
    ----------
    max_bytes : int
        Of a request's body.
    max_pixels : int
        Of an image, all frames together.
    at_once : int
        Images that are predicted at the same time.
    reading : int
        Files that are decoded at the same time, so that a slow one holds up no other.
    waiting : int
        Requests that may wait; further ones are refused with 503.
    seconds : float
        Time in which the whole of a request must arrive.
    image_seconds : float
        Time in which an image must be decoded; the process of a slower one is ended.
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

    def allows_host(self, host: str) -> bool:
        """Whether a Host header names this server; where it listens to other machines, any address does."""
        name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
        name = name.lower().removesuffix(".")
        known = name in _OWN_NAMES or name in self.hosts or name.strip("[]") in self.hosts
        return known or (any(host in _EVERYWHERE for host in self.hosts) and _is_address(name))


class Guard:
    """Refuses a request that is not addressed to this server, that another site's page sends, or that is too large or too slow.

    Parameters
    ----------
    app : ASGIApp
        The application behind it.
    limits : Limits
        What a request may be.
    count : callable
        Called with the status of each refusal.
    """

    def __init__(self, app: ASGIApp, limits: Limits, count: Callable[[int], None]) -> None:
        self.app = app
        self.limits = limits
        self.count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        response = self._refusal_by_headers(scope)
        if response is None:
            response = await self._refusal_by_body(scope, receive, send)
        if response is not None:
            self.count(response.status_code)
            await response(scope, receive, send)

    def _refusal_by_headers(self, scope: Scope) -> JSONResponse | None:
        """Return why a request is refused before its body is read, or None."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self.limits.allows_host(headers.get("host", "")):
            return refusal(403, "this server is not known by that name")
        if scope["method"] not in _HARMLESS and not _is_own_page(headers):
            return refusal(403, "requests from other sites' pages are refused")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.limits.max_bytes:
            return self._too_large()
        return None

    async def _refusal_by_body(self, scope: Scope, receive: Receive, send: Send) -> JSONResponse | None:
        """Handle a request; return why it is refused if its body is too large or too slow, else None."""
        body = _LimitedBody(receive, self.limits)

        async def answer(message: Message) -> None:
            if not body.cut_off:  # a response to half a body does not name the error
                await send(message)

        try:
            await self.app(scope, body, answer)
        except Exception:  # a truncated body, whatever the error is wrapped in
            if not body.cut_off:
                raise
        if body.late:
            return refusal(408, f"the file did not arrive within {self.limits.seconds:g} seconds")
        return self._too_large() if body.cut_off else None

    def _too_large(self) -> JSONResponse:
        return refusal(413, f"the file exceeds the limit of {self.limits.max_bytes:,} bytes")


class _LimitedBody:
    """Receives the parts of a body until there are too many bytes, or they take too long to arrive."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self.receive = receive
        self.left = limits.max_bytes
        self.deadline = time.monotonic() + limits.seconds
        self.complete = False
        self.cut_off = self.late = False

    async def __call__(self) -> Message:
        if self.complete:  # next comes the end of the connection, which may take its time
            return await self.receive()
        try:
            message = await asyncio.wait_for(self.receive(), max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            self.cut_off = self.late = True
            raise _CutOffError from None
        self.complete = not message.get("more_body", False)
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            self.cut_off = True
            raise _CutOffError
        return message


class RequestQueue:
    """Limits how many files are decoded and predicted at the same time, and how many requests wait.

    Parameters
    ----------
    limits : Limits
        Of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self.decoding = asyncio.Semaphore(limits.reading)
        self.predicting = asyncio.Semaphore(limits.at_once)
        self.free = limits.at_once + limits.waiting

    async def decode(self, work: Callable[[], T]) -> T:
        """Decode in a thread, beside others."""
        async with self.decoding:
            return await asyncio.to_thread(work)

    async def predict(self, work: Callable[[], T]) -> T:
        """Predict in a thread, in turn."""
        async with self.predicting:
            return await asyncio.to_thread(work)

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a place in the queue, from before a file is read to its response.

        Raises
        ------
        BusyError
            If too many requests are waiting.
        """
        if self.free == 0:
            raise BusyError
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1


class BusyError(Exception):
    """Too many requests are waiting."""


class _CutOffError(Exception):
    """A body whose remainder is not awaited."""


def refusal(status: int, message: str) -> JSONResponse:
    """Return a one-line error response."""
    headers = {"Retry-After": "2"} if status == 503 else None
    return JSONResponse({"error": message}, status_code=status, headers=headers)


def _is_own_page(headers: dict[str, str]) -> bool:
    """Whether a request comes from this server's page or from no page at all, by headers that browsers set and pages cannot forge."""
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
