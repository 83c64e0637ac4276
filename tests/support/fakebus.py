"""A bus over a bad link: the logs of `memory://`, but a test decides what its listener hears, and when.

It says that it blocks, so the fanout asks it outside the turn. Notifications wait in `link` until
`deliver()`; a test may remove, repeat or swap them there. `down` makes everything fail; `forget` and
`rewind` do what a bad failover does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rtbridge.bus import Keep, Listener
from rtbridge.bus.memory import MemoryBus
from rtbridge.config import Limits
from rtbridge.errors import BusUnavailable
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication


class FakeBus:
    blocking = True
    url = "fake://"

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.epochs = 0
        self.memory = MemoryBus(limits, clock, self._new_epoch)
        self.memory.listen(self)
        self.listener: Listener | None = None
        self.link: list[tuple[str, str, Publication]] = []
        self.down = False
        self.asked: list[tuple[Any, ...]] = []
        """Every method called from outside, with its arguments."""

    def _new_epoch(self) -> str:
        self.epochs += 1
        return f"e{self.epochs}"

    def listen(self, listener: Listener) -> None:
        self.listener = listener

    # What MemoryBus tells us.

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        self.link.extend((channel, epoch, publication) for publication in publications)

    def suspect(self, channel: str | None) -> None:
        raise AssertionError("memory:// misses nothing")

    # For tests.

    def deliver(self, index: int = 0, *, keep: bool = False) -> None:
        """Tell the listener of one notification; `keep` leaves it there to be told again."""
        notification = self.link[index] if keep else self.link.pop(index)
        assert self.listener is not None
        self.listener.arrived(*notification)

    def deliver_all(self) -> None:
        while self.link:
            self.deliver()

    def forget(self, channel: str) -> None:
        """The log is lost and begins anew; who watches it goes on watching."""
        log = self.memory._logs[channel]
        log.epoch, log.last = self._new_epoch(), 0
        log.entries.clear()

    def rewind(self, channel: str, count: int) -> None:
        """The newest `count` publications are lost: a replica that lagged took over, and nobody noticed."""
        log = self.memory._logs[channel]
        for _ in range(min(count, len(log.entries))):
            log.entries.pop()
            log.last -= 1

    # What the fanout asks.

    def _ask(self, name: str, *arguments: object) -> Any:
        self.asked.append((name, *arguments))
        if self.down:
            raise BusUnavailable("the fake bus is down")
        return getattr(self.memory, name)(*arguments)

    def publish(
        self, channel: str, data: bytes, keep: Keep, *, cause: str | None = None, key: str | None = None
    ) -> Position:
        return self.memory.publish(channel, data, keep, cause=cause, key=key)

    def read(self, channel: str, after: Position | None, limit: int) -> Page | Gap:
        found: Page | Gap = self._ask("read", channel, after, limit)
        return found

    def position(self, channel: str) -> Position:
        position: Position = self._ask("position", channel)
        return position

    def positions(self, channels: Sequence[str]) -> list[Position]:
        return [self.position(channel) for channel in channels]

    def watch(self, channel: str) -> None:
        self._ask("watch", channel)

    def unwatch(self, channel: str) -> None:
        self._ask("unwatch", channel)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.memory, name)  # records and leases
