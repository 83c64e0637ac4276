"""memory:// keeps the bus contract, and is bounded in what it remembers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from contracts.bus_contract import LIMITS, Advance, BusContract, Recorder, offsets
from rtbridge.bus import LATEST, Bus, History
from rtbridge.bus.memory import MemoryBus
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Publication


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestMemoryBus(BusContract):
    @pytest.fixture
    def bus(self, clock: Clock) -> Iterator[Bus]:
        yield MemoryBus(LIMITS, clock)

    @pytest.fixture
    def advance(self, clock: Clock) -> Advance:
        return clock.advance


@pytest.fixture
def bus(clock: Clock) -> MemoryBus:
    return MemoryBus(replace(LIMITS, memory_channels=10), clock)


def test_old_publications_go_while_new_ones_come(bus: MemoryBus, clock: Clock) -> None:
    start = bus.position("news")
    for _ in range(5):
        bus.publish("news", b"1", History(10, ttl=10.0))
        clock.advance(4.0)
    assert isinstance(bus.read("news", Position(start.epoch, 2), 10), Gap)
    assert offsets(bus.read("news", Position(start.epoch, 3), 10)) == [4, 5]


def test_the_longest_unused_channels_are_forgotten_beyond_the_bound(bus: MemoryBus) -> None:
    first = [bus.position(f"c{number}") for number in range(10)]
    bus.position("c0")  # used: now c1 is the oldest
    for number in range(10, 13):
        bus.position(f"c{number}")
    assert len(bus._logs) <= 11
    assert bus.read("c0", first[0], 10) != Gap(first[0])
    assert bus.position("c0") == first[0]
    assert bus.position("c1") != first[1]


def test_watched_channels_are_kept_beyond_the_bound(bus: MemoryBus) -> None:
    first = {}
    for channel in [f"w{number}" for number in range(20)]:
        first[channel] = bus.position(channel)
        bus.watch(channel)
    for number in range(50):
        bus.position(f"c{number}")
    assert {channel: bus.position(channel) for channel in first} == first
    assert len(bus._logs) <= 20 + 11


def test_histories_of_channels_that_fell_silent_are_given_back(bus: MemoryBus, clock: Clock) -> None:
    for number in range(8):
        for _ in range(5):
            bus.publish(f"c{number}", b"1", History(10, ttl=10.0))
    clock.advance(11.0)
    for _ in range(8):
        bus.position("another")
    assert sum(len(log.entries) for log in bus._logs.values()) == 0
    assert bus._aging == []


def test_a_latest_value_waits_in_no_heap(bus: MemoryBus) -> None:
    for _ in range(100):
        bus.publish("price", b"1", LATEST)
    assert bus._aging == []


def test_a_busy_channel_has_one_place_among_those_that_age(bus: MemoryBus, clock: Clock) -> None:
    for _ in range(1_000):
        bus.publish("news", b"1", History(10, ttl=5.0))
        clock.advance(0.1)
        assert len(bus._aging) <= 1


def test_keys_and_records_do_not_pile_up(bus: MemoryBus, clock: Clock) -> None:
    for number in range(1_000):
        bus.publish("news", b"1", History(10), key=f"k{number}")
        bus.put(f"r{number}", b"1", 20.0)
        bus.put("renewed", b"1", 20.0)
        clock.advance(1.0)
        assert len(bus._keys) <= 22
        assert len(bus._records) <= 23
        assert len(bus._records._heap) <= 23


def test_leases_nobody_asks_for_are_forgotten_in_the_end(bus: MemoryBus, clock: Clock) -> None:
    for number in range(200):
        bus.hold("room", f"name{number}", 30.0)
        bus.hold(f"room{number}", "ada", 30.0)
        clock.advance(3_600.0)
    assert len(bus._leases.held("room", clock())) == 0
    assert len(bus.lapsed("room", 10.0, 1_000)) <= 26
    assert len(bus._leases._groups) <= 27


def test_a_listener_that_raises_does_not_hurt_the_publisher(
    bus: MemoryBus, caplog: pytest.LogCaptureFixture
) -> None:
    class Bad(Recorder):
        def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
            super().arrived(channel, epoch, *publications)
            raise ValueError("an odd listener")

    listener = Bad()
    bus.listen(listener)
    bus.watch("news")
    bus.publish("news", b"1", History())
    bus.publish("news", b"2", History())
    assert [listener.next()[2].offset for _ in range(2)] == [1, 2]
    assert "an odd listener" in caplog.text


def test_a_listener_may_publish(bus: MemoryBus) -> None:
    class Echo(Recorder):
        def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
            super().arrived(channel, epoch, *publications)
            if publications[-1].offset < 5:
                bus.publish(channel, b"more", History())

    listener = Echo()
    bus.listen(listener)
    bus.watch("news")
    bus.publish("news", b"1", History())
    assert [listener.next()[2].offset for _ in range(5)] == [1, 2, 3, 4, 5]


def test_a_publisher_stopped_while_telling_leaves_nothing_untold(bus: MemoryBus) -> None:
    """Ctrl-C, or a greenlet killed: the next publish tells what was left."""

    class Stopped(Recorder):
        stop = True

        def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
            if self.stop:
                self.stop = False
                raise KeyboardInterrupt
            super().arrived(channel, epoch, *publications)

    listener = Stopped()
    bus.listen(listener)
    bus.watch("news")
    with pytest.raises(KeyboardInterrupt):
        bus.publish("news", b"1", History())
    bus.publish("news", b"2", History())
    assert [listener.next()[2].offset for _ in range(2)] == [1, 2]


def test_a_slow_listener_delays_no_other_publisher(bus: MemoryBus) -> None:
    """While one thread tells, another publishes and goes on; the first tells for both, in order."""
    telling, go_on = threading.Event(), threading.Event()

    class Slow(Recorder):
        def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
            if publications[-1].offset == 1:
                telling.set()
                assert go_on.wait(10.0)
            super().arrived(channel, epoch, *publications)

    listener = Slow()
    bus.listen(listener)
    bus.watch("news")
    thread = threading.Thread(target=bus.publish, args=("news", b"1", History()))
    thread.start()
    assert telling.wait(10.0)
    assert bus.publish("news", b"2", History()).offset == 2
    go_on.set()
    thread.join(10.0)
    assert [listener.next()[2].offset for _ in range(2)] == [1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_child_of_a_fork_has_logs_of_its_own(bus: MemoryBus) -> None:
    """Otherwise one position would name two publications, and a client between them would miss one silently."""
    before = bus.publish("news", b"parent", History())
    readable, writable = os.pipe()
    bus._lock.acquire()  # as if another thread were publishing
    pid = os.fork()
    if pid == 0:
        os.write(writable, str(bus.publish("news", b"child", History())).encode())
        os._exit(0)
    bus._lock.release()
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        child = Position.parse(pipe.read().decode())
    os.waitpid(pid, 0)
    assert child.offset == 1
    assert child.epoch != before.epoch
    assert bus.position("news") == before
