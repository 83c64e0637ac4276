"""Answers that are not there yet.

An endpoint settles who asks what; where the answer has to wait it gives one of these values instead of a
response. Whoever has the request carries them: the middleware on the request's own thread or greenlet
(`waiting`, `streaming`), our own server without one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rtbridge.runtime import Watch
from rtbridge.transports.carrier import Carrier
from rtbridge.wsgi.carrier import Place
from rtbridge.wsgi.http import Response

Headers = list[tuple[str, str]]


class Poll(Protocol):
    """What carrying needs of a poll; both in the turn."""

    def hurry(self) -> None:
        """Answer now, with what there is."""

    def abort(self) -> None:
        """Nobody waits for the answer any more."""


class Stream(Protocol):
    """What carrying needs of a stream; all in the turn."""

    def ready(self) -> None:
        """The next piece can be taken."""

    def hang_up(self) -> None:
        """The client is gone: end the response."""

    def close(self) -> None:
        """The response is over, whoever ended it. Idempotent."""


@dataclass(slots=True)
class Common:
    """What everybody who asks the same is answered alike: something of a public channel.

    Attributes:
        channel: its name.
        wait: seconds to wait for news; 0 for a short poll.
        start: asks it without waiting. In the turn.
    """

    channel: str
    wait: float
    start: Callable[[Carrier], Poll]


@dataclass(slots=True)
class Parked:
    """A poll, answered once.

    Attributes:
        start: makes the poll on a carrier and begins it. In the turn.
        respond: the response of what the carrier was finished with; ProtocolError or BusError where that is
            none.
        place: where it may park; None if it may not.
        common: where the answer is nobody's own.
    """

    start: Callable[[Carrier], Poll]
    respond: Callable[[object], Response]
    place: Place | None
    common: Common | None = None


@dataclass(slots=True)
class Streamed:
    """A response that goes on.

    Attributes:
        start: makes the stream on a carrier and begins it. In the turn.
        headers: of the response.
        place: where it parks.
        awaited: the first piece decides whether this becomes a stream at all, or an error.
        drained: a session is behind it, which the bridge sends away when the server stops.
    """

    start: Callable[[Carrier], Stream]
    headers: Headers
    place: Place
    awaited: bool = False
    drained: bool = False


@dataclass(slots=True)
class Upgrade:
    """A WebSocket.

    Attributes:
        head: the 101 response, which is still to be sent; empty where the server sent it.
        start: makes the connection of a carrier, a socket, what was read of it beyond the handshake, and its watch
            where it has one; gives what ends it. In the turn.
        place: where it parks.
    """

    head: bytes
    start: Callable[[Carrier, socket.socket, bytes, Watch | None], Callable[[], None]]
    place: Place


Later = Parked | Streamed | Upgrade
