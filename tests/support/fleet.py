"""A fleet of processes in one: each with a fanout of its own, all on one memory bus and one clock that a test tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtbridge.bridge.sources import Sources
from rtbridge.bus.contract import Listener
from rtbridge.bus.memory import MemoryBus
from rtbridge.config import Limits
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.registry import Registry
from rtbridge.contract.sources import SourceDeclaration
from rtbridge.fanout import Fanout
from rtbridge.metrics import Metrics
from rtbridge.protocol.publications import Publication
from support.fakeloop import FakeLoop
from support.house import FakeSite


class Hub:
    """The one listener of the bus: tells every process that lives."""

    def __init__(self) -> None:
        self.listeners: dict[str, Listener] = {}

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        for listener in list(self.listeners.values()):
            listener.arrived(channel, epoch, *publications)

    def suspect(self, channel: str | None) -> None:
        for listener in list(self.listeners.values()):
            listener.suspect(channel)


class Connection:
    """A process's way to the bus. What one lets go, others may still watch."""

    blocking = False
    url = "memory://"

    def __init__(self, fleet: Fleet, name: str) -> None:
        self._fleet = fleet
        self._name = name

    def listen(self, listener: Listener) -> None:
        self._fleet.hub.listeners[self._name] = listener

    def unwatch(self, channel: str) -> None:
        """Somebody else may be watching."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fleet.bus, name)


class Process:
    """One of the fleet. `stopped`: it has its work still before it, as after SIGSTOP; `dead`: it has none."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet = fleet
        self.name = name
        self.loop = ProcessLoop(fleet.loop, self)
        self.dead = self.stopped = False
        self.metrics = Metrics()
        bus: Any = Connection(fleet, name)
        self.fanout = Fanout(bus, self.loop, fleet.limits, self.metrics)
        bus.listen(self.fanout)
        self.sources = Sources(
            fleet.sources, fleet.registry, bus, self.fanout, self.loop, fleet.limits, self.metrics, FakeSite
        )
        self.fanout.watching = self.sources.watched
        self.held: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def watch(self, channel: str) -> Reader:
        """Follow a channel, as a socket does."""
        return Reader(self, channel)

    def poll(self, channel: str) -> None:
        """Ask for a channel once, as a short poll does."""
        self.fanout.when_ready(channel, self.fleet.keep(channel), lambda tail: self.fanout.tail(channel))

    def kill(self) -> None:
        """SIGKILL."""
        self.dead = True
        self.fleet.hub.listeners.pop(self.name, None)
        self.held.clear()

    def go_on(self) -> None:
        """SIGCONT."""
        self.stopped = False
        held, self.held = self.held, []
        for function, arguments in held:
            self.fleet.loop.call_soon(function, *arguments)


class ProcessLoop:
    """A process's share of the one loop: nothing of it runs while the process is stopped, or once it is dead."""

    name = "fake"

    def __init__(self, loop: FakeLoop, process: Process) -> None:
        self._loop = loop
        self._process = process
        self.now, self.turn, self.close, self.mailbox = loop.now, loop.turn, loop.close, loop.mailbox
        self.watch = loop.watch

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self._loop.call_soon(self._guarded, callback, args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Any:
        return self._loop.call_later(delay, self._guarded, callback, args)

    def spawn(self, function: Callable[..., object], *args: object) -> None:
        self._loop.spawn(self._guarded, function, args)

    def _guarded(self, function: Callable[..., object], args: tuple[object, ...]) -> None:
        process = self._process
        if process.dead:
            return
        if process.stopped:
            process.held.append((function, args))
            return
        before, process.fleet.running = process.fleet.running, process
        try:
            function(*args)
        finally:
            process.fleet.running = before


class Reader:
    """Follows a channel, and keeps what the newest value was."""

    weight = 1

    def __init__(self, process: Process, channel: str) -> None:
        self.process = process
        self.channel = channel
        process.fanout.when_ready(channel, process.fleet.keep(channel), lambda tail: self._join())

    def _join(self) -> None:
        self.process.fanout.join(self.channel, self)

    def news(self, channel: str) -> None: ...

    def leave(self) -> None:
        self.process.fanout.leave(self.channel, self)


class Fleet:
    """The bus and the clock, and what is declared in every process."""

    def __init__(self, **limits: Any) -> None:
        self.limits = Limits(**limits)
        self.loop = FakeLoop()
        self.hub = Hub()
        self.bus = MemoryBus(self.limits, clock=self.loop.now)
        self.bus.listen(self.hub)
        self.registry = Registry()
        self.sources: dict[ChannelDeclaration, SourceDeclaration] = {}
        self.count = 0
        self.running: Process | None = None
        """Whose code runs now."""

    def stall(self, seconds: float) -> None:
        """Called by a process in the middle of its work: it is stopped for so long, while others go on."""
        process = self.running
        assert process is not None
        process.stopped = True
        self.loop.advance(seconds)
        process.go_on()

    def declare(self, pattern: str, function: Callable[..., object], every: float, **options: Any) -> None:
        declared = ChannelDeclaration(pattern, public=True, **{"keep": "latest", **options})
        self.registry.add_channel(declared)
        self.sources[declared] = SourceDeclaration(declared, function, every)

    def keep(self, channel: str) -> Any:
        found = self.registry.channel_for(channel)
        assert found is not None
        return found[0].keep

    def start(self) -> Process:
        """Another process."""
        self.count += 1
        return Process(self, f"process-{self.count}")

    def newest(self, channel: str) -> object:
        """The newest value that was published; None if there is none."""
        page = self.bus.read(channel, None, 1)
        publications = getattr(page, "publications", ())
        return publications[-1].value() if publications else None

    def published(self, channel: str) -> int:
        return self.bus.position(channel).offset

    def all_published(self, channel: str) -> list[object]:
        """All that the channel has kept."""
        page = self.bus.read(channel, None, 500)
        return [each.value() for each in getattr(page, "publications", ())]
