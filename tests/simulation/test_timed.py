"""How soon the whole house heals, from Redis to the client, with the limits that everybody has."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from rtbridge import History, Limits
from rtbridge.bus.redis import RedisBus
from rtbridge.client import Item, connect
from rtbridge.errors import BusError
from rtbridge.fanout import Fanout
from rtbridge.fanout.tail import Tail
from rtbridge.fanout.watched import State
from rtbridge.metrics import Metrics
from rtbridge.runtime import choose_loop
from support.lossy_bus import LossyBus
from support.redis_servers import PlainRedis, until
from support.servers import Server, running

KEEP = History(1000, ttl=3600)
TAIL_REPAIRED = 5.0
BACK = 1.0
CHANNELS = 5_000
ROUNDS = 3
"""The best counts: a machine is slow now and then."""


@pytest.fixture(scope="module")
def redis_server() -> Iterator[PlainRedis]:
    with PlainRedis("appendonly yes", "appendfsync no") as server:
        yield server


@pytest.fixture(scope="module")
def wire(redis_server: PlainRedis) -> Iterator[LossyBus]:
    with LossyBus(redis_server.port) as wire:
        yield wire


@pytest.fixture(scope="module")
def site(wire: LossyBus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url = f"redis://127.0.0.1:{wire.port}"
    with running("rtbridge", tmp_path_factory.mktemp("site"), RTBRIDGE_URL=url) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["websocket", "eventstream", "longpoll", "shortpoll"])
def test_a_tail_message_nobody_was_told_of_is_delivered(
    redis_server: PlainRedis,
    wire: LossyBus,
    site: Server,
    transport: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The last one before a channel falls silent: no later one shows that it is missing."""
    bus = RedisBus(redis_server.url)
    wire.loses = lambda payload: b"tail" in payload
    took = []
    with connect(f"{site.url}/rt/", transport=transport) as client:
        feed = client.subscribe("news")
        feed.wait()
        for number in range(4):
            bus.publish("news", b'"heard"', KEEP)
            item = feed.get(10)
            assert isinstance(item, Item) and item.data == "heard"
            time.sleep(number * 0.7)  # at another moment between two sweeps
            lost = wire.lost
            began = time.monotonic()
            bus.publish("news", b'"tail"', KEEP)
            item = feed.get(10)
            took.append(time.monotonic() - began)
            assert isinstance(item, Item) and item.data == "tail"
            assert wire.lost == lost + 1
    bus.close()
    with capsys.disabled():
        print(f"\n{transport}: tails repaired after {', '.join(f'{seconds:.1f}' for seconds in took)} s")
    assert max(took) <= TAIL_REPAIRED


@pytest.mark.slow
@pytest.mark.parametrize("fence", ["on", "off"])
def test_thousands_of_tails_are_live_soon_after_redis_is_back(
    redis_server: PlainRedis, fence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the fence every one of the logs has begun a new epoch, which has to be found out."""
    bus = RedisBus(f"{redis_server.url}?prefix={fence}:&fence={fence}")
    loop, metrics = choose_loop(), Metrics()
    fanout = Fanout(bus, loop, Limits(), metrics)
    bus.listen(fanout)
    names = [f"c{number}" for number in range(CHANNELS)]
    tails: dict[str, Tail] = {}

    def ready(tail: Tail | BusError) -> None:
        assert isinstance(tail, Tail)
        tails[tail.channel] = tail

    with loop.turn():
        for name in names:
            fanout.when_ready(name, KEEP, ready)
    until(lambda: len(tails) == CHANNELS, "all channels watched", 60)
    took = []
    for _ in range(ROUNDS):
        until(
            lambda: all(one.state is State.READY for one in fanout._channels.values()),
            "the end of all repairs",
            60,
        )
        redis_server.kill()
        until(lambda: bus._subscriber._ears[None]._link is None, "the end of the connection")
        time.sleep(0.5)
        redis_server.start()
        back = time.monotonic()
        other = RedisBus(f"{redis_server.url}?prefix={fence}:&fence={fence}")
        ends = {name: other.publish(name, b"1", KEEP) for name in random.sample(names, 50)}
        until(
            lambda ends=ends: all(tails[name].position() == end for name, end in ends.items()), "live tails"
        )  # type: ignore[misc]
        took.append(time.monotonic() - back)
        other.close()
    with loop.turn():
        fanout.close()
    bus.close()
    loop.close()
    with capsys.disabled():
        print(
            f"\nfence {fence}: {CHANNELS} tails live after Redis was back: "
            + ", ".join(f"{seconds:.2f} s" for seconds in took)
        )
    assert min(took) < BACK
