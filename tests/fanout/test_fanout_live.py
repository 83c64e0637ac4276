"""The fanout over memory:// in real loops, with publishers in real threads and readers that come and go."""

from __future__ import annotations

import pytest

from contracts.loop_contract import SOON, native_thread
from rtbridge.bus import History
from rtbridge.bus.memory import MemoryBus
from rtbridge.config import Limits
from rtbridge.errors import BusError
from rtbridge.fanout import Fanout, Tail
from rtbridge.metrics import Metrics
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page
from rtbridge.runtime import Loop, Mailbox, ThreadLoop

EACH, PUBLISHERS = 500, 4
KEEP = History(EACH * PUBLISHERS)


class Reader:
    """Pulls soon after it hears, until it has everything."""

    def __init__(self, loop: Loop, fanout: Fanout, done: Mailbox) -> None:
        self.loop, self.fanout, self.done = loop, fanout, done
        self.scheduled = False
        self.got: list[int] = []

    def ready(self, tail: Tail | BusError) -> None:
        assert isinstance(tail, Tail)
        self.position = Position(tail.epoch, 0)
        self.fanout.join("news", self)
        self.news("news")

    weight = 1

    def news(self, channel: str) -> None:
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self.pull)

    def pull(self) -> None:
        self.scheduled = False
        tail = self.fanout.tail("news")
        assert tail is not None
        found = tail.after(self.position, 50, 100_000)
        if found is None:
            self.fanout.read_bus("news", self.position, 50, self.was_read)
        elif isinstance(found, list) and found:
            self.take([entry.offset for entry in found])

    def was_read(self, found: Page | Gap | BusError) -> None:
        assert isinstance(found, Page)
        self.take([publication.offset for publication in found.publications])

    def take(self, offsets: list[int]) -> None:
        if not offsets:
            return
        self.got += offsets
        self.position = Position(self.position.epoch, offsets[-1])
        if offsets[-1] == EACH * PUBLISHERS:
            self.fanout.leave("news", self)
            self.done.put(self)
        else:
            self.news("news")


def make(name: str) -> Loop:
    if name == "threads":
        return ThreadLoop()
    pytest.importorskip("gevent")
    from rtbridge.runtime.gevent_loop import GeventLoop

    return GeventLoop()


@pytest.mark.parametrize("name", ["threads", "gevent"])
def test_everybody_gets_everything_in_order(name: str) -> None:
    loop = make(name)
    limits = Limits(tail_publications=100)  # so that some must read the bus
    bus = MemoryBus(limits)
    fanout = Fanout(bus, loop, limits, Metrics())
    bus.listen(fanout)
    done = loop.mailbox()

    def publish() -> None:
        for _ in range(EACH):
            bus.publish("news", b"1", KEEP)

    def come() -> None:
        with loop.turn():
            fanout.when_ready("news", KEEP, Reader(loop, fanout, done).ready)

    for _ in range(3):
        loop.call_soon(come)
    for _ in range(PUBLISHERS):
        native_thread(publish)
        for _ in range(5):
            loop.call_soon(come)
    for _ in range(3 + 5 * PUBLISHERS):
        reader = done.get(SOON)
        assert isinstance(reader, Reader)
        assert reader.got == list(range(1, EACH * PUBLISHERS + 1))
    loop.close()
