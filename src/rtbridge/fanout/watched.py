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
CLIENTS_A_LOOK = 15
"""While more keeps coming, the readers wait to be told of it all at once; for so many clients a turn of the loop.

So it takes no longer than the telling itself, which it spares.
"""
LONGEST = 0.02
"""Seconds it takes at most, should turns be long."""
MOST_LOOKS = 64
QUIET = 2
"""Looks, one in each turn, at which nothing more had come: a call in flight needs a turn and a half."""


class Reader(Protocol):
    """What the fanout calls above it."""

    @property
    def weight(self) -> int:
        """How many clients it reads for."""

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
        "aged",
        "channel",
        "held",
        "held_bytes",
        "keep",
        "looks",
        "marked",
        "quiet",
        "readers",
        "resting",
        "seen",
        "state",
        "tail",
        "until",
        "waiting",
    )

    def __init__(self, channel: str, keep: Keep) -> None:
        self.channel = channel
        self.keep = keep
        self.state = State.PRIMING
        self.tail: Tail | None = None
        self.readers: dict[Reader, None] = {}
        self.resting: dict[Reader, None] = {}  # they count as readers, and hear nothing
        self.marked = False
        self.aged = 0  # of a volatile channel: where its tail ended at the last tick
        self.quiet = 0
        self.seen = -1
        self.looks = 0
        self.until = 0.0
        self.waiting: list[Then] = []
        self.again = False
        self.release()

    def mark(self, now: float) -> None:
        """There is news."""
        self.marked = True
        self.quiet = 0
        self.seen = -1
        self.until = now + LONGEST
        weight, enough = 0, MOST_LOOKS * CLIENTS_A_LOOK
        for reader in self.readers:
            weight += reader.weight
            if weight >= enough:
                break
        self.looks = min(weight // CLIENTS_A_LOOK, MOST_LOOKS)

    def grows(self, now: float) -> bool:
        """Whether more keeps coming, and the readers should be told of it all at once, a little later."""
        assert self.tail is not None
        if self.looks <= 0 or now >= self.until:
            return False
        self.looks -= 1
        self.quiet = self.quiet + 1 if self.tail.last == self.seen else 0
        self.seen = self.tail.last
        return self.quiet < QUIET

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
