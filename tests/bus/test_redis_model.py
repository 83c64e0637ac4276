"""redis:// and memory:// are asked the same in the same order, at random, and must say the same.

Epochs differ, so what each says is compared as: the same as before or another one. Time passes in Redis by making its
keys older. Redis may keep a publication longer than it must while newer ones come; histories here have one ttl.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rtbridge.bus import LATEST, VOLATILE, Bus, History, ToPublish
from rtbridge.bus.memory import MemoryBus
from rtbridge.bus.redis import RedisBus
from rtbridge.config import Limits
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication
from support.redis_servers import ClusterOfThree, PlainRedis, RedisServer

LIMITS = Limits(position_ttl=6400.0, idempotency_ttl=1000.0, page_publications=6, page_bytes=40)
STEP = 100.0
KEEPS = [History(3, ttl=1e6), History(8, ttl=1e6), LATEST, VOLATILE]

channels = st.sampled_from(["a", "b", "c"])
names = st.sampled_from(["x", "y"])


class Ears:
    """Keeps what a bus tells."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[tuple[str, str, Publication]] = queue.SimpleQueue()

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        for publication in publications:
            self.heard.put((channel, epoch, publication))

    def suspect(self, channel: str | None) -> None:
        pass


class Epochs:
    """One bus's epochs, by the order in which they were first told: the first of channel a is `a1`."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}

    def name(self, channel: str, epoch: str) -> str:
        count = sum(1 for known, _ in self._names if known == channel)
        return self._names.setdefault((channel, epoch), f"{channel}{count + 1}")

    def position(self, channel: str, position: Position) -> Position:
        return Position(self.name(channel, position.epoch), position.offset)

    def found(self, channel: str, found: Page | Gap) -> Page | Gap:
        if isinstance(found, Gap):
            return Gap(self.position(channel, found.position))
        return Page(self.position(channel, found.position), found.publications, found.more)

    def real(self, channel: str, position: Position) -> Position:
        """What the bus itself calls a position."""
        for (known, epoch), name in self._names.items():
            if (known, name) == (channel, position.epoch):
                return Position(epoch, position.offset)
        return position


class SideBySide(RuleBasedStateMachine):
    url = ""
    servers: list[RedisServer] = []

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        for server in self.servers:
            with server.client() as client:
                client.flushall()
        redis = RedisBus(self.url, LIMITS)
        memory = MemoryBus(LIMITS, lambda: self.now)
        self.buses: list[tuple[Bus, Epochs, Ears]] = [(memory, Epochs(), Ears()), (redis, Epochs(), Ears())]
        for bus, _, ears in self.buses:
            bus.listen(ears)
        self.positions: list[tuple[str, Position]] = []
        self.watched: set[str] = set()

    def teardown(self) -> None:
        for bus, _, _ in self.buses:
            bus.close()

    def both(self, method: str, *arguments: Any, **options: Any) -> Any:
        memory, redis = (getattr(bus, method)(*arguments, **options) for bus, _, _ in self.buses)
        assert memory == redis
        return redis

    def both_position(self, channel: str, answers: list[Position]) -> Position:
        memory, redis = (
            epochs.position(channel, answer)
            for (_, epochs, _), answer in zip(self.buses, answers, strict=True)
        )
        assert memory == redis
        self.positions.append((channel, redis))
        return redis

    @rule(steps=st.sampled_from([1, 4, 12, 70]))
    def wait(self, steps: int) -> None:
        """Whoever watches asks for the position now and then, as the fanout does: so the log lives on."""
        while steps:
            some = min(steps, 30)
            steps -= some
            self.now += some * STEP
            for server in self.servers:
                server.age("rtbridge:", some * STEP)
            for channel in self.watched:
                self.position(channel)

    @rule(channel=channels, keep=st.sampled_from(KEEPS), size=st.integers(1, 30), key=st.none() | names)
    def publish(self, channel: str, keep: Any, size: int, key: str | None) -> None:
        answers = [bus.publish(channel, b"x" * size, keep, key=key) for bus, _, _ in self.buses]
        self.both_position(channel, answers)

    @rule(several=st.lists(st.tuples(channels, st.integers(1, 9), st.none() | names), max_size=6))
    def publish_many(self, several: list[tuple[str, int, str | None]]) -> None:
        many = [ToPublish(channel, b"y" * size, KEEPS[1], None, key) for channel, size, key in several]
        answers = [bus.publish_many(many) for bus, _, _ in self.buses]
        for each, *pair in zip(many, *answers, strict=True):
            self.both_position(each.channel, pair)

    @rule(channel=channels)
    def position(self, channel: str) -> None:
        self.both_position(channel, [bus.position(channel) for bus, _, _ in self.buses])

    @rule(several=st.lists(channels, max_size=4))
    def several_positions(self, several: list[str]) -> None:
        answers = [bus.positions(several) for bus, _, _ in self.buses]
        for channel, *pair in zip(several, *answers, strict=True):
            self.both_position(channel, pair)

    @rule(channel=channels, limit=st.integers(0, 9))
    def read_newest(self, channel: str, limit: int) -> None:
        self.read(channel, None, limit)

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), channel=channels, limit=st.integers(1, 9), ahead=st.integers(0, 2))
    def read_on(self, data: st.DataObject, channel: str, limit: int, ahead: int) -> None:
        known = data.draw(st.sampled_from(self.positions))[1]
        self.read(channel, Position(known.epoch, known.offset + ahead), limit)

    def read(self, channel: str, after: Position | None, limit: int) -> None:
        memory, redis = (
            epochs.found(channel, bus.read(channel, after and epochs.real(channel, after), limit))
            for bus, epochs, _ in self.buses
        )
        assert memory == redis

    @rule(channel=channels)
    def watch(self, channel: str) -> None:
        self.watched.add(channel)
        for bus, _, _ in self.buses:
            bus.watch(channel)

    @rule(channel=channels)
    def unwatch(self, channel: str) -> None:
        """Not before all was heard: what is on its way then may come or not."""
        self.same_was_told()
        self.watched.discard(channel)
        for bus, _, _ in self.buses:
            bus.unwatch(channel)
            bus.position(channel)  # from here both count its life

    @rule(key=names, value=st.binary(max_size=2), steps=st.sampled_from([2, 9]))
    def put(self, key: str, value: bytes, steps: int) -> None:
        self.both("put", key, value, steps * STEP + 50)

    @rule(key=names, value=st.binary(max_size=2), steps=st.sampled_from([2, 9]))
    def add(self, key: str, value: bytes, steps: int) -> None:
        self.both("add", key, value, steps * STEP + 50)

    @rule(key=names, expected=st.binary(max_size=2), value=st.binary(max_size=2))
    def replace(self, key: str, expected: bytes, value: bytes) -> None:
        self.both("replace", key, expected, value, 550.0)

    @rule(key=names)
    def get_or_delete(self, key: str) -> None:
        self.both("get", key)

    @rule(key=names)
    def delete(self, key: str) -> None:
        self.both("delete", key)

    @rule(name=names, steps=st.sampled_from([1, 5]), value=st.binary(max_size=2))
    def hold(self, name: str, steps: int, value: bytes) -> None:
        self.both("hold", "g", name, steps * STEP + 50, value)

    @rule(name=names, only_lapsed=st.booleans())
    def release(self, name: str, only_lapsed: bool) -> None:
        self.both("release", "g", name, only_lapsed=only_lapsed)

    @rule(steps=st.sampled_from([1, 3]))
    def lapsed(self, steps: int) -> None:
        self.both("lapsed", "g", steps * STEP + 50, 10)

    @rule()
    def held(self) -> None:
        self.both("held", "g")

    @invariant()
    def same_was_told(self) -> None:
        (_, told_epochs, told), (_, heard_epochs, heard) = self.buses
        per_channel: dict[str, list[Any]] = {}
        while not told.heard.empty():
            channel, epoch, publication = told.heard.get()
            per_channel.setdefault(channel, []).append((told_epochs.name(channel, epoch), publication))
        for _ in range(sum(map(len, per_channel.values()))):
            channel, epoch, publication = heard.heard.get(timeout=10)
            assert (heard_epochs.name(channel, epoch), publication) == per_channel[channel].pop(0)


@pytest.fixture(scope="module", params=["plain", "cluster"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[RedisServer]]]:
    with ExitStack() as stack:
        if request.param == "plain":
            server = stack.enter_context(PlainRedis())
            yield server.url, [server]
        else:
            cluster = stack.enter_context(ClusterOfThree())
            yield cluster.url, cluster.nodes


def check(place: tuple[str, list[RedisServer]], examples: int) -> None:
    url, servers = place
    machine = type("SideBySide", (SideBySide,), {"url": url, "servers": servers})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )  # fmt: skip


def test_redis_says_what_memory_says(place: tuple[str, list[RedisServer]]) -> None:
    check(place, 15)


@pytest.mark.slow
def test_redis_says_what_memory_says_at_length(place: tuple[str, list[RedisServer]]) -> None:
    check(place, 150)
