"""Connections with a time limit: a request's first line and headers arrive within it, or the connection is closed."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0


class TimedProtocol(H11Protocol):
    """uvicorn's protocol, which by itself waits for headers indefinitely."""

    seconds = SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn's
        """Start the timer."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Stop the timer when the headers are complete; a further request on the connection, or an unread body, has its own time limit."""
        super().data_received(data)
        answered = self.cycle is not None and self.cycle.response_complete
        if answered or self.conn.their_state is h11.IDLE:
            self._start()
        else:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.seconds, self._close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._timer = None
        cast("Transport", self.transport).abort()  # asyncio's type of it is wider than what it is
