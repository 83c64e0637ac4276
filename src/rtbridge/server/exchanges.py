"""What answers a request that has to wait, on a connection without a stack.

An exchange is the carrier of its transport: it is finished with what is to be sent, whenever that comes. Jobs,
which may block, get a greenlet while they run.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from rtbridge.errors import BusError, ProtocolError
from rtbridge.server.connection import Connection
from rtbridge.server.wire import LAST_CHUNK, Writer, chunk
from rtbridge.wsgi.http import Response, server_failed
from rtbridge.wsgi.later import Headers, Parked, Poll, Stream, Streamed


class Desk(Protocol):
    """What exchanges ask of the mount they came through."""

    writer: Writer

    def spawn(self, job: Callable[[], None]) -> None:
        """Run what may block in a greenlet of its own."""

    def failure(self, error: Exception) -> Response:
        """The response to a request that failed as a whole."""


class PollExchange:
    """A poll: answered once."""

    __slots__ = ("_close", "_connection", "_cors", "_desk", "_poll", "_respond")

    def __init__(self, desk: Desk, connection: Connection, cors: Headers, close: bool) -> None:
        self._desk = desk
        self._connection = connection
        self._cors = cors or None  # nearly always there is none, and that is no list
        self._close = close
        self._poll: Poll | None = None
        self._respond: Callable[[object], Response] | None = None

    def begin(self, parked: Parked) -> None:
        """Start the poll, which may answer at once. In the turn."""
        self._respond = parked.respond
        poll = parked.start(self)
        if self._respond is not None:
            self._poll = poll
            self._connection.begin(self)

    def hurry(self, connection: Connection) -> None:
        if self._poll is not None:
            self._poll.hurry()

    left = hurry

    def sent(self, connection: Connection) -> None:
        """A poll has no further piece."""

    # The transport's carrier.

    def run(self, job: Callable[[], None]) -> None:
        self._desk.spawn(job)

    def finish(self, answer: object) -> None:
        respond, self._respond, self._poll = self._respond, None, None
        if respond is None:
            return
        try:
            response = respond(answer)
        except Exception as error:
            response = self._desk.failure(error)
        response.headers += self._cors or ()
        self._connection.answer(self._desk.writer.whole(response, close=self._close), close=self._close)


class StreamExchange:
    """A streamed response. The next piece is asked for when the one before has left."""

    __slots__ = ("_connection", "_cors", "_desk", "_drained", "_headers", "_stream")

    def __init__(self, desk: Desk, connection: Connection, cors: Headers) -> None:
        self._desk = desk
        self._connection = connection
        self._cors = cors or None
        self._drained = False
        self._headers: Headers | None = None  # not yet sent
        self._stream: Stream | None = None

    def begin(self, streamed: Streamed, send_buffer: int) -> None:
        """Start the stream. In the turn."""
        with contextlib.suppress(OSError):
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self._headers = [*streamed.headers, *(self._cors or ())]
        self._drained = streamed.drained
        stream = streamed.start(self)
        if self._headers is None:  # it failed at once, and that is answered
            stream.close()
            return
        self._stream = stream
        self._connection.begin(self)
        if not streamed.awaited:
            self._send(self._head())
        elif self._stream is not None:
            self._stream.ready()

    def hurry(self, connection: Connection) -> None:
        if not self._drained:
            self.left(connection)  # the client comes back from its position

    def left(self, connection: Connection) -> None:
        if self._stream is not None:
            self._stream.hang_up()

    def sent(self, connection: Connection) -> None:
        if self._stream is not None:
            self._stream.ready()

    # The transport's carrier.

    def run(self, job: Callable[[], None]) -> None:
        self._desk.spawn(job)

    def finish(self, answer: object) -> None:
        if self._stream is None and self._headers is None:
            return  # it is over
        if isinstance(answer, bytes):
            self._send(self._head() + chunk(answer))
            return
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        if self._headers is None:
            self._connection.answer(LAST_CHUNK, close=True)
            return
        self._headers = None
        response = self._desk.failure(answer if isinstance(answer, BusError | ProtocolError) else server_failed())
        response.headers += self._cors or ()
        self._connection.answer(self._desk.writer.whole(response, close=True), close=True)

    def _head(self) -> bytes:
        headers, self._headers = self._headers, None
        return b"" if headers is None else self._desk.writer.streamed(headers)

    def _send(self, data: bytes) -> None:
        if self._connection.send(data) and self._stream is not None:
            self._stream.ready()
