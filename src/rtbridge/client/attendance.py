"""Who is on a channel, as seen by this client: a feed of changes, put together from what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from rtbridge.client.errors import FeedClosed
from rtbridge.client.feed import Feed, Gap, Snapshot
from rtbridge.protocol.presence import Person, Roster, parse_snapshot, parse_telling


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody joined, changed or left.

    Attributes:
        people: everybody who is named, after it.
        joined: those who were not there before.
        left: those who are no longer there.
        count: how many there are; more than `people` where some are only counted.
    """

    people: tuple[Person, ...]
    joined: tuple[Person, ...]
    left: tuple[Person, ...]
    count: int


class Attendance:
    """Iterate over it, or `get` changes one by one, as with a `Feed`; in one thread at a time. The first change is
    everybody who is there already."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._roster = Roster()
        self._people: dict[str, Person] = {}

    def get(self, timeout: float | None = None) -> Change:
        """The next change, waiting for it. Raises what `Feed.get` raises."""
        while True:
            item = self.feed.get(timeout)
            if isinstance(item, Snapshot):
                self._roster = Roster(parse_snapshot(item.data))
            elif isinstance(item, Gap):
                continue  # a snapshot takes its place
            else:
                self._roster.apply(parse_telling(item.data))
            return self._change()

    def _change(self) -> Change:
        before, now = self._people, self._roster.people()
        self._people = now
        return Change(
            tuple(now.values()),
            tuple(person for key, person in now.items() if key not in before),
            tuple(person for key, person in before.items() if key not in now),
            self._roster.count,
        )

    def __iter__(self) -> Attendance:
        return self

    def __next__(self) -> Change:
        try:
            return self.get()
        except FeedClosed:
            raise StopIteration from None

    def close(self) -> None:
        """Follow it no more."""
        self.feed.close()

    def __enter__(self) -> Attendance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
