"""redis:// keeps the bus contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.bus_contract import LIMITS, Advance, BusContract
from rtbridge.bus import Bus
from rtbridge.bus.redis import RedisBus
from support.redis_servers import PlainRedis


@pytest.fixture(scope="module")
def server() -> Iterator[PlainRedis]:
    with PlainRedis() as server:
        yield server


class TestPlainRedis(BusContract):
    @pytest.fixture
    def bus(self, server: PlainRedis) -> Iterator[Bus]:
        with server.client() as client:
            client.flushall()
        bus = RedisBus(server.url, LIMITS)
        yield bus
        bus.close()

    @pytest.fixture
    def advance(self, server: PlainRedis) -> Advance:
        return lambda seconds: server.age("rtbridge:", seconds)
