"""Publishing from another process, through Redis: how fast, how many a second with none lost, how soon they are there.

    python -m benchmarks.through_redis [--quick | --full]

Redis and one worker that serves have the server's core; the process that publishes has the load's. Three questions:
what a publish costs the publisher (64 greenlets of one process, against plain redis-py with the same work in Redis); at
which rate ten subscribers still get everything, without falling behind; and the latency at 50 a second. Peers:
python-socketio's Redis manager and node's redis-adapter. Also what one Redis can take, for capacity.py. Results go to
build/bench/redis.json.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .harness import BenchmarkError, Goal, Server, Table, free_port, save, spread
from .harness.process import LOAD_CORE, child_of
from .loading import load
from .options import begin, choose, within
from .peers import HERE, OURS, RTBRIDGE, SOCKET_IO, program, redis_server

SUBSCRIBERS = 10
LATE = 0.25
"""A rate counts as sustained while 99 % are there no later than after this share of the time that it is published. Who
cannot keep up has a queue that grows as long as it lasts: in a second, a second's delay would permit twice as many."""
FIRST, MOST, REFINED = 1000.0, 128_000.0, 4
"""Rates tried, publications per second: from the first, doubled until one fails; then so many times halfway between the
last that held and the first that failed: the last step is 4 %."""
WARM_UP = 2_000
"""Publishes that are not measured."""

NODE, SOCKETIO = "node redis-adapter", "python-socketio RedisManager"


@dataclass(frozen=True)
class Way:
    """A peer: what serves (PORT stands for its port), what publishes, and the load's options."""

    name: str
    serves: tuple[str, ...]
    publishes: tuple[str, ...]
    ws: dict[str, str]


def ways() -> list[Way]:
    ours = (sys.executable, "-m", "rtbridge", "serve", "redis_app:app", "--bind", "127.0.0.1:PORT")
    python = (sys.executable, "redis_publisher.py")
    found = [
        Way(RTBRIDGE, ours, (*python, "rtbridge"), OURS),
        Way(SOCKETIO, (sys.executable, "sio_redis.py", "PORT"), (*python, "socketio"), SOCKET_IO),
    ]
    if (HERE / "node_modules" / "@socket.io" / "redis-adapter").is_dir():
        node = program("node")
        found.append(
            Way(NODE, (node, "node_redis.js", "PORT"), (node, "node_redis.js", "publish"), SOCKET_IO)
        )
    return found


class Publisher:
    """A process that publishes, on the load's core. It stays: what it takes to start is none of what is measured."""

    def __init__(self, command: tuple[str, ...], port: int) -> None:
        self._command = [*command, str(port)]

    def __enter__(self) -> Publisher:
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._command,
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            preexec_fn=lambda: child_of(LOAD_CORE),
        )
        self._line(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def publish(self, rate: float, count: int, limit: float = 60) -> dict[str, Any]:
        """So many, so many a second (0: as fast as it can); what it said."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{rate} {count}\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._line(limit))
        if found["failed"]:
            raise BenchmarkError(f"{found['failed']} publishes failed: {found.get('failure')}")
        return found

    def _line(self, limit: float) -> str:
        assert self._process.stdout is not None
        killer = threading.Timer(limit, self._process.kill)
        killer.start()
        line = self._process.stdout.readline()
        killer.cancel()
        if not line:
            self._errors.seek(0)
            why = self._errors.read().decode(errors="replace").strip()[-500:]
            raise BenchmarkError(f"the publisher ended, or took over {limit:g} s: {why}")
        return line


def python(how: str, port: int) -> Publisher:
    return Publisher((sys.executable, "redis_publisher.py", how), port)


def publishing(count: int) -> dict[str, dict[str, Any]]:
    """As fast as 64 greenlets can: rate, latency of a call, CPU of the publisher and of Redis."""
    found = {}
    for how in ("plain", "bus", "rtbridge"):
        with redis_server() as server, python(how, server.port) as publisher:
            publisher.publish(0, WARM_UP)
            before = server.cpu()
            seen = publisher.publish(0, count)
            found[how] = {**seen, "redis_cpu": server.cpu() - before}
    return found


def deliver(way: Way, running: Server, publisher: Publisher, rate: float, seconds: float) -> dict[str, Any]:
    """Publish at a rate to ten subscribers; what they saw."""
    count = max(1, round(rate * seconds))
    started, seen = threading.Event(), dict[str, Any]()

    def subscribe() -> None:
        try:
            options: dict[str, Any] = {**way.ws, "until": count, "size": 128, "count": SUBSCRIBERS}
            options |= {"port": running.port, "seconds": seconds + 12}
            listened = load(running.cpu, "listen", moment=started.set, **options)
            seen.update(listened.seen)
        except BenchmarkError as error:
            seen["error"] = error
        started.set()

    listener = threading.Thread(target=subscribe)
    listener.start()
    try:
        started.wait(30)
        sent = publisher.publish(rate, count)
    finally:
        listener.join(60)
    if "error" in seen:
        raise seen["error"]
    kept_up = sent["rate"] >= 0.95 * rate
    return {**seen, "rate": rate, "sent_rate": sent["rate"], "kept_up": kept_up}


def sustained(
    measure: Callable[[float], dict[str, Any]], late: float, end: float
) -> tuple[float, list[dict[str, Any]]]:
    """The highest rate that was published in time, delivered whole and within `late` ms; and all that was tried: twice
    the one before until one fails, then between the two. One failure may be the machine's: it is tried again."""
    tried: list[dict[str, Any]] = []

    def holds(rate: float) -> bool:
        for _ in range(2):
            seen = measure(rate)
            whole = not seen["missing"] and not seen["gaps"] and seen["p99"] <= late
            good = bool(seen["kept_up"] and whole)
            tried.append(
                {name: seen[name] for name in ("rate", "sent_rate", "missing", "gaps", "p50", "p99")}
            )
            if good or time.monotonic() > end:
                return good
        return False

    best, rate = 0.0, FIRST
    while rate <= MOST and time.monotonic() < end and holds(rate):
        best, rate = rate, 2 * rate
    for _ in range(REFINED):
        between = math.sqrt(best * rate)
        if not best or time.monotonic() > end:
            break
        if holds(between):
            best = between
        else:
            rate = between
    return best, tried


def peers(profile: str, skipped: dict[str, str]) -> dict[str, dict[str, Any]]:
    found = {}
    seconds, budget = {"quick": (1.0, 15.0), "standard": (2.0, 40.0), "full": (5.0, 300.0)}[profile]
    for way in ways():
        print(f"   {way.name}", flush=True)
        try:
            if not within(budget):
                raise BenchmarkError("no time left")
            with redis_server() as store:
                port = free_port()
                command = [word.replace("PORT", str(port)) for word in way.serves]
                serving = Server(command, port=port, cwd=HERE, env={"REDIS_PORT": str(store.port)})
                with serving as running, Publisher(way.publishes, store.port) as publisher:
                    calm = deliver(way, running, publisher, 50, 2 * seconds)
                    end = time.monotonic() + within(budget)
                    measure = partial(deliver, way, running, publisher, seconds=seconds)
                    best, tried = sustained(measure, 1000 * LATE * seconds, end)
                    found[way.name] = {
                        "sustained": best,
                        "p50": calm["p50"],
                        "p99": calm["p99"],
                        "tried": tried,
                    }
        except (BenchmarkError, OSError, subprocess.SubprocessError) as error:
            print(f"   SKIPPED {way.name}: {str(error).splitlines()[0]}", flush=True)
            skipped[way.name] = str(error)
    return found


def publishes(count: int = 5_000) -> float:
    """Publications per second of Redis CPU that are commands of their own: each for another channel."""
    with redis_server() as server, python("apart", server.port) as publisher:
        publisher.publish(0, 1_000)
        before = server.cpu()
        publisher.publish(0, count)
        return count / max(server.cpu() - before, 0.01)


def checks(calls: int = 2_000, channels: int = 100) -> float:
    """Positions per second of Redis CPU that processes ask for, many channels in one call."""
    with redis_server() as server, python(f"positions-{channels}", server.port) as asker:
        before = server.cpu()
        asker.publish(0, calls)
        return calls * channels / max(server.cpu() - before, 0.01)


def notifications(processes: int = 50, count: int = 20_000) -> float:
    """Notifications per second of Redis CPU, to so many processes that follow a channel."""
    with redis_server() as server:
        listeners = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(processes)]
        for listener in listeners:
            listener.sendall(b"SUBSCRIBE news\r\n")
            listener.recv(1000)
        message = b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$128\r\n" + b"x" * 128 + b"\r\n"
        stop = threading.Event()
        reading = threading.Thread(target=_drain, args=(listeners, stop))
        reading.start()
        publisher = socket.create_connection(("127.0.0.1", server.port))
        publisher.settimeout(30)
        before = server.cpu()
        for _ in range(count // 100):
            publisher.sendall(message * 100)
            left = 100
            while left > 0:
                left -= publisher.recv(65536).count(b"\n")
        spent = server.cpu() - before
        stop.set()
        reading.join()
        for connection in (*listeners, publisher):
            connection.close()
    return processes * count / max(spent, 0.01)


def _drain(listeners: list[socket.socket], stop: threading.Event) -> None:
    import select

    while not stop.is_set():
        for ready in select.select(listeners, [], [], 0.1)[0]:
            ready.recv(1 << 20)


def goals(calls: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> list[Goal]:
    def ratio(field: str, peer: str) -> float | None:
        ours, theirs = (found.get(name, {}).get(field) for name in (RTBRIDGE, peer))
        if ours is None or theirs is None:
            return None
        # Who did not hold even the lowest rate that was tried holds less than that: the ratio is at least this.
        return ours / max(theirs, FIRST) if field == "sustained" else ours / theirs

    label = f"through Redis: sustained to {SUBSCRIBERS}"
    bus, plain = calls.get("bus"), calls.get("plain")
    rate = bus["rate"] / plain["rate"] if bus and plain else None
    return [
        Goal("through Redis: publishes of one gevent process / plain redis-py", 4, rate, unit=" x"),
        Goal("through Redis: p99 of a publish meanwhile", 5, bus["p99"] if bus else None, True, " ms"),
        Goal(
            f"{label} / python-socketio",
            2,
            ratio("sustained", SOCKETIO),
            unit=" x",
        ),
        Goal(
            f"{label} / node redis-adapter",
            1.5,
            ratio("sustained", NODE),
            unit=" x",
        ),
        Goal(
            "through Redis: p50 at 50 publishes/s / node redis-adapter", 1.3, ratio("p50", NODE), True, " x"
        ),
    ]


def tables(
    calls: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]], told: float | None
) -> list[Table]:
    names = {
        "plain": "redis-py, EVALSHA",
        "bus": "rtbridge, its bus",
        "rtbridge": "rtbridge, channel.publish",
    }
    called = Table(
        "Publishing through Redis from one process, 64 greenlets",
        ["publishes/s", "p50 ms", "p99 ms", "publisher CPU, µs each", "Redis CPU, µs each"],
    )
    for how, seen in calls.items():
        each = [1e6 * seen[name] / seen["count"] for name in ("cpu", "redis_cpu")]
        called.add(names[how], seen["rate"], seen["p50"], seen["p99"], *each)
    if told:
        called.note = f"One Redis hands out {spread(told)} notifications per second of its CPU."
    delivered = Table(
        f"From another process through Redis to {SUBSCRIBERS} subscribers",
        ["sustained/s", "p50 ms at 50/s", "p99 ms at 50/s"],
        note=f"sustained: published in time, none lost, and 99 % there within {LATE:.0%} of the time it lasted.",
    )
    for name, seen in found.items():
        delivered.add(name, seen["sustained"], seen["p50"], seen["p99"])
    return [table for table in (called, delivered) if table.rows]


def main(arguments: list[str] | None = None) -> int:
    profile = choose(__doc__, arguments)
    begin()
    began, skipped = time.monotonic(), dict[str, str]()
    calls: dict[str, dict[str, Any]] = {}
    costs: dict[str, float] = {}
    try:
        calls = publishing({"quick": 15_000, "standard": 50_000, "full": 200_000}[profile])
        costs = {"publishes": publishes(), "notifications": notifications(), "checks": checks()}
    except (BenchmarkError, OSError, subprocess.SubprocessError) as error:
        print(f"   SKIPPED publishing: {error}", flush=True)
        skipped["publishing"] = str(error)
    found = peers(profile, skipped)
    shown, reached = tables(calls, found, costs.get("notifications")), goals(calls, found)
    for table in [*shown, Table.of_goals(reached)]:
        print(table.text())
    content = {"calls": calls, "peers": found, "costs": costs, "tables": shown, "skipped": skipped}
    seconds = round(time.monotonic() - began)
    save(
        "redis",
        {"profile": profile, "seconds": seconds, "goals": [goal.plain() for goal in reached], **content},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
