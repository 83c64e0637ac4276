"""How much all tails of a process hold: a bound in bytes, and for each a bound in publications.

Who has gone longest without news or questions gives up its oldest entries first. Nothing is lost by it:
what a tail no longer holds is read from the bus.
"""

from __future__ import annotations

from collections import OrderedDict

from rtbridge.fanout.tail import Entry, Tail
from rtbridge.protocol.positions import Position


class Stock:
    """All changes to tails go through it. `size` is in bytes, reckoned as `Entry.size` does."""

    def __init__(self, max_bytes: int, max_publications: int) -> None:
        self.size = 0
        self._max_bytes = max_bytes
        self._max_publications = max_publications
        self._tails: OrderedDict[Tail, None] = (
            OrderedDict()
        )  # those that hold something, longest unused first

    def append(self, tail: Tail, *entries: Entry) -> None:
        before = tail.size
        for entry in entries:
            tail.append(entry)
            if len(tail.entries) > self._max_publications:
                tail.drop_oldest()
        self.size += tail.size - before
        self._tails[tail] = None
        self._tails.move_to_end(tail)
        while self.size > self._max_bytes:
            self._drop_one()

    def drop_until(self, tail: Tail, offset: int) -> int:
        """Let a tail forget what is not after `offset`; where it ends now."""
        before = tail.size
        while tail.entries and tail.entries[0].offset <= offset <= tail.last:
            tail.drop_oldest()
        self.size -= before - tail.size
        if not tail.entries:
            self._tails.pop(tail, None)
        return tail.last

    def touch(self, tail: Tail) -> None:
        if tail in self._tails:
            self._tails.move_to_end(tail)

    def restart(self, tail: Tail, position: Position) -> None:
        self.forget(tail)
        tail.restart(position)

    def forget(self, tail: Tail) -> None:
        if tail in self._tails:
            del self._tails[tail]
            self.size -= tail.size

    def _drop_one(self) -> None:
        tail = next(iter(self._tails))
        before = tail.size
        tail.drop_oldest()
        self.size -= before - tail.size
        if not tail.entries:
            del self._tails[tail]
