"""A newer socket or stream of one page load closes the older one, on whichever worker that is.

Inside a process `Services.newest` sees to it. Between processes, who comes back with a token says so in a channel that
keeps nothing: a page that had no connection before has none that could be closed. Where two come at once on two
workers, each hears of the other, and the times of both say which one goes.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from rtbridge.bus.contract import VOLATILE, new_epoch
from rtbridge.errors import BusError
from rtbridge.fanout import Tail
from rtbridge.protocol.codes import DisconnectCode
from rtbridge.protocol.positions import Position
from rtbridge.protocol.private import RESERVED
from rtbridge.protocol.publications import Gap

if TYPE_CHECKING:
    from rtbridge.session.services import Services
    from rtbridge.session.session import Session

CHANNEL = RESERVED + "takeover"
_RETRY = 1.0  # seconds
_log = logging.getLogger("rtbridge")


class Takeovers:
    """One for each process; does nothing where there is only one. In the turn."""

    weight = 1
    """(For the fanout.)"""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._worker = new_epoch()
        self._seen: Position | None = None

    def start(self) -> None:
        """Hear of takeovers elsewhere, from now on."""
        if self._services.bus.blocking:
            self._services.fanout.when_ready(CHANNEL, VOLATILE, self._ready)

    def claim(self, session: Session, resumed: bool) -> None:
        """This is the newest connection of its page now."""
        services = self._services
        key = (session.known_identity.client_id, session.instance)
        older = services.newest.get(key)
        services.newest[key] = session
        if older is not None and older is not session:
            _replace(older)
        if services.bus.blocking:
            session.since = services.access.wall()
            if resumed:
                data = json.dumps([*key, session.since, self._worker]).encode()
                services.loop.spawn(self._tell, data)

    def _tell(self, data: bytes) -> None:
        """Outside the turn."""
        try:
            self._services.bus.publish(CHANNEL, data, VOLATILE)
        except BusError as error:
            _log.debug("a takeover could not be told: %s", error)  # the older one will find no pong

    def _ready(self, tail: Tail | BusError) -> None:
        if isinstance(tail, BusError):
            self._services.loop.call_later(_RETRY, self.start)
            return
        self._seen = tail.position()
        self._services.fanout.join(CHANNEL, self)

    def news(self, channel: str) -> None:
        """(Fanout's callback.)"""
        tail = self._services.fanout.tail(CHANNEL)
        if tail is None or self._seen is None:
            return
        found = tail.after(self._seen, 1 << 30, 1 << 60)
        self._seen = tail.position()
        if found is None or isinstance(found, Gap):
            return
        for entry in found:
            client_id, instance, since, worker = json.loads(entry.data)
            session = self._services.newest.get((client_id, instance))
            if session is not None and worker != self._worker and session.since < since:
                _replace(session)


def _replace(session: Session) -> None:
    session.disconnect(DisconnectCode.REPLACED, "a newer connection of this page took over")
