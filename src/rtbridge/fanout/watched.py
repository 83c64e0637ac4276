"""What the fanout knows of one channel: its state, its tail, and who waits for what."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from rtbridge.bus.contract import Keep
from rtbridge.errors import BusError
from rtbridge.fanout.tail import Tail
from rtbridge.protocol.publications import Publication

Then = Callable[[Tail | BusError], object]


class Reader(Protocol):
    """What the fanout calls above it."""

    def news(self, channel: str) -> None:
        """There is something after the old end of this channel's tail. In the turn.

        Only mark yourself and schedule: do not join, leave, read or write. Once for all that came in one
        turn.
        """


class State(Enum):
    PRIMING = auto()
    """It is being watched and first read; there is no tail yet."""
    READY = auto()
    REPAIRING = auto()
    """Something is missing in the tail; the bus is being read. Readers can use it, it is only behind."""
    LEAVING = auto()
    """It is being unwatched. Who asks for it now waits until that is done, so that the two do not cross."""


class Watched:
    """One channel. In the turn only.

    While the bus is read, what arrives is *held*. Whatever was held before a read began the read makes
    superfluous: the history is the truth. What is held is bounded; if that is too little, or something else
    may have been missed meanwhile, `again` asks for another read.
    """

    __slots__ = (
        "again",
        "channel",
        "held",
        "held_bytes",
        "keep",
        "marked",
        "readers",
        "state",
        "tail",
        "waiting",
    )

    def __init__(self, channel: str, keep: Keep) -> None:
        self.channel = channel
        self.keep = keep
        self.state = State.PRIMING
        self.tail: Tail | None = None
        self.readers: dict[Reader, None] = {}
        self.marked = False
        self.waiting: list[Then] = []
        self.again = False
        self.release()

    def hold(self, epoch: str, publication: Publication, max_count: int, max_bytes: int) -> None:
        self.held.append((epoch, publication))
        self.held_bytes += len(publication.data)
        if len(self.held) > max_count or self.held_bytes > max_bytes:
            self.release()
            self.again = True

    def release(self) -> list[tuple[str, Publication]]:
        """Give up and give back what was held."""
        held: list[tuple[str, Publication]] = getattr(self, "held", [])
        self.held: list[tuple[str, Publication]] = []
        self.held_bytes = 0
        return held
