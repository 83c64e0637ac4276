"""redis:// keeps the bus contract in all its forms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.bus_contract import LIMITS, Advance, BusContract
from rtbridge.bus import Bus
from rtbridge.bus.redis import RedisBus
from support.redis_servers import ClusterOfThree, PlainRedis, RedisServer, SentinelTrio


class RedisContract(BusContract):
    @pytest.fixture
    def place(self) -> tuple[str, list[RedisServer]]:
        """The URL, and the masters that keep the data."""
        raise NotImplementedError

    @pytest.fixture
    def bus(self, place: tuple[str, list[RedisServer]]) -> Iterator[Bus]:
        url, masters = place
        for server in masters:
            with server.client() as client:
                client.flushall()
        bus = RedisBus(url, LIMITS)
        yield bus
        bus.close()

    @pytest.fixture
    def advance(self, place: tuple[str, list[RedisServer]]) -> Advance:
        def advance(seconds: float) -> None:
            for server in place[1]:
                server.age("rtbridge:", seconds)

        return advance


@pytest.fixture(scope="module")
def plain() -> Iterator[PlainRedis]:
    with PlainRedis() as server:
        yield server


class TestPlainRedis(RedisContract):
    @pytest.fixture
    def place(self, plain: PlainRedis) -> tuple[str, list[RedisServer]]:
        return plain.url, [plain]


class TestDurableRedis(RedisContract):
    """What is published has reached a replica."""

    @pytest.fixture
    def place(self, sentinels: SentinelTrio) -> tuple[str, list[RedisServer]]:
        return f"{sentinels.url}?durability=replica", [sentinels.master]


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelTrio]:
    with SentinelTrio() as trio:
        yield trio


class TestSentinel(RedisContract):
    @pytest.fixture
    def place(self, sentinels: SentinelTrio) -> tuple[str, list[RedisServer]]:
        return sentinels.url, [sentinels.master]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterOfThree]:
    with ClusterOfThree() as cluster:
        yield cluster


class TestCluster(RedisContract):
    @pytest.fixture
    def place(self, cluster: ClusterOfThree) -> tuple[str, list[RedisServer]]:
        return cluster.url, cluster.nodes
