"""Each question of the doctor, with facts that call for each of its answers."""

from __future__ import annotations

from typing import Any

import pytest

from rtbridge.cli import findings as f
from rtbridge.cli.findings import Facts, Level

BUFFERS = "normal 0 0 0 slave 268435456 67108864 60 pubsub {}"


def facts(config: dict[str, str] | None = None, trips: tuple[float, ...] = (), **info: Any) -> Facts:
    return Facts(info, config, trips)


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (f.version(facts(redis_version="7.0.15")), Level.OK),
        (f.version(facts(redis_version="8.2.0")), Level.OK),
        (f.version(facts(redis_version="6.2.1")), Level.WARN),
        (f.version(Facts({"redis_version": "6.2.1"}, cluster=True)), Level.BAD),
        (f.version(facts(redis_version="5.0.3")), Level.BAD),
        (f.role(facts(role="master", connected_slaves=1)), Level.OK),
        (f.role(facts(role="slave")), Level.BAD),
        (f.eviction(facts(maxmemory_policy="noeviction", maxmemory=1)), Level.OK),
        (f.eviction(facts(maxmemory_policy="allkeys-lru", maxmemory=0)), Level.WARN),
        (f.eviction(facts(maxmemory_policy="volatile-ttl", maxmemory=1)), Level.BAD),
        (f.eviction(facts(maxmemory_policy="allkeys-lru", maxmemory=0, evicted_keys=7)), Level.BAD),
        (f.memory(facts(used_memory=10, maxmemory=0)), Level.OK),
        (f.memory(facts(used_memory=10, maxmemory=100)), Level.OK),
        (f.memory(facts(used_memory=95, maxmemory=100)), Level.BAD),
        (f.output_buffers(facts()), Level.OK),
        (
            f.output_buffers(facts({"client-output-buffer-limit": BUFFERS.format("33554432 8388608 60")})),
            Level.OK,
        ),
        (
            f.output_buffers(facts({"client-output-buffer-limit": BUFFERS.format("1048576 8388608 60")})),
            Level.WARN,
        ),
        (
            f.output_buffers(facts({"client-output-buffer-limit": BUFFERS.format("33554432 1000 5")})),
            Level.WARN,
        ),
        (f.output_buffers(facts({"client-output-buffer-limit": BUFFERS.format("0 0 0")})), Level.WARN),
        (f.persistence(facts(aof_enabled=1)), Level.OK),
        (f.persistence(facts({"save": "3600 1"}, aof_enabled=0)), Level.WARN),
        (f.persistence(facts({"save": ""}, aof_enabled=0)), Level.WARN),
        (f.persistence(facts(aof_enabled=1, aof_last_write_status="err")), Level.BAD),
        (f.latency(facts()), Level.OK),
        (f.latency(facts(None, (0.0001,) * 100)), Level.OK),
        (f.latency(facts(None, (0.02,) * 100)), Level.WARN),
        (f.clients(facts(connected_clients=10, maxclients=10_000)), Level.OK),
        (f.clients(facts(connected_clients=90, maxclients=100)), Level.BAD),
        (f.keepalive(facts({"tcp-keepalive": "300"})), Level.OK),
        (f.keepalive(facts({"tcp-keepalive": "0"})), Level.WARN),
    ],
)
def test_a_question_finds(found: f.Finding, level: Level) -> None:
    assert found.level is level
    assert bool(found.do) is (level is not Level.OK), "what is wrong comes with what to do, and only that"
