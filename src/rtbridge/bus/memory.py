"""The embedded bus, `memory://`: everything in this process, for sites that are served by one.

One native lock guards it all; each method holds it for a moment and never while it calls the listener. What
is to be told waits in one outbox, in the order in which it happened, and one thread at a time empties it:
so two threads that publish at once cannot swap their publications on the way.

No thread cleans up. Every use sweeps a little of what has expired, more than it adds. In the child of a
fork the bus is empty: were it not, parent and child would give the same positions to different
publications.
"""

from __future__ import annotations

import heapq
import logging
import math
import os
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from rtbridge.bus.contract import Keep, Kind, Listener, ToPublish, new_epoch
from rtbridge.bus.expiring import Expiring
from rtbridge.bus.memory_leases import MemoryLeases
from rtbridge.config import Limits
from rtbridge.errors import BusError
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication
from rtbridge.runtime.native import native_lock

logger = logging.getLogger("rtbridge")
SWEEP = 3
"""Expired things of each sort that one use clears away; each use adds at most one."""


class _Log:
    """One channel. `entries` are its history, oldest first, each with the time when it may go.

    In a history the offsets of the entries have no holes and end at `last`: what comes after a position is
    found by counting.
    """

    __slots__ = ("aging", "entries", "epoch", "kind", "last", "used", "watched")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.last = 0
        self.kind: Kind = "history"
        self.entries: deque[tuple[float, Publication]] = deque()
        self.used = 0.0
        self.watched = False
        self.aging = False  # whether it has a place in the bus's heap of histories that age

    def position(self) -> Position:
        return Position(self.epoch, self.last)

    def append(self, publication: Publication, keep: Keep, now: float) -> None:
        if keep.kind != self.kind:
            self.entries.clear()  # of another kind, perhaps with holes
            self.kind = keep.kind
        if keep.size:
            self.entries.append((now + keep.ttl, publication))
        while len(self.entries) > keep.size:
            self.entries.popleft()
        self.last = publication.offset

    def age(self, now: float) -> None:
        """Forget what is too old, oldest first."""
        while self.entries and self.entries[0][0] <= now:
            self.entries.popleft()

    def newest(self, limit: int, max_bytes: int) -> Page:
        taken = _cut((publication for _, publication in reversed(self.entries)), limit, max_bytes)
        return Page(self.position(), tuple(reversed(taken)))

    def after(self, position: Position, limit: int, max_bytes: int) -> Page | Gap:
        if self.kind != "history":
            kept = tuple(publication for _, publication in self.entries)  # the newest one, or none
            return Page(self.position(), kept if position != self.position() else ())
        missing = self.last - position.offset
        if position.epoch != self.epoch or not 0 <= missing <= len(self.entries):
            return Gap(self.position())
        start = len(self.entries) - missing
        taken = _cut((publication for _, publication in islice(self.entries, start, None)), limit, max_bytes)
        return Page(Position(self.epoch, position.offset + len(taken)), tuple(taken), len(taken) < missing)


def _cut(publications: Iterable[Publication], limit: int, max_bytes: int) -> list[Publication]:
    """Take from the front, at most so many and so large together, but one in any case."""
    taken: list[Publication] = []
    size = 0
    for publication in publications:
        size += len(publication.data)
        if len(taken) >= limit or (taken and size > max_bytes):
            break
        taken.append(publication)
    return taken


class MemoryBus:
    """See `Bus`. Do not call it from signal handlers or finalizers: its lock is not reentrant.

    Args:
        limits: how much to remember, and for how long.
        clock: monotonic seconds.
        new_epoch: makes the random id of a log.
    """

    blocking = False
    url = "memory://"

    def __init__(
        self,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        new_epoch: Callable[[], str] = new_epoch,
    ) -> None:
        self._limits = limits or Limits()
        self._clock = clock
        self._new_epoch = new_epoch
        self._listener: Listener | None = None
        self._closed = False
        self._begin()
        if hasattr(os, "register_at_fork"):
            begin = weakref.WeakMethod(self._begin)
            os.register_at_fork(after_in_child=lambda: (method := begin()) and method())

    def _begin(self) -> None:
        self._lock = native_lock()
        self._logs: dict[str, _Log] = {}
        self._idle: OrderedDict[str, _Log] = OrderedDict()  # those not watched, longest unused first
        self._aging: list[tuple[float, int, _Log]] = []
        self._aged = 0
        self._keys: Expiring[tuple[str, str], Position] = Expiring()
        self._records: Expiring[str, bytes] = Expiring()
        self._leases = MemoryLeases()
        self._outbox: deque[tuple[str, str, Publication]] = deque()
        self._delivering = False

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._logs.clear()
            self._idle.clear()
            self._aging.clear()

    # Logs.

    def publish(
        self,
        channel: str,
        data: bytes,
        keep: Keep,
        *,
        cause: str | None = None,
        key: str | None = None,
    ) -> Position:
        with self._lock:
            now = self._enter()
            if key is not None and (first := self._keys.get((channel, key), now)) is not None:
                return first
            log = self._log(channel, now)
            publication = Publication(log.last + 1, data, cause)
            log.append(publication, keep, now)
            log.age(now)
            self._let_age(log)
            position = log.position()
            if key is not None:
                self._keys.put((channel, key), position, now + self._limits.idempotency_ttl)
            if log.watched:
                self._outbox.append((channel, log.epoch, publication))
        if self._outbox:
            self._deliver()
        return position

    def publish_many(self, publications: Sequence[ToPublish]) -> list[Position]:
        return [self.publish(p.channel, p.data, p.keep, cause=p.cause, key=p.key) for p in publications]

    def read(self, channel: str, after: Position | None, limit: int) -> Page | Gap:
        with self._lock:
            now = self._enter()
            log = self._log(channel, now)
            log.age(now)
            limit = min(limit, self._limits.page_publications)
            if after is None:
                return log.newest(limit, self._limits.page_bytes)
            return log.after(after, limit, self._limits.page_bytes)

    def position(self, channel: str) -> Position:
        with self._lock:
            return self._log(channel, self._enter()).position()

    def positions(self, channels: Sequence[str]) -> list[Position]:
        return [self.position(channel) for channel in channels]

    def watch(self, channel: str) -> None:
        with self._lock:
            self._log(channel, self._enter()).watched = True
            self._idle.pop(channel, None)

    def unwatch(self, channel: str) -> None:
        with self._lock:
            self._enter()
            log = self._logs.get(channel)
            if log is not None:
                log.watched = False
                self._idle[channel] = log

    def _enter(self) -> float:
        """Every method's first step, with the lock held: the time, and a little cleaning."""
        if self._closed:
            raise BusError("this bus was closed; make a new one")
        now = self._clock()
        self._keys.sweep(now, SWEEP)
        self._records.sweep(now, SWEEP)
        self._leases.sweep(now, SWEEP)
        self._sweep_histories(now)
        self._sweep_logs(now)
        return now

    def _log(self, channel: str, now: float) -> _Log:
        """The channel's log, made where there is none; it counts as used."""
        log = self._logs.get(channel)
        if log is None or (not log.watched and log.used + self._limits.position_ttl <= now):
            log = self._logs[channel] = self._idle[channel] = _Log(self._new_epoch())
        log.used = now
        if not log.watched:
            self._idle.move_to_end(channel)
        return log

    def _let_age(self, log: _Log) -> None:
        if log.entries and not log.aging and log.entries[0][0] != math.inf:
            log.aging = True
            self._aged += 1
            heapq.heappush(self._aging, (log.entries[0][0], self._aged, log))

    def _sweep_histories(self, now: float) -> None:
        for _ in range(SWEEP):
            if not self._aging or self._aging[0][0] > now:
                return
            log = heapq.heappop(self._aging)[2]
            log.aging = False
            log.age(now)
            self._let_age(log)

    def _sweep_logs(self, now: float) -> None:
        """Forget logs that were used too long ago, or are too many; who comes back to one is told of a gap.

        The watched ones do not count: else, were they many, a log could not live from a position to its watch.
        """
        for _ in range(SWEEP):
            if not self._idle:
                return
            channel, log = next(iter(self._idle.items()))
            if log.used + self._limits.position_ttl > now and len(self._idle) <= self._limits.memory_channels:
                return
            del self._idle[channel], self._logs[channel]
            log.entries.clear()  # its place in the heap may outlive it

    def _deliver(self) -> None:
        """Empty the outbox, unless another thread is at it: that one then tells ours too."""
        while self._outbox:
            with self._lock:
                if self._delivering:
                    return
                self._delivering = True
            try:
                self._tell()
            finally:
                self._delivering = False

    def _tell(self) -> None:
        while self._outbox:
            listener = self._listener
            if listener is not None:
                try:
                    listener.arrived(*self._outbox[0])
                except Exception:
                    logger.exception("The listener of memory:// failed")
            # Only now: were we stopped in between, it would be told twice, which listeners bear, and not never.
            self._outbox.popleft()

    # Records.

    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        with self._lock:
            now = self._enter()
            existing = self._records.get(key, now)
            if existing is None:
                self._records.put(key, value, now + ttl)
            return existing

    def put(self, key: str, value: bytes, ttl: float) -> None:
        with self._lock:
            now = self._enter()
            self._records.put(key, value, now + ttl)

    def get(self, key: str) -> bytes | None:
        with self._lock:
            return self._records.get(key, self._enter())

    def replace(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        with self._lock:
            now = self._enter()
            if self._records.get(key, now) != expected:
                return False
            self._records.put(key, value, now + ttl)
            return True

    def delete(self, key: str) -> None:
        with self._lock:
            self._enter()
            self._records.drop(key)

    # Leases.

    def hold(self, group: str, name: str, ttl: float, value: bytes = b"") -> bool:
        with self._lock:
            return self._leases.hold(group, name, ttl, value, self._enter())

    def release(self, group: str, name: str, *, only_lapsed: bool = False) -> bool:
        with self._lock:
            return self._leases.release(group, name, only_lapsed, self._enter())

    def held(self, group: str) -> dict[str, bytes]:
        with self._lock:
            return self._leases.held(group, self._enter())

    def lapsed(self, group: str, retry_in: float, limit: int) -> dict[str, bytes]:
        with self._lock:
            return self._leases.lapsed(group, retry_in, limit, self._enter())
