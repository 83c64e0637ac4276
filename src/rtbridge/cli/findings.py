"""What is to be said about a Redis server: one function for each question, from facts to a finding.

No connection here, so that each can be tested with facts of any kind. Sizes are bytes, times seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Level(IntEnum):
    """How bad it is."""

    OK = 0
    WARN = 1
    BAD = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        about: the subject, a word or two.
        says: what was found.
        do: what to change; empty where nothing is to be changed.
    """

    level: Level
    about: str
    says: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one server told.

    Attributes:
        info: the fields of INFO.
        config: what CONFIG GET gave; None where this user may not ask.
        round_trips: seconds that each of some PINGs took, sorted.
        cluster: whether it is a node of a Cluster.
    """

    info: Mapping[str, Any]
    config: Mapping[str, str] | None = None
    round_trips: Sequence[float] = field(default_factory=tuple)
    cluster: bool = False


def version(facts: Facts) -> Finding:
    """Cluster needs sharded pub/sub, which came with 7.0."""
    text = str(facts.info.get("redis_version", "0"))
    known = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if known >= (7, 0):
        return Finding(Level.OK, "version", text)
    if known >= (6, 2) and not facts.cluster:
        return Finding(
            Level.WARN,
            "version",
            f"{text}; rtbridge is tested with 7.0 and later",
            "plan an upgrade to 7 or later",
        )
    return Finding(Level.BAD, "version", f"{text} is too old", "upgrade Redis to 7.0 or later")


def role(facts: Facts) -> Finding:
    """Publishing writes; a replica takes no writes."""
    if facts.info.get("role") == "slave":
        return Finding(
            Level.BAD,
            "role",
            "this is a replica, which takes no writes",
            "name its master, or use redis+sentinel://host:26379/service, which finds it",
        )
    replicas = facts.info.get("connected_slaves", 0)
    return Finding(Level.OK, "role", f"master with {replicas} replica{'' if replicas == 1 else 's'}")


def eviction(facts: Facts) -> Finding:
    """An evicted key takes a channel's position with it: its clients are told of a gap for no reason."""
    policy = str(facts.info.get("maxmemory_policy", "unknown"))
    evicted = int(facts.info.get("evicted_keys", 0))
    change = "CONFIG SET maxmemory-policy noeviction, or give rtbridge a Redis of its own"
    if policy == "noeviction":
        return Finding(Level.OK, "eviction", "noeviction")
    if evicted:
        return Finding(
            Level.BAD,
            "eviction",
            f"{policy}: {evicted} keys were thrown away already, perhaps channels",
            change,
        )
    if int(facts.info.get("maxmemory", 0)):
        return Finding(Level.BAD, "eviction", f"{policy}: a full memory throws channels away", change)
    return Finding(
        Level.WARN, "eviction", f"{policy}, harmless only as long as there is no maxmemory", change
    )


def memory(facts: Facts) -> Finding:
    """With noeviction, a full memory refuses to publish."""
    used, most = int(facts.info.get("used_memory", 0)), int(facts.info.get("maxmemory", 0))
    if not most:
        return Finding(Level.OK, "memory", f"{_size(used)} used, no maxmemory")
    said = f"{_size(used)} of {_size(most)} used"
    if used < 0.9 * most:
        return Finding(Level.OK, "memory", said)
    return Finding(Level.BAD, "memory", said, "raise maxmemory, or keep less: History(size, ttl)")


def output_buffers(facts: Facts) -> Finding:
    """A worker that is slow for a moment must not be cut off from its notifications by a small buffer."""
    about = "pub/sub output buffer"
    if facts.config is None or "client-output-buffer-limit" not in facts.config:
        return Finding(Level.OK, about, "unknown: this user may not use CONFIG GET")
    words = facts.config["client-output-buffer-limit"].split()
    hard, soft, seconds = (int(word) for word in words[words.index("pubsub") + 1 :][:3])
    said = f"hard {_size(hard)}, soft {_size(soft)} for {seconds} s"
    change = "CONFIG SET client-output-buffer-limit 'pubsub 32mb 8mb 60'"
    if 0 < hard < 8 * 2**20 or (0 < soft < 2 * 2**20 and seconds < 30):
        return Finding(
            Level.WARN, about, f"{said}: a burst cuts the workers off, and each time they read again", change
        )
    if not hard:
        return Finding(
            Level.WARN, about, "no hard limit: a worker that hangs fills the memory of Redis", change
        )
    return Finding(Level.OK, about, said)


def persistence(facts: Facts) -> Finding:
    """Without it a restart of Redis is a gap for every client: told, but a burst of reloads."""
    info = facts.info
    for name, what in (
        ("aof_last_write_status", "the append-only file"),
        ("rdb_last_bgsave_status", "a snapshot"),
    ):
        if info.get(name, "ok") != "ok":
            return Finding(
                Level.BAD,
                "persistence",
                f"{what} could not be written; Redis may refuse all writes",
                "look at Redis's log and its disk",
            )
    if int(info.get("aof_enabled", 0)):
        return Finding(Level.OK, "persistence", "append-only file")
    change = "CONFIG SET appendonly yes (appendfsync everysec)"
    if facts.config is not None and not facts.config.get("save"):
        return Finding(
            Level.WARN,
            "persistence",
            "none: a restart of Redis forgets every channel, a gap for all clients",
            change,
        )
    return Finding(
        Level.WARN,
        "persistence",
        "snapshots only: a crash forgets what came after the last, a gap for its clients",
        change,
    )


def latency(facts: Facts) -> Finding:
    """Every publication and every first subscription waits for one round trip."""
    times = facts.round_trips
    if not times:
        return Finding(Level.OK, "latency", "not measured")
    median, worst = times[len(times) // 2], times[int(len(times) * 0.99)]
    said = f"{median * 1000:.2f} ms, 99 % under {worst * 1000:.2f} ms"
    if median < 0.005:
        return Finding(Level.OK, "latency", said)
    return Finding(
        Level.WARN,
        "latency",
        f"{said}: slow for every publication",
        "put Redis nearer to the workers, in the same zone",
    )


def clients(facts: Facts) -> Finding:
    """Each process takes a few connections."""
    here, most = int(facts.info.get("connected_clients", 0)), int(facts.info.get("maxclients", 10_000))
    if here < 0.8 * most:
        return Finding(Level.OK, "connections", f"{here} of {most}")
    return Finding(Level.BAD, "connections", f"{here} of {most}: nearly full", "raise maxclients")


def keepalive(facts: Facts) -> Finding:
    """Redis finds a dead peer only by TCP's own keep-alive."""
    seconds = (facts.config or {}).get("tcp-keepalive")
    if seconds == "0":
        return Finding(
            Level.WARN,
            "keep-alive",
            "off: connections of machines that vanished stay",
            "CONFIG SET tcp-keepalive 60",
        )
    return Finding(Level.OK, "keep-alive", "unknown" if seconds is None else f"{seconds} s")


QUESTIONS: tuple[Callable[[Facts], Finding], ...] = (
    version, role, eviction, memory, output_buffers, persistence, latency, clients, keepalive,
)  # fmt: skip


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count //= 1024
    return f"{count} {unit}"
