"""Peers side by side, in one run: fan-out, latency, idle memory, long poll, short poll, connect rate; and our goals.

    python -m benchmarks.suite [--quick | --full] [--only WORD]

Every figure is per second of *server CPU*, all processes of the server counted; the load runs on another core, and its
own share of that core is in the table: near 100 % it may be what limits. Each round measures everything once, so that a
noisy minute hurts all alike; the tables show medians, and how far the others were from them. Results go to
build/bench/suite.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from .harness import (
    BenchmarkError,
    Goal,
    Sample,
    Table,
    compile_c,
    end_on_sigterm,
    environment,
    pin_load,
    raise_file_limit,
    save,
)
from .harness.build import ROOT
from .loading import LOAD, held, load
from .peers import (
    COALESCING,
    DJANGO,
    NCHAN_NAME,
    NODE_SOCKET_IO,
    PEERS,
    POLLED,
    PYWSGI,
    RTBRIDGE,
    SOCKETIO_GEVENT,
    C,
    Peer,
    Running,
)

PAYLOAD = 128
IDLE = ("idle WebSocket", "parked long poll", "idle event stream", "idle keep-alive")


@dataclass(frozen=True)
class Profile:
    """How much is measured. `budget` seconds bound it all: past it nothing further begins."""

    rounds: int
    seconds: float
    populations: tuple[int, ...]
    idle: int
    budget: float


PROFILES = {
    "quick": Profile(rounds=1, seconds=1.2, populations=(1000,), idle=2000, budget=250),
    "standard": Profile(rounds=3, seconds=2.5, populations=(1000,), idle=5000, budget=1350),
    "full": Profile(rounds=5, seconds=4, populations=(100, 1000, 5000), idle=5000, budget=7200),
}


@dataclass
class Figures:
    """All that was measured: by measure and name, one value per round; and what could not be, with the reason."""

    values: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, measure: str, name: str, value: float) -> None:
        self.values[measure][name].append(value)

    def sample(self, measure: str, name: str) -> Sample | None:
        values = self.values.get(measure, {}).get(name)
        return Sample.of(values) if values else None

    def ratio(self, measure: str, name: str, to: str) -> float | None:
        ours, theirs = self.sample(measure, name), self.sample(measure, to)
        return ours.median / theirs.median if ours and theirs and theirs.median else None

    def skip(self, name: str, error: Exception) -> None:
        reason = str(error).strip() or type(error).__name__
        print(f"   SKIPPED {name}: {reason.splitlines()[0]}", flush=True)
        self.skipped[name] = reason


def fan_out(peer: Peer, running: Running, population: int, profile: Profile, figures: Figures) -> None:
    common: dict[str, Any] = {"port": running.port, "count": population, "size": PAYLOAD, **peer.ws}
    for window in (1, 16):
        measure = f"fan-out {window} to {population}"
        try:
            result = load(running.cpu, "fanout", window=window, seconds=profile.seconds, **common)
            figures.add(measure, peer.name, result.per_cpu_second("deliveries"))
            figures.add(measure + " load share", peer.name, result.load_share)
            figures.add(measure + " lost", peer.name, result.seen["lost"] + result.seen["stalls"])
        except BenchmarkError as error:
            figures.skip(f"{peer.name}, {measure}", error)
    if population != 1000:
        return
    try:
        result = load(running.cpu, "fanout", rate=20, seconds=profile.seconds, **common)
        for name in ("p50", "p99"):
            figures.add(f"latency {name}", peer.name, result.seen[name])
    except BenchmarkError as error:
        figures.skip(f"{peer.name}, latency", error)


def slow_consumers(peer: Peer, profile: Profile, figures: Figures) -> None:
    """500 who read, alone and beside 500 who do not: what the others lose, and what is held for the sleepers."""
    common: dict[str, Any] = {
        "window": 16,
        "size": PAYLOAD,
        "warm": 4,
        "seconds": 2 * profile.seconds,
        **peer.ws,
    }
    try:
        with peer.running() as running:
            alone = load(running.cpu, "fanout", port=running.port, count=500, **common)
            grown = running.pss()
        with peer.running() as running:
            beside = load(running.cpu, "fanout", port=running.port, count=1000, asleep=500, **common)
            grown = running.pss() - grown
        share = beside.per_cpu_second("deliveries") / alone.per_cpu_second("deliveries")
        figures.add("slow consumers", peer.name, share)
        figures.add("slow consumers, KiB more", peer.name, grown)
    except BenchmarkError as error:
        figures.skip(f"{peer.name}, slow consumers", error)


def connect_rate(peer: Peer, running: Running, profile: Profile, figures: Figures) -> None:
    try:
        seconds = min(profile.seconds, 2)
        result = load(running.cpu, "connect", port=running.port, parallel=32, seconds=seconds, **peer.ws)
        figures.add("connects", peer.name, result.per_cpu_second("connects"))
    except BenchmarkError as error:
        figures.skip(f"{peer.name}, connects", error)


def memory(measure: str, name: str, running: Running, idle: int, figures: Figures, **options: object) -> None:
    """KiB per connection that does nothing, after some came and went."""
    try:
        with held(30, port=running.port, count=50, **options):
            pass
        time.sleep(0.3)
        before = running.pss()
        with held(30, port=running.port, count=idle, **options):
            time.sleep(0.5)
            figures.add(measure, name, (running.pss() - before) / idle)
    except BenchmarkError as error:
        figures.skip(f"{name}, {measure}", error)


def idle_memory(peer: Peer, profile: Profile, figures: Figures) -> None:
    """What else of ours may be open and do nothing."""
    with tempfile.NamedTemporaryFile("w", newline="") as file:
        file.write("GET / HTTP/1.1\r\n\r\n")
        file.flush()
        several: dict[str, dict[str, str]] = {
            "parked long poll": peer.longpoll,
            "idle event stream": {"dialect": "rtstream", "path": "/rt/poll"},
            "idle keep-alive": {"dialect": "http", "request": file.name},
        }
        for measure, options in several.items():
            with peer.running() as running:
                memory(measure, peer.name, running, profile.idle, figures, **options)


def long_poll(peer: Peer, running: Running, profile: Profile, figures: Figures) -> None:
    try:
        options = {
            "port": running.port,
            "count": 500,
            "size": PAYLOAD,
            "seconds": profile.seconds,
            **peer.longpoll,
        }
        result = load(running.cpu, "longpoll", **options)  # type: ignore[arg-type]
        figures.add("long poll", peer.name, result.per_cpu_second("deliveries"))
        figures.add("long poll load share", peer.name, result.load_share)
        figures.add("long poll lost", peer.name, result.seen["lost"] + result.seen["stalls"])
    except BenchmarkError as error:
        figures.skip(f"{peer.name}, long poll", error)


def _exchange(port: int, method: str, path: str, body: str | None = None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchmarkError(f"{method} {path}: status {answer.status}: {content[:200]!r}")
    return content


def _requests(
    measure: str, name: str, running: Running, request: str, new: int, profile: Profile, figures: Figures
) -> None:
    """Repeat one request on 16 kept connections, having looked once that its answer holds what it should."""
    try:
        line, _, rest = request.partition("\r\n")
        method, path = line.split()[:2]
        found = _exchange(running.port, method, path, rest.partition("\r\n\r\n")[2] or None).count(
            b'"offset"'
        )
        if found != new:
            raise BenchmarkError(f"{found} publications in the answer where {new} should be")
        with tempfile.NamedTemporaryFile("w", newline="") as file:
            file.write(request)
            file.flush()
            options: dict[str, Any] = {"port": running.port, "count": 16, "seconds": min(profile.seconds, 2)}
            result = load(running.cpu, "http", dialect="http", request=file.name, warm=0.3, **options)
        if result.seen["other_status"]:
            raise BenchmarkError(f"status {result.seen['status']}")
        figures.add(measure, name, result.per_cpu_second("answers"))
    except (BenchmarkError, OSError) as error:
        figures.skip(f"{name}, {measure}", error)


def short_poll(profile: Profile, figures: Figures) -> None:
    for name, start in POLLED.items():
        with Peer(name, start).running() as running:
            for measure, after, new in (("nothing new", 100, 0), ("one new", 99, 1)):
                if new and name.startswith("nginx"):
                    continue
                request = f"GET /poll?after={after} HTTP/1.1\r\n\r\n"
                _requests(f"short poll, {measure}", name, running, request, new, profile, figures)
    with PEERS[0].running() as running:
        for _ in range(20):
            _exchange(running.port, "POST", "/news", "x" * PAYLOAD)
            _exchange(running.port, "POST", "/feed", "x" * PAYLOAD)
        news = json.loads(_exchange(running.port, "GET", "/rt/channels/news"))["position"].rpartition(".")
        hello = {"type": "hello", "id": 1, "version": 1, "instance": "benchmark"}
        subscribe = {"type": "subscribe", "id": 2, "channel": "feed"}
        first = json.loads(
            _exchange(running.port, "POST", "/rt/poll", json.dumps({"commands": [hello, subscribe]}))
        )
        token = [message["token"] for message in first["messages"] if "token" in message][-1]
        feed = first["messages"][1]["position"].rpartition(".")
        for measure, back in (("nothing new", 0), ("one new", 1)):
            after = f"{news[0]}.{int(news[2]) - back}"
            request = f"GET /rt/channels/news?after={after} HTTP/1.1\r\n\r\n"
            _requests(f"short poll, {measure}", RTBRIDGE, running, request, back, profile, figures)
            position = f"{feed[0]}.{int(feed[2]) - back}"
            again = {"type": "subscribe", "channel": "feed", "position": position}
            body = json.dumps({"commands": [{**hello, "token": token}, again]})
            head = f"POST /rt/poll HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            _requests(
                f"short poll, {measure}", "rtbridge, POST", running, head + body, back, profile, figures
            )


def round_of(profile: Profile, figures: Figures, only: str, deadline: float) -> None:
    if only in "short poll":
        print("   short poll", flush=True)
        try:
            short_poll(profile, figures)
        except (BenchmarkError, OSError) as error:
            figures.skip("short poll", error)
    for peer in PEERS:
        if only not in peer.name:
            continue
        if time.monotonic() > deadline:
            figures.skip(peer.name, BenchmarkError("no time left"))
            continue
        print(f"   {peer.name}", flush=True)
        try:
            with peer.running() as running:
                for population in profile.populations:
                    fan_out(peer, running, population, profile, figures)
                connect_rate(peer, running, profile, figures)
            if peer.memory:
                with peer.running() as running:
                    memory("idle WebSocket", peer.name, running, profile.idle, figures, **peer.ws)
            if peer.longpoll:
                with peer.running() as running:
                    long_poll(peer, running, profile, figures)
            if peer.name == RTBRIDGE:
                slow_consumers(peer, profile, figures)
                idle_memory(peer, profile, figures)
        except BenchmarkError as error:
            figures.skip(peer.name, error)


# --- what it says -------------------------------------------------------------------------------------------------


def tables(profile: Profile, figures: Figures) -> list[Table]:
    found = []
    for population in profile.populations:
        one, many = (f"fan-out {window} to {population}" for window in (1, 16))
        table = Table(
            f"Fan-out to {population} WebSockets: deliveries per second of server CPU ({PAYLOAD} bytes)",
            ["1 in flight", "load share", "16 in flight", "load share", "lost"],
            note="load share: how busy the load generator's core was. lost: missing publications, and stalls.",
        )
        for peer in PEERS:
            lost = sum(sum(figures.values[f"{name} lost"][peer.name]) for name in (one, many))
            if figures.sample(one, peer.name) or figures.sample(many, peer.name):
                names = (one, one + " load share", many, many + " load share")
                table.add(peer.name, *(figures.sample(name, peer.name) for name in names), lost)
        found.append(table)
    table = Table("Latency at 20 publishes a second to 1000 WebSockets, ms", ["p50", "p99"])
    for peer in PEERS:
        if figures.sample("latency p50", peer.name):
            table.add(peer.name, *(figures.sample(f"latency {name}", peer.name) for name in ("p50", "p99")))
    found.append(table)
    columns = ["WebSocket", "long poll", "event stream", "keep-alive"]
    table = Table(f"Idle connections: KiB of PSS each, at {profile.idle}", columns)
    for peer in PEERS:
        if figures.sample("idle WebSocket", peer.name):
            table.add(
                peer.name,
                *(figures.sample(name, peer.name) for name in IDLE),
            )
    found.append(table)
    table = Table(
        "Long poll, 500 parked, browser-sized heads: deliveries per CPU second", ["", "load share", "lost"]
    )
    for peer in PEERS:
        if figures.sample("long poll", peer.name):
            lost = sum(figures.values["long poll lost"][peer.name])
            names = ("long poll", "long poll load share")
            table.add(peer.name, *(figures.sample(name, peer.name) for name in names), lost)
    found.append(table)
    measures = ("short poll, nothing new", "short poll, one new")
    table = Table("Short poll, browser-sized heads: answers per CPU second", ["nothing new", "one new"])
    for name in (RTBRIDGE, "rtbridge, POST", *POLLED):
        if figures.sample(measures[0], name):
            table.add(name, *(figures.sample(measure, name) for measure in measures))
    found.append(table)
    table = Table("Connects, handshake and subscription included, per CPU second", [""])
    for peer in PEERS:
        if figures.sample("connects", peer.name):
            table.add(peer.name, figures.sample("connects", peer.name))
    found.append(table)
    return [table for table in found if table.rows]


def goals(figures: Figures) -> list[Goal]:
    """What must be reached, as ratios within this run."""
    found = []

    def times(measure: str, label: str, *bounds: tuple[float, str]) -> None:
        for bound, peer in bounds:
            found.append(Goal(f"{label} / {peer}", bound, figures.ratio(measure, RTBRIDGE, peer), unit=" x"))

    def within(measure: str, label: str, *bounds: tuple[float, str]) -> None:
        for bound, peer in bounds:
            found.append(Goal(f"{label} / {peer}", bound, figures.ratio(measure, RTBRIDGE, peer), True, " x"))

    def kib(measure: str) -> None:
        sample = figures.sample(measure, RTBRIDGE)
        found.append(Goal(f"{measure}, each", 1.5, sample and sample.median, True, " KiB"))

    python, node = SOCKETIO_GEVENT, NODE_SOCKET_IO
    times("fan-out 1 to 1000", "fan-out, 1 in flight", (0.9, NCHAN_NAME), (1.5, node), (4, python), (0.6, C))
    times("fan-out 16 to 1000", "fan-out, 16 in flight", (0.6, COALESCING), (10, node), (15, python))
    for name in ("p50", "p99"):
        within(f"latency {name}", f"latency at 20/s, {name}", (1, node), (1.3, NCHAN_NAME))
    for measure in IDLE:
        kib(measure)
    times("long poll", "long poll, 500 parked", (0.6, NCHAN_NAME), (1.5, node), (8, python))
    for measure in ("nothing new", "one new"):
        times(f"short poll, {measure}", f"short poll, {measure}", (3, PYWSGI), (7, DJANGO))
    found.append(Goal("10,000 clients recover", 5, None, True, " s"))
    share = figures.sample("slow consumers", RTBRIDGE)
    found.append(
        Goal("500 of 1,000 do not read: throughput of the others", 0.9, share and share.median, unit=" x")
    )
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_const", dest="profile", const="quick", default="standard")
    parser.add_argument("--full", action="store_const", dest="profile", const="full")
    parser.add_argument("--only", default="", metavar="WORD", help="only peers whose name has it")
    options = parser.parse_args(arguments)
    profile, figures = PROFILES[options.profile], Figures()
    limit = raise_file_limit()
    idle = min(profile.idle, limit - 200)
    if idle < profile.idle:
        print(f"only {limit} files may be open: idle memory is measured at {idle}")
        profile = Profile(profile.rounds, profile.seconds, profile.populations, idle, profile.budget)
    pin_load()
    end_on_sigterm()
    compile_c(LOAD)
    began = time.monotonic()
    for number in range(profile.rounds):
        spent = time.monotonic() - began
        if number and spent * (number + 1) / number > profile.budget:
            print(f"no time for more than {number} rounds")
            break
        print(f"round {number + 1} of {profile.rounds}", flush=True)
        round_of(profile, figures, options.only, began + profile.budget)
    shown, reached = tables(profile, figures), goals(figures)
    for table in [*shown, Table.of_goals(reached)]:
        print(table.text())
    for name, reason in figures.skipped.items():
        print(f"SKIPPED {name}: {reason.splitlines()[0]}")
    facts = environment()
    print("\n" + json.dumps(facts, indent=None))
    verdicts = [
        {"name": goal.name, "bound": goal.bound, "value": goal.value, "verdict": goal.verdict}
        for goal in reached
    ]
    path = save(
        "suite",
        {
            "profile": options.profile,
            "seconds": round(time.monotonic() - began),
            "figures": figures.values,
            "tables": shown,
            "goals": verdicts,
            "skipped": figures.skipped,
        },
    )
    met = sum(goal.verdict == "reached" for goal in reached)
    print(f"{met} of {len(reached)} goals reached; {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
