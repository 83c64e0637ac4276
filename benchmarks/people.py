"""What people cost: bytes and CPU for each client with its private channels, and for each presence entry.

    python -m benchmarks.people            10,000 clients
    python -m benchmarks.people 1000       so many

In one process, without sockets: the sessions are real, their connections do nothing. The bus is the embedded one,
behind a counter of its calls: what it is asked for is what a bus over the network would be asked for, too.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from rtbridge import Bridge, Limits
from rtbridge.bus.contract import Bus
from rtbridge.bus.memory import MemoryBus
from rtbridge.contract.tokens import Tokens
from rtbridge.fanout import Fanout
from rtbridge.metrics import Metrics
from rtbridge.protocol.codecs import JSON
from rtbridge.runtime.loop import Loop
from rtbridge.runtime.timers import HeapTimer, Timers
from rtbridge.session.access import Access
from rtbridge.session.calls import CallRunner
from rtbridge.session.hooks import SessionHooks
from rtbridge.session.outlet import Wire
from rtbridge.session.services import Services
from rtbridge.session.session import Session

from .harness import Table

WIRE = Wire("bench/json", JSON, lambda message: message)
ENVIRON: dict[str, Any] = {"rtbridge.offers": ("websocket",)}


class Counted:
    """A bus, and how often each of its methods was called."""

    def __init__(self, bus: MemoryBus) -> None:
        self.calls: Counter[str] = Counter()
        self.blocking = False
        self._bus = bus

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._bus, name)
        if not callable(method):
            return method

        def call(*args: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return method(*args, **options)

        return call


class Clock:
    """A loop whose time a measurement tells; jobs run with the calls. See `rtbridge.runtime.Loop`."""

    name = "benchmark"

    def __init__(self) -> None:
        self.time = 1000.0
        self.calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self.timers = Timers()

    def now(self) -> float:
        return self.time

    def turn(self) -> AbstractContextManager[object]:
        return nullcontext()

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self.calls.append((callback, args))

    spawn = call_soon

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> HeapTimer:
        return self.timers.add(self.time + delay, callback, args)

    def run(self) -> None:
        while self.calls:
            callback, args = self.calls.popleft()
            callback(*args)

    def pass_time(self, seconds: float) -> None:
        end = self.time + seconds
        while (when := self.timers.next()) is not None and when <= end:
            self.time = when
            for callback, args in self.timers.due(self.time):
                callback(*args)
            self.run()
        self.time = end
        self.run()


class Outlet:
    """A connection that takes everything and does nothing with it."""

    transport = "websocket"
    wire = WIRE
    __slots__ = ("loop", "session", "taken")

    def __init__(self, loop: Clock) -> None:
        self.loop = loop
        self.session: Session | None = None
        self.taken = 0

    def due(self) -> None:
        self.loop.call_soon(self._take)

    def _take(self) -> None:
        assert self.session is not None
        self.taken += len(self.session.collect(65_536))

    def run(self, job: Callable[[], None]) -> None:
        self.loop.call_soon(job)

    def finish(self, code: int, message: str, retry_after: float | None) -> None:
        raise AssertionError(message)


class House:
    """The inside of a bridge, and clients of it."""

    def __init__(self, limits: Limits) -> None:
        self.loop = Clock()
        self.bridge = Bridge(
            limits=limits, secret="not much of a secret", authenticate=lambda environ: environ["USER"]
        )
        self.bus = Counted(MemoryBus(limits, self.loop.now))
        self.bridge._bus = cast(Bus, self.bus)
        self.bridge.channel("room", public=True, presence=True)
        metrics = Metrics()
        loop = cast(Loop, self.loop)
        fanout = Fanout(cast(Bus, self.bus), loop, limits, metrics)
        self.bus.listen(fanout)
        tokens = Tokens(["not much of a secret"], limits.token_ttl, time.time)
        access = Access(self.bridge.framework, lambda environ: environ["USER"], tokens, limits, time.time)
        hooks = SessionHooks(cast(Bus, self.bus), loop, limits, lambda: self.bridge.framework)
        calls = CallRunner(cast(Bus, self.bus), loop, limits, metrics)
        self.services = Services(
            self.bridge.registry, access, cast(Bus, self.bus), fanout, loop, calls, hooks, limits, metrics
        )
        self.sessions: list[Session] = []

    def come(self, count: int) -> None:
        for number in range(count):
            outlet = Outlet(self.loop)
            session = Session(self.services, cast(Any, outlet), {**ENVIRON, "USER": f"user-{number}"})
            outlet.session = session
            session.receive([{"type": "hello", "id": 1, "version": 1, "instance": f"instance-{number}"}])
            self.sessions.append(session)
            self.loop.run()

    def say(self, command: dict[str, object]) -> None:
        for session in self.sessions:
            session.receive([command])
            self.loop.run()


def size_of(what: Callable[[], object]) -> int:
    """Bytes that stay."""
    gc.collect()
    tracemalloc.start()
    what()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size


def seconds(what: Callable[[], object]) -> float:
    began = time.process_time()
    what()
    return time.process_time() - began


def main(count: int) -> None:
    table = Table(f"People: {count:,} clients of one process", ["", "of the bus"])
    limits = Limits(presence_named=max(200, count))
    house = House(limits)
    house.come(count)
    house.bus.calls.clear()

    size = size_of(lambda: house.say({"type": "subscribe", "id": 2, "channel": "~me"}))
    table.add("a client with two private channels", f"{size / count:,.0f} B", _calls(house, "watch", "read"))
    house.bus.calls.clear()
    idle = seconds(lambda: house.loop.pass_time(60))
    table.add("a minute in which nobody writes, all of them", f"{idle * 1e3:.1f} ms", _calls(house))

    fresh = House(limits)
    fresh.come(count)
    took = seconds(lambda: fresh.say({"type": "subscribe", "id": 2, "channel": "~me"}))
    table.add("to subscribe to them", f"{took / count * 1e6:.1f} us", "")

    house.bus.calls.clear()
    users = [house.bridge.user(f"user-{number}") for number in range(0, count, max(1, count // 1000))]

    def write() -> None:
        for user in users:
            user.publish({"unread": 3})
            house.loop.run()

    took = seconds(write)
    table.add("a letter to one of them", f"{took / len(users) * 1e6:.1f} us", _calls(house, per=len(users)))

    house.bus.calls.clear()
    size = size_of(
        lambda: (house.say({"type": "subscribe", "id": 3, "channel": "room"}), house.loop.pass_time(2.0))
    )
    table.add("a tab on a channel with presence, subscription included", f"{size / count:,.0f} B", "")
    house.bus.calls.clear()
    beat = seconds(lambda: house.loop.pass_time(60))
    table.add("a minute of heartbeats, all tabs", f"{beat * 1e3:.1f} ms", _calls(house))
    other = House(limits)
    other.come(count)
    plain = size_of(lambda: other.say({"type": "subscribe", "id": 3, "channel": "~presence/room"}))
    table.note = f"A subscription without presence: {plain / count:,.0f} B of it."
    print(table.text())


def _calls(house: House, *only: str, per: int = 1) -> str:
    found = {name: number for name, number in house.bus.calls.items() if not only or name in only}
    return ", ".join(f"{number / per:g} {name}" for name, number in sorted(found.items())) or "none"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
