"""A streamed response body: an iterator in the server's hands, carried by the thread or greenlet that iterates it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rtbridge.errors import BusError, ProtocolError
from rtbridge.runtime import Loop
from rtbridge.wsgi.carrier import Place, RequestCarrier
from rtbridge.wsgi.departure import Departure
from rtbridge.wsgi.http import Response
from rtbridge.wsgi.later import Stream, Streamed

STREAM_HEADERS = [
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "private, no-store, no-transform"),
    ("X-Accel-Buffering", "no"),  # nginx would hold events back until its buffer is full
]


def stream_response(loop: Loop, environ: Mapping[str, Any], streamed: Streamed) -> Response:
    """Begin a stream that the thread or greenlet of its request will carry.

    Raises:
        BusError, ProtocolError: there will be no stream.
    """
    carrier = RequestCarrier(loop)
    with loop.turn():
        stream = streamed.start(carrier)
    body = StreamBody(loop, environ, stream, carrier, streamed.place)
    if streamed.awaited:
        first = body.fetch_first()
        if first is not None:
            raise first
    return Response(200, list(streamed.headers), body)


class StreamBody:
    """Iterates the pieces of a stream. While the server is still writing one piece, the next is not gathered."""

    def __init__(
        self, loop: Loop, environ: Mapping[str, Any], stream: Stream, carrier: RequestCarrier, place: Place
    ) -> None:
        self._loop = loop
        self._stream = stream
        self._carrier = carrier
        self._place = place
        self._first = b""
        self._over = False
        with loop.turn():
            self._departure = Departure(loop, environ, stream.hang_up)

    def fetch_first(self) -> BusError | ProtocolError | None:
        """Wait for the first piece before the response begins; the bus's error if there will be none."""
        piece = self._next()
        if isinstance(piece, bytes):
            self._first = piece
        return piece if isinstance(piece, BusError | ProtocolError) else None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece: object = self._first
        if piece:
            self._first = b""
        elif not self._over:
            piece = self._next()
        if isinstance(piece, bytes) and piece:
            return piece
        raise StopIteration

    def close(self) -> None:
        """WSGI's close: the response is over, whoever ended it."""
        if not self._over:
            self._over = True
            with self._loop.turn():
                self._departure.close()
                self._stream.close()
            self._place.leave()

    def _next(self) -> object:
        try:
            with self._loop.turn():
                self._stream.ready()
            piece: object = self._carrier.carry()
        except BaseException:
            self.close()
            raise
        if not isinstance(piece, bytes):
            self.close()
        return piece
