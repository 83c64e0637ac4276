"""`session_started` and `session_ended`: each at least once, by lease.

A session outlives its connections, so no close of a socket ends it. While some connection lives, or polls
keep coming, a lease on the bus is renewed; when it lapses, whichever worker notices first runs the hooks,
also for sessions of a worker that died. Nothing is leased unless the application declared a hook.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from rtbridge.bus.contract import Bus
from rtbridge.config import Limits
from rtbridge.contract.context import Context
from rtbridge.errors import BusError
from rtbridge.frameworks import Framework
from rtbridge.runtime import Loop

_log = logging.getLogger("rtbridge")
_GROUP = "sessions"
_BATCH = 100


class SessionHooks:
    """The application's session hooks and the leases behind them."""

    def __init__(self, bus: Bus, loop: Loop, limits: Limits, framework: Callable[[], Framework]) -> None:
        self.started: list[Callable[[Context], object]] = []
        self.ended: list[Callable[[Context], object]] = []
        self._bus = bus
        self._loop = loop
        self._limits = limits
        self._framework = framework
        self._attached: dict[str, tuple[int, bytes]] = {}
        self._ticking = False

    @property
    def active(self) -> bool:
        return bool(self.started or self.ended)

    @property
    def _ttl(self) -> float:
        # A poll is parked up to poll_wait and comes again after poll_interval; a socket is renewed every
        # ping_interval.
        limits = self._limits
        return limits.session_grace + max(limits.poll_wait + limits.poll_interval, limits.ping_interval)

    def attach(self, context: Context, framework: Framework) -> None:
        """A connection or poll of this session is being let in; runs `session_started` for a new one. Blocks."""
        if not self.active:
            return
        new = self._bus.hold(_GROUP, context.client_id, self._ttl, _about(context.user_id))
        with self._loop.turn():
            self._start_ticking()
        if new:
            self._run(self.started, context, framework)

    def attached(self, client_id: str, user_id: str | None) -> None:
        """It was let in, and did not leave meanwhile: renew its lease until `detach`. In the turn."""
        if self.active:
            count, _ = self._attached.get(client_id, (0, b""))
            self._attached[client_id] = (count + 1, _about(user_id))

    def detach(self, client_id: str) -> None:
        """A connection of this session is gone; the session itself may go on. In the turn."""
        count, about = self._attached.get(client_id, (0, b""))
        if count > 1:
            self._attached[client_id] = (count - 1, about)
        else:
            self._attached.pop(client_id, None)

    def finish(self, context: Context, framework: Framework) -> None:
        """The session said bye: end it now. Blocks."""
        if self._bus.release(_GROUP, context.client_id):
            self._run(self.ended, context, framework)

    def _start_ticking(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._tick()

    def _tick(self) -> None:
        self._loop.call_later(self._limits.session_grace / 3, self._tick)
        self._loop.spawn(self._round, dict(self._attached))

    def _round(self, attached: dict[str, tuple[int, bytes]]) -> None:
        try:
            for client_id, (_, about) in attached.items():
                self._bus.hold(_GROUP, client_id, self._ttl, about)
            for client_id, about in self._bus.lapsed(_GROUP, self._limits.session_grace, _BATCH).items():
                user_id = json.loads(about or b"{}").get("user_id")
                context = Context(
                    client_id=client_id, user_id=user_id, environ={}, transport="", load_user=lambda: None
                )
                self._run(self.ended, context, self._framework())
                self._bus.release(_GROUP, client_id, only_lapsed=True)
        except BusError as error:
            _log.warning("session leases could not be renewed: %s", error)

    def _run(
        self, functions: list[Callable[[Context], object]], context: Context, framework: Framework
    ) -> None:
        for function in functions:
            try:
                with framework.around(context.environ):
                    function(context)
            except Exception:
                _log.exception("session hook %r failed", function, extra={"client_id": context.client_id})


def _about(user_id: str | None) -> bytes:
    return json.dumps({"user_id": user_id}).encode()
