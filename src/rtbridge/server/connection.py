"""One connection that holds no stack: between two requests, or with one whose answer has to wait.

It reads until a request is whole and asks the house to take it. A page of the site gets the socket and a
greenlet (`site`), which gives it back after the answer. What waits for news is an *exchange*: a small object that
is told when the client leaves, and that answers here when it can. At most one exchange is under way; what the
client sends meanwhile is kept up to a bound, behind which reading stops.
"""

from __future__ import annotations

import contextlib
import math
import socket
from enum import IntEnum
from typing import Protocol

from rtbridge.config import Limits
from rtbridge.runtime import Loop, Watch
from rtbridge.server.heads import end_of
from rtbridge.transports.carrier import safely

_READ = 65_536  # bytes of one recv
_PIPELINED = 16_384  # bytes that are read ahead of an answer
_MAX_HEAD = 65_536  # bytes within which a head must end, or else pywsgi decides
_FIRST_WORD = (
    0.5  # seconds in which a client that has just connected must begin its request when the server stops
)
_GOODBYE = 1.0  # seconds the client has to close after our last word


class Exchange(Protocol):
    """What answers a request that is under way, or the requests of several connections. All in the turn."""

    def left(self, connection: Connection) -> None:
        """The client is gone, or at least sends nothing any more."""

    def sent(self, connection: Connection) -> None:
        """What had to wait for the client to read has left."""

    def hurry(self, connection: Connection) -> None:
        """Answer now, with what there is: the connection's deadline has passed, or the server stops."""


class House(Protocol):
    """What a connection asks of the reactor. All in the turn."""

    loop: Loop
    limits: Limits
    closing: bool
    """The server stops: an answer is the last one of its connection."""

    def request(self, connection: Connection, head: bytes, received: bytes, start: int) -> int:
        """Take the request whose head is here: see `Connection.take`, `Connection.detach`.

        Args:
            head: without the empty line at its end.
            received: what was received from the head's first byte on.
            start: where in it the body begins.

        Returns:
            How many bytes the request has, where more are needed than are here; else 0.
        """

    def strange(self, connection: Connection) -> None:
        """What came is too long for a head: somebody else must read it, by `Connection.detach`."""

    def late(self, connection: Connection) -> None:
        """The rest of a request did not come in time: answer that."""

    def gone(self, connection: Connection) -> None:
        """It is closed, or was given away."""


class State(IntEnum):
    READING = 0
    """It waits for a request, or for the rest of one."""
    BUSY = 1
    """An exchange is under way."""
    ENDING = 2
    """The last answer is leaving; then what the client still sends is thrown away until it closes."""
    GONE = 3


class Connection:
    """In the turn only.

    Args:
        received: what was read of it already.
        served: whether it had an answer before.

    Attributes:
        deadline: when it is given up unless something happens, by the loop's clock.
        exchange: what answers the request that is under way.
        sock: not blocking, and ours until `detach`.
        state: see `State`.
    """

    __slots__ = (
        "_ended", "_house", "_looping", "_needed", "_received", "_served", "_unsent", "_watch", "deadline",
        "exchange", "sock", "state",
    )  # fmt: skip

    def __init__(self, house: House, sock: socket.socket, received: bytes, served: bool) -> None:
        self._house = house
        self.sock = sock
        self._received = received
        self._needed = 0  # bytes that the request is known to have
        self._unsent = b""
        self._ended = False  # the client sends nothing any more
        self._served = served
        self._looping = False
        self.exchange: Exchange | None = None
        self.state = State.READING
        self.deadline = house.loop.now() + house.limits.keep_alive
        self._watch: Watch = house.loop.watch(sock, self)
        self._watch.want(read=True, write=False)

    def no_more(self) -> None:
        """The server stops: close if it is between two requests. A client that has just come is heard first."""
        if self.state is not State.READING or self._received or self._unsent:
            return
        if self._served:
            self.close()
        else:
            self.deadline = self._house.loop.now() + _FIRST_WORD

    @property
    def address(self) -> tuple[str, int] | None:
        """The client's, where it has one (a Unix socket has none)."""
        try:
            name = self.sock.getpeername()
        except OSError:
            return None
        return (name[0], name[1]) if isinstance(name, tuple) else None

    # -- reading ------------------------------------------------------------------------------------------

    def __call__(self, readable: bool, writable: bool) -> None:
        """(The loop's callback. It is given the connection and not a method of it, which would take memory.)"""
        safely(self.close, self._look, readable, writable)

    def _look(self, readable: bool, writable: bool) -> None:
        if writable and self._unsent:
            self._send(b"")
        if not readable or self.state is State.GONE:
            return
        try:
            data = self.sock.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self._client_ended()
        elif self.state is not State.ENDING:
            self._came(data)

    def _came(self, data: bytes) -> None:
        searched = 0
        if self._received:
            # Where no head was found before, its end is in what came now, or begins in the three bytes before.
            searched = 0 if self._needed else max(0, len(self._received) - 3)
            self._received += data
        else:
            self._received = data
            if self.state is State.READING:
                self.deadline = self._house.loop.now() + self._house.limits.head_timeout
        self.go_on(searched)
        if self._received:
            self._update_watch()

    def _client_ended(self) -> None:
        self._ended = True
        if self.state is not State.BUSY:
            if self._unsent:
                self.state = State.ENDING  # it may read on what is still leaving
                self._update_watch()
            else:
                self.close()
            return
        self._update_watch()
        if self.exchange is not None:
            self.exchange.left(self)

    def go_on(self, searched: int = 0) -> None:
        """Take up the requests that are here, one after the other, as long as each is answered at once.

        Args:
            searched: bytes in which the first one's head does not end.
        """
        if self._looping:
            return
        self._looping = True
        try:
            while self.state is State.READING and len(self._received) > self._needed and not self._unsent:
                if not self._next_request(searched):
                    break
                searched = 0
        finally:
            self._looping = False

    def _next_request(self, searched: int) -> bool:
        """Whether there was a whole one."""
        received, house = self._received, self._house
        found = end_of(received, searched)
        if found is None:
            if len(received) > _MAX_HEAD:
                house.strange(self)
            return False
        end, start = found
        needed = house.request(self, received[:end], received, start)
        if needed:
            self._needed = needed - 1
            self.deadline = house.loop.now() + house.limits.body_timeout
        return not needed

    # -- for the house ------------------------------------------------------------------------------------

    def take(self, size: int) -> None:
        """The first `size` bytes received are a request that will be answered."""
        self._received = self._received[size:]
        self._needed = 0
        self._served = True
        self.state = State.BUSY
        self.deadline = math.inf

    def begin(self, exchange: Exchange) -> None:
        """The answer will come from an exchange."""
        self.exchange = exchange
        if self._ended or self.state is State.GONE:
            exchange.left(self)

    def wait(self, seconds: float) -> None:
        """Hurry the exchange after so long."""
        self.deadline = self._house.loop.now() + seconds

    def answer(self, data: bytes, *, close: bool = False) -> None:
        """Send the answer, or the end of it; then the next request may come."""
        if self.state is State.GONE:
            return
        self.exchange = None
        paused = len(self._received) > _PIPELINED
        ending = close or self._ended or self._house.closing
        self.state = State.ENDING if ending else State.READING
        self.deadline = self._house.loop.now() + self._house.limits.keep_alive
        self._send(data)
        self.go_on()
        if paused:
            self._update_watch()

    def send(self, data: bytes) -> bool:
        """Send a piece of an answer; whether all of it has left. Else the exchange is told when it has."""
        if self.state is not State.GONE:
            self._send(data)
        return self.state is not State.GONE and not self._unsent

    def detach(self) -> tuple[socket.socket, bytes]:
        """Give away the socket, and what was received of it."""
        self._watch.close()
        return self.detach_watched()[:2]

    def detach_watched(self) -> tuple[socket.socket, bytes, Watch]:
        """Give away the socket, what was received of it, and its watch, which is to be handed over at once."""
        self.state = State.GONE
        self._house.gone(self)
        return self.sock, self._received, self._watch

    def expire(self) -> None:
        """The deadline has passed."""
        if self.state is State.READING and self._needed and not self._unsent:
            self._house.late(self)
        elif self.exchange is not None and not self._unsent:
            self.deadline = math.inf
            self.exchange.hurry(self)
        else:
            self.close()

    def close(self) -> None:
        """It is lost, hopeless or done with. Idempotent."""
        if self.state is State.GONE:
            return
        sock, self._received = self.detach()[0], b""
        sock.close()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.left(self)

    # -- writing ------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        waited = bool(self._unsent)
        data = self._unsent + data if waited else data
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._unsent = data[sent:]
            if sent or not waited:
                self.deadline = self._house.loop.now() + self._house.limits.send_timeout
            self._update_watch()
            return
        if waited:
            self._drained()
        if self.state is State.ENDING:
            self._say_goodbye()

    def _drained(self) -> None:
        self._unsent = b""
        busy = self.state is State.BUSY
        self.deadline = math.inf if busy else self._house.loop.now() + self._house.limits.keep_alive
        self._update_watch()
        if self.exchange is not None:
            self.exchange.sent(self)
        else:
            self.go_on()

    def _update_watch(self) -> None:
        if self.state is State.GONE:
            return
        waiting = self.state is State.READING and not self._unsent
        read = waiting or self.state is State.ENDING or len(self._received) <= _PIPELINED
        self._watch.want(read=read and not self._ended, write=bool(self._unsent))

    def _say_goodbye(self) -> None:
        """Closing over unread bytes resets a connection, and the client might never see the answer."""
        if self._ended:
            self.close()
            return
        self._received = b""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.deadline = self._house.loop.now() + _GOODBYE
        self._update_watch()
