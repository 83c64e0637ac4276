"""Several processes on one embedded bus, each a `House` of its own, all on one clock that the test tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtbridge.bus.memory import MemoryBus
from rtbridge.config import Limits
from rtbridge.errors import BusUnavailable
from rtbridge.protocol.publications import Publication
from support.fakeloop import FakeLoop
from support.house import House


class Cluster:
    """`worker()` starts one more process. `set_up(house)` declares what they all serve."""

    def __init__(
        self, limits: Limits | None = None, set_up: Callable[[House], object] = lambda house: None
    ) -> None:
        self.limits = limits or Limits()
        self.loop = FakeLoop()
        self.bus = MemoryBus(self.limits, clock=self.loop.now)
        self.bus.listen(self)
        self.links: list[Link] = []
        self._set_up = set_up

    def worker(self) -> House:
        link = Link(self)
        self.links.append(link)
        house = House(self.limits, loop=self.loop, bus=link)
        self._set_up(house)
        return house

    def kill(self, house: House) -> None:
        """SIGKILL: it says nothing any more, and hears nothing."""
        house.bus.cut = True
        house.bus.watched.clear()

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass, in small steps."""
        while seconds > 0:
            self.loop.advance(min(seconds, 0.25))
            seconds -= 0.25
        self.loop.run()

    # As the listener of the bus.

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        for link in self.links:
            if channel in link.watched:
                link.listener.arrived(channel, epoch, *publications)

    def suspect(self, channel: str | None) -> None:
        for link in self.links:
            link.listener.suspect(channel)


class Link:
    """One process's view of the bus; `cut` it off, and everything fails."""

    url = "memory://"

    def __init__(self, cluster: Cluster, blocking: bool = False) -> None:
        self._bus = cluster.bus
        self.blocking = blocking
        self.cut = False
        self.watched: set[str] = set()
        self.listener: Any = None

    def listen(self, listener: Any) -> None:
        self.listener = listener

    def watch(self, channel: str) -> None:
        self._call("watch")(channel)
        self.watched.add(channel)

    def unwatch(self, channel: str) -> None:
        self.watched.discard(channel)

    def __getattr__(self, name: str) -> Any:
        return self._call(name)

    def _call(self, name: str) -> Any:
        method = getattr(self._bus, name)

        def call(*args: Any, **options: Any) -> Any:
            if self.cut:
                raise BusUnavailable("out of reach")
            return method(*args, **options)

        return call
