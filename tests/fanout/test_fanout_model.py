"""Readers over a link that loses, repeats and reorders, a bus that fails and logs that are lost: no silent
loss.

Each reader pulls by position as sessions do. Whatever happened, once the world is quiet again every reader
has been given everything in order, each thing once, or was told of a gap where something is missing.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtbridge.bus import LATEST, VOLATILE, History, Keep
from rtbridge.config import Limits
from rtbridge.errors import BusError
from rtbridge.fanout import Fanout, Tail
from rtbridge.metrics import Metrics
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page
from support.fakebus import FakeBus
from support.fakeloop import FakeLoop

LIMITS = Limits(
    tail_prime=3, tail_publications=6, tail_bytes=6_000, tail_linger=20.0, page_publications=4, page_bytes=400
)
KEEPS: dict[str, Keep] = {"log": History(12), "short": History(3), "price": LATEST, "typing": VOLATILE}


class Reader:
    """A session's place in one channel, boiled down."""

    def __init__(self, world: FanoutModel, channel: str) -> None:
        self.world = world
        self.channel = channel
        self.position: Position | None = None
        self.got: list[tuple[str, int, bytes] | str] = []
        self.joined = self.reading = self.dirty = False

    def start(self) -> None:
        self.world.fanout.when_ready(self.channel, KEEPS[self.channel], self.ready)

    def ready(self, tail: Tail | BusError) -> None:
        if isinstance(tail, BusError):
            self.world.loop.call_later(1.0, self.start)
            return
        if self.position is None:
            self.position = tail.position()
        self.world.fanout.join(self.channel, self)
        self.joined = self.dirty = True

    def leave(self) -> None:
        self.joined = False
        self.world.fanout.leave(self.channel, self)

    weight = 1

    def news(self, channel: str) -> None:
        assert channel == self.channel
        self.dirty = True

    def pull(self, limit: int = 3) -> None:
        """Take what is there, as far as it goes now."""
        while self.joined and self.dirty and not self.reading:
            assert self.position is not None
            tail = self.world.fanout.tail(self.channel)
            assert tail is not None
            found = tail.after(self.position, limit, 300)
            if found is None:
                self.reading = True
                self.world.fanout.read_bus(self.channel, self.position, limit, self.was_read)
            elif isinstance(found, Gap):
                self.gap(found)
            elif found:
                self.got += [(tail.epoch, entry.offset, entry.data) for entry in found]
                self.position = Position(tail.epoch, found[-1].offset)
            else:
                self.position = tail.position() if self.channel == "typing" else self.position
                self.dirty = False

    def was_read(self, found: Page | Gap | BusError) -> None:
        self.reading = False
        if isinstance(found, BusError):
            self.dirty = False
            self.world.loop.call_later(1.0, self.news, self.channel)
        elif isinstance(found, Gap):
            self.gap(found)
        else:
            self.got += [(found.position.epoch, p.offset, p.data) for p in found.publications]
            if found.position == self.position:
                self.dirty = False  # up to date with the bus, though the tail may be behind: it will tell
            self.position = found.position

    def gap(self, gap: Gap) -> None:
        self.got.append("gap")
        self.position = gap.position


class FanoutModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = FakeLoop()
        self.bus = FakeBus(replace(LIMITS, position_ttl=1e9), self.loop.now)
        self.fanout = Fanout(self.bus, self.loop, LIMITS, Metrics())
        self.bus.listen(self.fanout)
        self.published: dict[tuple[str, str, int], set[bytes]] = {}
        self.newest: dict[str, tuple[str, int, bytes]] = {}
        self.count = 0
        self.readers: list[Reader] = []

    channels = st.sampled_from(list(KEEPS))

    @rule(channel=channels, count=st.integers(1, 9))
    def publish(self, channel: str, count: int) -> None:
        for _ in range(count):
            self.count += 1
            data = b"%d" % self.count
            position = self.bus.publish(channel, data, KEEPS[channel])
            self.published.setdefault((channel, position.epoch, position.offset), set()).add(data)
            self.newest[channel] = (position.epoch, position.offset, data)

    @precondition(lambda self: self.bus.link)
    @rule(data=st.data(), what=st.sampled_from(["next", "any", "repeat", "lose", "all"]))
    def link(self, data: st.DataObject, what: str) -> None:
        index = data.draw(st.integers(0, len(self.bus.link) - 1))
        if what == "next":
            self.bus.deliver()
        elif what == "lose":
            del self.bus.link[index]
        elif what == "all":
            self.bus.deliver_all()
        else:
            self.bus.deliver(index, keep=what == "repeat")

    @rule()
    def suspect(self) -> None:
        self.fanout.suspect(None)

    @rule(down=st.booleans())
    def break_or_mend(self, down: bool) -> None:
        self.bus.down = down

    @rule(channel=channels)
    def forget(self, channel: str) -> None:
        if channel in self.bus.memory._logs:
            self.bus.forget(channel)
            self.newest.pop(channel, None)

    @rule()
    def calls(self) -> None:
        self.loop.run_calls()

    @rule()
    def job(self) -> None:
        self.loop.run_job()

    @rule(seconds=st.sampled_from([0.5, 3.0, 25.0]))
    def wait(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule(channel=channels)
    def come(self, channel: str) -> None:
        if len(self.readers) < 6:
            reader = Reader(self, channel)
            self.readers.append(reader)
            reader.start()

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def leave_or_come_back(self, data: st.DataObject) -> None:
        """With its position, as a client does that reconnects."""
        reader = data.draw(st.sampled_from(self.readers))
        if reader.joined:
            reader.leave()
        elif reader.position is not None:
            reader.start()

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def pull(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.readers)).pull()

    @invariant()
    def nothing_failed(self) -> None:
        assert self.loop.errors == []
        assert self.fanout._stock.size <= LIMITS.tail_bytes

    @invariant()
    def what_readers_got_is_in_order_and_true(self) -> None:
        for reader in self.readers:
            before: tuple[str, int] | None = None
            for item in reader.got:
                if isinstance(item, str):
                    before = None
                    continue
                epoch, offset, data = item
                assert data in self.published[reader.channel, epoch, offset]
                if before is not None and before[0] == epoch:
                    step = offset - before[1]
                    assert step == 1 if KEEPS[reader.channel].kind == "history" else step >= 1
                elif before is not None:
                    assert KEEPS[reader.channel].kind != "history", "another log without a gap"
                before = (epoch, offset)

    def teardown(self) -> None:
        """The bus is back, what is on the link is lost; wait, and let everybody take what there is."""
        self.bus.down = False
        self.bus.link.clear()
        for reader in self.readers:
            if not reader.joined and reader.position is not None:
                reader.start()
        for _ in range(12):
            self.loop.advance(2.0)
            for reader in self.readers:
                reader.pull()
        self.what_readers_got_is_in_order_and_true()
        self.nothing_failed()
        for reader in self.readers:
            kind = KEEPS[reader.channel].kind
            if kind == "volatile":
                continue
            assert reader.position == self.bus.memory.position(reader.channel)
            items = [item for item in reader.got if not isinstance(item, str)]
            if kind == "latest" and items and reader.channel in self.newest:
                assert items[-1] == self.newest[reader.channel]


TestFanoutModel = FanoutModel.TestCase
TestFanoutModel.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
