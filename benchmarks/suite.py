"""Peers side by side, in one run: fan-out, latency, idle memory, long poll, short poll, connect rate; and our goals.

    python -m benchmarks.suite [--quick | --full] [--only WORD]

Every figure is per second of *server CPU*, all processes of the server counted; the load runs on another core, and its
own share of that core is in the table: near 100 % it may be what limits. Each round measures everything once, so that a
noisy minute hurts all alike; the tables show medians, and how far the others were from them. Results go to
build/bench/suite.json.
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

from .figures import PAYLOAD, PROFILES, Figures, Profile
from .harness import BenchmarkError, Table, environment, save
from .harness.build import ROOT
from .loading import held, load
from .options import begin, parser_for, within
from .peers import OURS_GET, PEERS, POLLED, RTBRIDGE, RTBRIDGE_GET, Peer, Running
from .slow import slow_consumers
from .verdicts import goals, tables


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
        if only not in peer.name or peer.name not in profile.peers:
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
                with peer.running() as running:
                    by_get = replace(peer, name=RTBRIDGE_GET, longpoll=OURS_GET)
                    long_poll(by_get, running, profile, figures)
                slow_consumers(peer, profile, figures)
                idle_memory(peer, profile, figures)
        except BenchmarkError as error:
            figures.skip(peer.name, error)


def main(arguments: list[str] | None = None) -> int:
    parser = parser_for(__doc__)
    parser.add_argument("--only", default="", metavar="WORD", help="only peers whose name has it")
    options = parser.parse_args(arguments)
    profile, figures = PROFILES[options.profile], Figures()
    limit = begin()
    idle = min(profile.idle, limit - 200)
    if idle < profile.idle:
        print(f"only {limit} files may be open: idle memory is measured at {idle}")
        profile = replace(profile, idle=idle)
    began, budget = time.monotonic(), within(profile.budget)
    for number in range(profile.rounds):
        spent = time.monotonic() - began
        if number and spent * (number + 1) / number > budget:
            print(f"no time for more than {number} rounds")
            break
        print(f"round {number + 1} of {profile.rounds}", flush=True)
        round_of(profile, figures, options.only, began + budget)
    shown, reached = tables(profile, figures), goals(figures)
    for table in [*shown, Table.of_goals(reached)]:
        print(table.text())
    for name, reason in figures.skipped.items():
        print(f"SKIPPED {name}: {reason.splitlines()[0]}")
    facts = environment()
    print("\n" + json.dumps(facts, indent=None))
    path = save(
        "suite",
        {
            "profile": options.profile,
            "seconds": round(time.monotonic() - began),
            "figures": figures.values,
            "tables": shown,
            "goals": [goal.plain() for goal in reached],
            "skipped": figures.skipped,
        },
    )
    met = sum(goal.verdict == "reached" for goal in reached)
    print(f"{met} of {len(reached)} goals reached; {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
