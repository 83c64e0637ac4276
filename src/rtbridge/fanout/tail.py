"""The recent end of one channel's log, as this process holds it for all its readers.

A tail answers "what comes after my position" from memory, or says that it cannot, and then the bus is
asked: it never guesses. That a position is unknown here is no gap: the client may come from a worker that
is a little ahead.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from operator import attrgetter

from rtbridge.bus.contract import Kind
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Publication

OVERHEAD = 300
"""Bytes that an entry is reckoned to take besides its data."""

_offset = attrgetter("offset")


class Entry:
    """One publication and its wire forms, each of them made once, when first needed, for all readers."""

    __slots__ = ("cause", "data", "forms", "offset", "publication")

    def __init__(self, publication: Publication) -> None:
        self.publication = publication
        self.offset = publication.offset
        self.data = publication.data
        self.cause = publication.cause
        self.forms: dict[str, bytes] | None = None

    def form(self, name: str, make: Callable[[Publication], bytes]) -> bytes:
        """The form of that name; `make` makes it the first time."""
        forms = self.forms
        if forms is None:
            forms = self.forms = {}
        made = forms.get(name)
        if made is None:
            made = forms[name] = make(self.publication)
        return made

    def size(self) -> int:
        """Bytes it is reckoned to take: data and one wire form of it. What is really there varies."""
        return OVERHEAD + 2 * len(self.data)


class Tail:
    """Entries `first` to `last` of one epoch. In the turn only; only the fanout changes it.

    Attributes: channel: its name. keep: of a `history` the entries have no holes, of a `latest` channel
    there is at most the newest one, of a `volatile` one there is what came while it was watched. epoch: the
    log's. first: offset of the oldest entry held; `last` + 1 if none is. last: offset of the newest
    publication known, held or not. size: bytes its entries are reckoned to take.
    """

    __slots__ = (
        "_left_epoch",
        "_position",
        "_shared",
        "_shared_after",
        "_shared_bytes",
        "channel",
        "entries",
        "epoch",
        "first",
        "keep",
        "last",
        "size",
    )

    def __init__(self, channel: str, keep: Kind, position: Position) -> None:
        self.channel = channel
        self.keep = keep
        self.entries: list[Entry] = []
        self._left_epoch: str | None = None
        self._begin(position)

    def _begin(self, position: Position) -> None:
        self.epoch = position.epoch
        self.last = position.offset
        self.first = position.offset + 1
        self.size = 0
        self._position: Position | None = position
        self._shared: list[Entry] = []
        self._shared_after = -1
        self._shared_bytes = 0

    def position(self) -> Position:
        """The position after the newest publication known."""
        if self._position is None:
            self._position = Position(self.epoch, self.last)
        return self._position

    def after(self, position: Position, limit: int, max_bytes: int) -> list[Entry] | Gap | None:
        """What comes after `position`: at most `limit` entries and `max_bytes` of data, but always one.

        Readers at the same position are given the same list, so that nobody must change it and whoever
        encodes may remember what it encoded.

        Returns:
        The entries, none if up to date; of a `latest` channel only the newest; of a `volatile` one those that
        are here. None if that is not wholly known here: then the bus must be asked. A `Gap` if it is known to
        be lost: the log that the position belongs to was replaced while we watched.
        """
        if position.epoch != self.epoch:
            return self._after_another_epoch(position, limit, max_bytes)
        offset = position.offset
        if offset >= self.last:
            return [] if offset == self.last or self.keep == "volatile" else None
        if offset == self._shared_after and len(self._shared) <= limit and self._shared_bytes <= max_bytes:
            return self._shared
        if self.keep == "history":
            index = offset + 1 - self.first
            return self._from(index, limit, max_bytes) if index >= 0 else None
        if self.keep == "latest":
            return self.entries[-1:] or None
        return self._from(bisect_right(self.entries, offset, key=_offset), limit, max_bytes)

    def _after_another_epoch(
        self, position: Position, limit: int, max_bytes: int
    ) -> list[Entry] | Gap | None:
        if self.keep == "volatile":
            return self._from(0, limit, max_bytes)
        if position.epoch != self._left_epoch:
            return None
        return Gap(self.position()) if self.keep == "history" else self.entries[-1:] or None

    def _from(self, index: int, limit: int, max_bytes: int) -> list[Entry]:
        taken: list[Entry] = []
        size = 0
        for entry in self.entries[index : index + limit]:
            size += len(entry.data)
            if taken and size > max_bytes:
                return taken
            taken.append(entry)
        if taken and taken[-1].offset == self.last:
            # Whole, not cut: the answer for all who stand where this one does.
            self._shared, self._shared_after, self._shared_bytes = taken, taken[0].offset - 1, size
        return taken

    # For the fanout, by way of its `Stock`, which keeps account of the bytes.

    def append(self, entry: Entry) -> None:
        if self.keep == "latest":
            self.entries.clear()
            self.size = 0
        if not self.entries:
            self.first = entry.offset
        self.entries.append(entry)
        self.last = entry.offset
        self.size += entry.size()
        self._position = None
        self._shared_after = -1

    def drop_oldest(self) -> None:
        entry = self.entries.pop(0)
        self.size -= entry.size()
        self.first = self.entries[0].offset if self.entries else self.last + 1
        self._shared_after = -1
        if not self.entries:
            self._shared = []

    def restart(self, position: Position) -> None:
        """Hold nothing, and go on from `position`, perhaps in another epoch."""
        if position.epoch != self.epoch:
            self._left_epoch = self.epoch
        self.entries.clear()
        self._begin(position)
