"""What a session needs of the transport that carries it (declared here, implemented on floor 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rtbridge.protocol.codecs import Codec


@dataclass(frozen=True, slots=True)
class Wire:
    """A codec and the wrapping its messages get; everything on the same wire shares the same bytes.

    Attributes:
        name: the key under which a publication's finished bytes are kept, unlike any codec's name.
        wrap: makes the bytes that leave from one encoded message (a frame, an event, or the message itself).
    """

    name: str
    codec: Codec
    wrap: Callable[[bytes], bytes]


class Outlet(Protocol):
    """A transport, seen from its session. All calls happen in the turn and none may block."""

    @property
    def transport(self) -> str:
        """`websocket`, `eventstream`, `longpoll` or `shortpoll`."""

    @property
    def wire(self) -> Wire: ...

    def due(self) -> None:
        """There is something to `collect`, or the session came to rest; look at it before the turn is over."""

    def run(self, job: Callable[[], None]) -> None:
        """Run `job`, which may block, outside the turn; jobs of one outlet run one after the other."""

    def finish(self, code: int, message: str, retry_after: float | None) -> None:
        """The session is over: send what was collected, then the disconnect code, then close."""


class LiveOutlet(Outlet, Protocol):
    """A transport that may be sent to at any moment, over the `Sink` that it settles with; see `live`."""

    def hold(self, data: bytes, sent: int) -> None:
        """Of `data` only `sent` bytes could be sent: keep the rest and wait for room; `live.LOST`: it is broken.

        It says `rest` to its session, and `wake` when all has left.
        """
