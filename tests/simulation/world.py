"""The simulated house: workers, publishers and followers in processes of their own, Redis, wires, and a round robin.

`run(plan)` builds it, lets the load and the faults run, waits until all is quiet, and asks the oracle.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtbridge import Limits
from rtbridge.bus.redis import RedisBus
from rtbridge.client.ladder import RUNGS
from rtbridge.protocol.publications import Page
from support.lossy_bus import LossyBus
from support.redis_servers import PlainRedis
from support.round_robin import RoundRobin
from support.servers import Server, started

from . import faults, oracle

HERE = Path(__file__).resolve().parent
WORKERS = 4
SERVE = ("-m", "rtbridge", "serve", "chaos_site:application", "--workers", "1", "--bind", "127.0.0.1:{port}")
COUNTED = ("deliveries", "gaps", "polls", "fanout_repairs", "fanout_gaps")
START = 60.0
LATE = 120.0
"""Seconds that publishers may take beyond the plan."""


@dataclass(frozen=True)
class Plan:
    """What is to happen; also passed to every process.

    Attributes:
        publications: that are acknowledged, in `seconds` about.
        kept: families of channels, and how many publications each keeps.
        clients: per transport; every channel is followed by `followers` of them.
        faults: kinds, one every `pauses` seconds.
        restless: seconds between a client's changes of its own will.
        share: of the notifications, how many are lost all the time.
        patience: seconds that all have at last to reach the ends of the channels.
        mutant: see `mutants`.
    """

    seed: int
    publications: int
    seconds: float
    channels: tuple[str, ...]
    kept: dict[str, int]
    clients: int = 4
    followers: int = 1
    transports: tuple[str, ...] = tuple(RUNGS)
    faults: tuple[str, ...] = faults.ALL
    pauses: tuple[float, float] = (1.0, 4.0)
    restless: tuple[float, float] = (3.0, 15.0)
    share: float = 0.01
    patience: float = 60.0
    options: str = ""
    mutant: str | None = None

    def size(self, channel: str) -> int:
        return self.kept[channel.partition("/")[0]]


@dataclass
class Outcome:
    """What the oracle says, and what happened."""

    verdict: oracle.Verdict
    faults: Counter[str]
    did: Counter[str]
    counters: Counter[str]
    seconds: float
    settling: float
    """Seconds of these until all stood at the ends, when load and faults were over."""

    def report(self, plan: Plan) -> str:
        return "\n".join(
            [
                f"seed {plan.seed}, mutant {plan.mutant}: {len(plan.channels)} channels, {self.seconds:.0f} s, "
                f"at the ends after {self.settling:.1f} s",
                str(self.verdict),
                "faults: " + _listed(self.faults),
                "clients: " + _listed(self.did),
                "workers: " + _listed(self.counters),
            ]
        )


def seed() -> int:
    """`SEED=123 pytest …` repeats what can be repeated."""
    given = os.environ.get("SEED")
    return int(given) if given else random.SystemRandom().randrange(1_000_000)


def channels(count: int, short: int) -> tuple[str, ...]:
    """Names of `count` channels, of which `short` keep little."""
    return tuple(f"short/{n}" if n < short else f"long/{n}" for n in range(count))


class Workers:
    """Each under a supervisor of its own, so that the round robin knows it by its port."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    def pids(self) -> list[int]:
        found: list[int] = []
        for server in self.servers:
            pid = server.process.pid
            found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found


class Process:
    """A publisher or follower."""

    def __init__(self, script: str, folder: Path, environment: dict[str, str], mine: dict[str, Any]) -> None:
        self.name = str(mine["name"])
        self._errors = folder / f"{script}-{self.name}.err"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / f"{script}.py"), json.dumps(mine)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
            )

    def tell(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()

    def ask(self, what: str) -> Any:
        self.tell(what)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.name} is gone:\n{self.errors()}"
        return json.loads(line)

    def errors(self) -> str:
        return self._errors.read_text(errors="replace")[-3000:]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class House:
    """All that runs, between the wires and the round robin."""

    def __init__(self, plan: Plan, folder: Path, buses: Sequence[str], stack: ExitStack) -> None:
        """Args: buses: URLs; workers, and publishers, are spread over them."""
        self.plan = plan
        self.folder = folder
        self.workers = Workers()
        self.followers: list[Process] = []
        self.publishers: list[Process] = []
        self._buses = buses
        self._stack = stack
        for number in range(WORKERS):
            self.workers.servers.append(stack.enter_context(self._worker(number)))
        ports = [server.port for server in self.workers.servers]
        for server in self.workers.servers:
            until(lambda server=server: "serving http" in server.log(), START, server.log)
        self._proxy = stack.enter_context(RoundRobin(ports))

    def _environment(self, number: int) -> dict[str, str]:
        bus = self._buses[number % len(self._buses)]
        return {
            **os.environ,
            "RTBRIDGE_URL": bus,
            "CHAOS": json.dumps({**asdict(self.plan), "folder": str(self.folder)}),
        }

    @contextmanager
    def _worker(self, number: int) -> Iterator[Server]:
        command = [sys.executable, *SERVE]
        with started(f"worker{number}", command, self.folder, cwd=HERE, env=self._environment(number)) as one:
            yield one

    def _start(self, script: str, number: int, mine: dict[str, Any]) -> Process:
        process = Process(script, self.folder, self._environment(number), mine)
        self._stack.callback(process.end)
        return process

    def follow(self) -> None:
        """Start the clients, and wait until they follow every channel."""
        plan, url = self.plan, f"http://127.0.0.1:{self._proxy.port}/rt/"
        for number, transport in enumerate(plan.transports):
            clients = []
            for index in range(plan.clients):
                mine = [
                    channel
                    for place, channel in enumerate(plan.channels)
                    if any((place + more) % plan.clients == index for more in range(plan.followers))
                ]
                clients.append((f"{transport}{index}", transport, mine))
            mine = {"name": transport, "url": url, "clients": clients}
            self.followers.append(self._start("follower", number, mine))
        until(lambda: not self._missing(), START, self.errors)

    def _wanting(self) -> list[dict[str, dict[str, str]]]:
        return [follower.ask("positions")["positions"] for follower in self.followers]

    def _missing(self) -> int:
        """Subscriptions that are not confirmed."""
        there = sum(len(where) for clients in self._wanting() for where in clients.values())
        return len(self.plan.channels) * self.plan.followers * len(self.plan.transports) - there

    def publish(self) -> None:
        plan = self.plan
        for number, (name, world) in enumerate([("threads", "threads"), ("greenlets", "gevent")]):
            count, rate = plan.publications // 2, plan.publications / plan.seconds / 2
            mine = {"name": name, "world": world, "threads": 4, "count": count, "rate": rate}
            self.publishers.append(self._start("publisher", number, mine))

    def wait_for_publishers(self) -> None:
        deadline = time.monotonic() + self.plan.seconds + LATE
        for publisher in self.publishers:
            code = publisher.process.wait(max(1.0, deadline - time.monotonic()))
            assert code == 0, publisher.errors()

    def settle(self, bus: RedisBus) -> Counter[str]:
        """Wait until every client stands where its channels do, or patience ends. What the clients did."""
        for follower in self.followers:
            follower.ask("calm")
        deadline = time.monotonic() + self.plan.patience
        while self._behind(bus) and time.monotonic() < deadline:
            time.sleep(0.25)
        did: Counter[str] = Counter()
        for follower in self.followers:
            did.update(follower.ask("positions")["did"])
            follower.tell("stop")
        for follower in self.followers:
            assert follower.process.wait(30) == 0, follower.errors()
        return did

    def _behind(self, bus: RedisBus) -> int:
        ends = dict(zip(self.plan.channels, map(str, bus.positions(self.plan.channels)), strict=True))
        clients = [where for found in self._wanting() for where in found.values()]
        return sum(ends[channel] != position for where in clients for channel, position in where.items())

    def judge(self, bus: RedisBus, losses: Sequence[tuple[float, float]]) -> oracle.Verdict:
        finals = {}
        for channel in self.plan.channels:
            page = bus.read(channel, None, 100_000)
            assert isinstance(page, Page)
            kept = tuple((one.offset, str(one.value()).split(" ")[0]) for one in page.publications)
            position = (page.position.epoch, page.position.offset)
            finals[channel] = oracle.Final(position, kept, self.plan.size(channel))
        return oracle.judge(
            oracle.read_attempts(self.folder.glob("publisher-*.log")),
            oracle.read_seen(self.folder.glob("follower-*.log")),
            finals,
            losses,
        )

    def live(self, chaos: Callable[[threading.Event], None], url: str, notes: faults.Notes) -> Outcome:
        """Load and faults, then quiet, then the verdict.

        Args:
            chaos: does the faults until the event is set, and has mended everything when it returns.
            url: of the bus in the end.
        """
        began = time.monotonic()
        self.follow()
        self.publish()
        over = threading.Event()
        thread = threading.Thread(target=chaos, args=(over,))
        thread.start()
        try:
            self.wait_for_publishers()
        finally:
            over.set()
            thread.join(60)
        assert not thread.is_alive()
        bus = RedisBus(url, Limits(page_publications=100_000, page_bytes=1 << 30))
        self._stack.callback(bus.close)
        settling = time.monotonic()
        did = self.settle(bus)
        settled = time.monotonic()
        verdict = self.judge(bus, notes.losses)
        return Outcome(verdict, notes.counts, did, self._counters(), settled - began, settled - settling)

    def _counters(self) -> Counter[str]:
        """What the workers counted, also those that were killed."""
        total: Counter[str] = Counter()
        for file in self.folder.glob("counters-*.json"):
            counted = json.loads(file.read_text())
            total.update({name: int(counted.get(name, 0)) for name in COUNTED})
        return total

    def errors(self) -> str:
        return "\n".join(process.errors() for process in (*self.followers, *self.publishers))


def run(plan: Plan, folder: Path) -> Outcome:
    """The whole simulation on one Redis, whose two wires each carry half of the processes."""
    with ExitStack() as stack:
        # Written with every turn and not fsynced: a killed process has lost nothing.
        server = stack.enter_context(PlainRedis("appendonly yes", "appendfsync no"))
        wires = [stack.enter_context(LossyBus(server.port, plan.seed + n)) for n in range(2)]
        urls = [f"redis://127.0.0.1:{wire.port}/0{plan.options}" for wire in wires]
        house = House(plan, folder, urls, stack)
        deeds = faults.Faults(server, wires, house.workers, plan.seed, plan.share)
        return house.live(
            lambda over: deeds.go_on(plan.faults, plan.pauses, over), server.url + plan.options, deeds.notes
        )


def until(condition: Any, seconds: float, why: Any) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s\n{why()}"
        time.sleep(0.1)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts)) or "nothing"
