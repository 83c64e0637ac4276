"""A streamed response body: an iterator in the server's hands, carried by the thread or greenlet that iterates it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from rtbridge.errors import BusError
from rtbridge.runtime import Loop
from rtbridge.wsgi.carrier import RequestCarrier

STREAM_HEADERS = [
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "private, no-store, no-transform"),
    ("X-Accel-Buffering", "no"),  # nginx would hold events back until its buffer is full
]


class Stream(Protocol):
    """What a streaming transport is to its body. Both are called in the turn."""

    def ready(self) -> None: ...

    def close(self) -> None: ...


class StreamBody:
    """Iterates the pieces of a stream. While the server is still writing one piece, the next is not gathered.

    Args:
        left: called once when it is over.
        first: a piece that was fetched before the response began.
    """

    def __init__(
        self,
        loop: Loop,
        stream: Stream,
        carrier: RequestCarrier,
        left: Callable[[], None],
        first: bytes = b"",
    ) -> None:
        self._loop = loop
        self._stream = stream
        self._carrier = carrier
        self._left = left
        self._first = first
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._over:
            raise StopIteration
        try:
            piece = next_piece(self._loop, self._stream, self._carrier)
        except BaseException:
            self.close()
            raise
        if isinstance(piece, bytes):
            return piece
        self.close()
        raise StopIteration

    def close(self) -> None:
        """WSGI's close: the response is over, whoever ended it."""
        if not self._over:
            self._over = True
            with self._loop.turn():
                self._stream.close()
            self._left()


def next_piece(loop: Loop, stream: Stream, carrier: RequestCarrier) -> bytes | BusError | None:
    """Wait for the next piece of a stream; None at its end."""
    with loop.turn():
        stream.ready()
    piece: bytes | BusError | None = carrier.carry()
    return piece
