"""Snapshots of a process: made by the application's functions, a few at a time, and shared by all who ask at once.

A *flight* is one making of one channel's snapshot. First it pins the position, as this process knows it, then the
function runs, outside the turn. Who asks for the same meanwhile gets the same, and so does who asks within
`limits.snapshot_reuse` seconds after it: what was published since follows from the log. So a channel costs its
database at most a query a second for each process, however many clients come at once.

Where a log was lost, everybody has the same gap in the same moment; then flights begin spread over
`limits.gap_jitter` seconds.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from rtbridge.config import Limits
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.context import Context
from rtbridge.contract.snapshots import SnapshotDeclaration, shared_context
from rtbridge.errors import BusError, ProtocolError
from rtbridge.fanout import Fanout, Tail
from rtbridge.fanout.asking import Asker
from rtbridge.frameworks import Framework
from rtbridge.metrics import Metrics
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.positions import Position
from rtbridge.runtime import Loop, Timer
from rtbridge.session.access import Identity
from rtbridge.session.outlet import Wire

_log = logging.getLogger("rtbridge")
_Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Wish:
    """A snapshot that somebody would like.

    Attributes:
        who: for whom it is made, where it is made for each user; else None.
        context: what the function is given.
    """

    channel: str
    declaration: SnapshotDeclaration
    params: Mapping[str, object]
    who: str | None
    context: Callable[[], Context]


@dataclass(slots=True, eq=False)
class Flight:
    """One making of a snapshot; over when `data` or `error` is there.

    Attributes:
        position: pinned when it began.
        data: the state, canonical JSON.
        error: why there is none.
    """

    channel: str
    position: Position | None = None
    data: bytes | None = None
    error: ProtocolError | None = None
    waiting: list[Callable[[Flight], object]] = field(default_factory=list)
    timer: Timer | None = None
    forms: dict[tuple[str, bool], bytes] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return self.data is not None or self.error is not None

    def push(self, wire: Wire, gap: bool) -> bytes:
        """The push with this snapshot, encoded once for each wire."""
        made = self.forms.get((wire.name, gap))
        if made is None:
            assert self.position is not None and self.data is not None
            push = m.SnapshotPush(self.channel, self.position, self.data, False if gap else None)
            made = self.forms[wire.name, gap] = wire.wrap(wire.codec.encode(push))
        return made


def wish_for(
    channel: str,
    declaration: ChannelDeclaration,
    params: Mapping[str, object],
    identity: Identity | None,
    context: Callable[[], Context],
) -> Wish | None:
    """What there is to ask for in a channel; None if it has no snapshot.

    Args:
        identity: who asks; None for a public channel, which asks nobody.
        context: makes the `ctx` of who asks.
    """
    declared = declaration.snapshot_taken
    if declared is None:
        return None
    if declared.per_user and identity is not None:
        who = f"client:{identity.client_id}" if identity.user_id is None else f"user:{identity.user_id}"
        return Wish(channel, declared, params, who, context)
    return Wish(channel, declared, params, None, partial(shared_context, declared.what))


class Snapshots:
    """The flights of a process. In the turn, but for `_make`.

    Counts `snapshots`, `snapshot_failures` and, of those who asked, `snapshots_shared`.
    """

    def __init__(
        self,
        fanout: Fanout,
        loop: Loop,
        limits: Limits,
        metrics: Metrics,
        framework: Callable[[], Framework],
    ) -> None:
        self._fanout = fanout
        self._loop = loop
        self._limits = limits
        self._metrics = metrics
        self._framework = framework
        self._asker = Asker(loop, True, max(1, limits.snapshot_workers))
        self._flights: dict[_Key, Flight] = {}

    def ask(self, wish: Wish, then: Callable[[Flight], object], *, spread: bool = False) -> None:
        """Call `then` in the turn with a flight that is over: at once where there is a fresh one.

        The channel's tail must be here.

        Args:
            spread: everybody is asking now.
        """
        key = (wish.channel, wish.who)
        flight = self._flights.get(key)
        tail = self._fanout.tail(wish.channel)
        if flight is not None and tail is not None and _serves(flight, tail):
            self._metrics.add("snapshots_shared")
            if flight.over:
                then(flight)
                return
            flight.waiting.append(then)
            if flight.timer is not None and not spread:
                self._begin(key, flight, wish)  # somebody has no reason to wait
            return
        flight = self._flights[key] = Flight(wish.channel)
        flight.waiting.append(then)
        if spread:
            pause = random.uniform(0.0, self._limits.gap_jitter)
            flight.timer = self._loop.call_later(pause, self._begin, key, flight, wish)
        else:
            self._begin(key, flight, wish)

    def fetch_after(self, everybodys: bool) -> float | None:
        """Seconds that a client should wait before it fetches its state by itself; None if it has the gap alone."""
        return round(random.uniform(0.0, self._limits.gap_jitter), 1) if everybodys else None

    def _begin(self, key: _Key, flight: Flight, wish: Wish) -> None:
        if flight.timer is not None:
            flight.timer.cancel()
            flight.timer = None
        self._asker.ask(partial(self._make, flight, wish), lambda error: self._landed(key, flight, error))

    def _make(self, flight: Flight, wish: Wish) -> ProtocolError | None:
        """Outside the turn: pin the position, then take the snapshot. What went wrong, if anything did."""
        with self._loop.turn():
            tail = self._fanout.tail(wish.channel)
            if tail is None:
                message = f"channel {wish.channel!r} was let go meanwhile; ask again"
                return ProtocolError(ErrorCode.UNAVAILABLE, message)
            flight.position = tail.position()
        failed = ProtocolError(
            ErrorCode.FAILED, f"the snapshot of {wish.channel!r} failed; the server's log says why"
        )
        try:
            context = wish.context()
            with self._framework().around(context.environ):
                data = wish.declaration.take(context, wish.params)
        except Exception:
            _log.exception("%s failed for %r", wish.declaration.what, wish.channel)
            return failed
        if len(data) > self._limits.max_snapshot:
            _log.error(
                "the snapshot of %r has %d bytes, over limits.max_snapshot = %d; let it say less",
                wish.channel, len(data), self._limits.max_snapshot,
            )  # fmt: skip
            return failed
        flight.data = data
        return None

    def _landed(self, key: _Key, flight: Flight, error: ProtocolError | BusError | None) -> None:
        if isinstance(error, BusError):  # whoever made it was killed
            error = ProtocolError(
                ErrorCode.UNAVAILABLE, f"the snapshot of {flight.channel!r} was interrupted"
            )
        flight.error = error
        self._metrics.add("snapshots" if error is None else "snapshot_failures")
        self._loop.call_later(self._limits.snapshot_reuse, self._forget, key, flight)
        waiting, flight.waiting = flight.waiting, []
        for then in waiting:
            try:
                then(flight)
            except Exception:
                _log.exception("a reader of %s failed", flight.channel)

    def _forget(self, key: _Key, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _serves(flight: Flight, tail: Tail) -> bool:
    """Whether what followed the flight's position can still be had from there on."""
    position = flight.position
    if flight.error is not None or position is None:
        return True  # a failure is everybody's; what has not begun yet will pin its position
    if tail.keep == "volatile" and flight.over:
        return position == tail.position()
    return position.epoch == tail.epoch and position.offset <= tail.last
