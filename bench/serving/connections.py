"""Connections that may not be held open for nothing: a request's first line and headers come within a time, or the connection ends."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0


class Impatient(H11Protocol):
    """uvicorn's protocol, which by itself waits for headers for ever."""

    seconds = SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limit: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn's
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop waiting when the headers are whole; a further request on the connection has its own time, and so has a body that nobody reads."""
        super().data_received(data)
        answered = self.cycle is not None and self.cycle.response_complete
        if answered or self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._limit is None:
            self._limit = self.loop.call_later(self.seconds, self._end)

    def _stop(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _end(self) -> None:
        self._limit = None
        cast("Transport", self.transport).abort()
