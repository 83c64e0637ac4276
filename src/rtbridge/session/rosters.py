"""What the bus keeps of presence: who holds which tabs. Everything here blocks, and works from anywhere.

Each *holder* (a process that has sessions) writes down its own tabs of a channel, in a lease of the channel's group,
whenever they change; its sign of life is one lease for all of them, renewed every few seconds. So the heartbeat costs
the same for one tab and for ten thousand, and where it stops all of the holder's tabs are gone.

A holder whose sign of life lapsed is *buried*: its lease is released, so that should it only have slept, its next sign
of life tells it that it was thought dead, and it goes on under another name. So nobody is ever both dead and alive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from rtbridge.bus.contract import Bus, History, Keep
from rtbridge.config import Limits
from rtbridge.protocol import data as canonical
from rtbridge.protocol.presence import Telling, parse_telling, presence_channel

_HOLDERS = "presence"
_ROSTER_TTL = 3_600.0
"""Seconds a holder's tabs are kept without being written again; its sign of life is what counts."""
REWRITE = _ROSTER_TTL / 3
"""Seconds after which a holder writes its tabs again though nothing changed."""


def presence_keep() -> Keep:
    """How much is kept of what holders tell. Whoever misses more gets a snapshot."""
    return History(200, ttl=3_600)


class Rosters:
    """Reads and writes them."""

    def __init__(self, bus: Bus, limits: Limits) -> None:
        self._bus = bus
        self._lease = limits.presence_lease

    def beat(self, holder: str) -> bool:
        """A sign of life. True for the first, and where the holder was buried meanwhile."""
        return self._bus.hold(_HOLDERS, holder, self._lease)

    def living(self) -> set[str]:
        """All holders that have given a sign of life."""
        return set(self._bus.held(_HOLDERS))

    def write(self, channel: str, telling: Telling) -> None:
        """Write down all of a holder's tabs; a telling of none removes them."""
        if not telling.all and not telling.count:
            self._bus.release(_group(channel), telling.holder)
            return
        data = canonical.encode(telling.to_value())
        self._bus.hold(_group(channel), telling.holder, _ROSTER_TTL, data)

    def tell(self, channel: str, telling: Telling, key: str | None = None) -> None:
        """Tell whoever follows the channel's presence."""
        data = canonical.encode(telling.to_value())
        self._bus.publish(presence_channel(channel), data, presence_keep(), key=key)

    def read(self, channel: str) -> list[Telling]:
        """All tabs of a channel, by holder. Finds the dead, and has them leave."""
        held = self._bus.held(_group(channel))
        if not held:
            return []
        dead = held.keys() - self.living()
        buried = {holder for holder in dead if self.bury(holder, [channel])}
        return [
            parse_telling(canonical.decode(value))
            for holder, value in sorted(held.items())
            if holder not in buried
        ]

    def bury(self, holder: str, channels: Iterable[str]) -> bool:
        """Take a holder for dead: end its tabs in these channels. False where it lives after all."""
        self._bus.release(_HOLDERS, holder, only_lapsed=True)
        if holder in self.living():
            return False
        for channel in channels:
            self.end(channel, holder)
        return True

    def end(self, channel: str, holder: str) -> None:
        """End all tabs of a holder in a channel, where it has some. Several may do so at once: it is told once."""
        if holder in self._bus.held(_group(channel)):
            self.tell(channel, Telling(holder, ended=True), key=f"ended:{holder}")
            self._bus.release(_group(channel), holder)


def snapshot_of(tellings: Iterable[Telling]) -> object:
    """The snapshot of a presence channel, as plain values."""
    return json.loads(canonical.encode([telling.to_value() for telling in tellings]))


def _group(channel: str) -> str:
    return f"presence:{channel}"
