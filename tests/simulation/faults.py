"""What can be done to workers, to Redis and to the wires between, and the order in which a seed does it.

Each fault is a method that returns when it is over.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from support.lossy_bus import LossyBus
from support.redis_servers import RedisServer

WORKERS = ("kill a worker", "stop a worker")
KEEPS = (
    *WORKERS,
    "restart Redis",
    "stop Redis",
    "pause Redis",
    "kill subscribers",
    "kill publishers",
    "overrun a buffer",
    "cut a wire",
    "lose replies",
    "deafen a wire",
    "lose notifications",
)
"""Nothing that was acknowledged is lost."""
LOSES = ("restart Redis without its data", "flush Redis")
ALL = (*KEEPS, *LOSES)


class Workers(Protocol):
    """The processes that serve."""

    def pids(self) -> list[int]:
        """Of those that live now."""


@dataclass
class Notes:
    """What was done, and from when to when something acknowledged may have been lost by it."""

    counts: Counter[str] = field(default_factory=Counter)
    losses: list[tuple[float, float]] = field(default_factory=list)

    @contextmanager
    def loss(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.losses.append((began, time.monotonic()))


class Faults:
    """Args: share: how many of the notifications are lost all the time, on every wire."""

    def __init__(
        self, server: RedisServer, wires: Sequence[LossyBus], workers: Workers, seed: int, share: float
    ) -> None:
        self.notes = Notes()
        self._server = server
        self._wires = wires
        self._workers = workers
        self._random = random.Random(seed)
        self._share = share
        self._deeds: dict[str, Callable[[], None]] = {
            name: getattr(self, name.lower().replace(" ", "_").replace("'", "")) for name in ALL
        }
        for wire in wires:
            wire.share = share

    def go_on(self, kinds: Sequence[str], pauses: tuple[float, float], until: threading.Event) -> None:
        """One fault after the other, every kind as often as the others, until the event is set."""
        while kinds and not until.is_set():
            for name in self._random.sample(kinds, len(kinds)):
                if until.wait(self._random.uniform(*pauses)):
                    break
                self._deeds[name]()
                self.notes.counts[name] += 1
        until.wait()
        for wire in self._wires:
            self.notes.counts["notifications lost"] += wire.lost
            wire.share = 0.0

    def _sleep(self, least: float, most: float) -> None:
        time.sleep(self._random.uniform(least, most))

    def _wire(self) -> LossyBus:
        return self._random.choice(self._wires)

    # Workers.

    def kill_a_worker(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._random.choice(self._workers.pids()), signal.SIGKILL)

    def stop_a_worker(self) -> None:
        pid = self._random.choice(self._workers.pids())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._sleep(0.5, 6.0)
            os.kill(pid, signal.SIGCONT)

    # Redis.

    def restart_redis(self) -> None:
        self._server.kill()
        self._sleep(0.0, 3.0)
        self._server.start()

    def restart_redis_without_its_data(self) -> None:
        with self.notes.loss():
            self._server.kill()
            self._sleep(0.0, 1.0)
            self._server.restart(forget=True)

    def flush_redis(self) -> None:
        with self.notes.loss(), self._server.client() as client:
            client.flushall()

    def stop_redis(self) -> None:
        self._server.stop()
        self._sleep(0.5, 5.0)
        self._server.go_on()

    def pause_redis(self) -> None:
        with self._server.client() as client:
            client.client_pause(self._random.randrange(200, 3_000))

    def kill_subscribers(self) -> None:
        with self._server.client() as client:
            client.client_kill_filter(_type="pubsub")

    def kill_publishers(self) -> None:
        with self._server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def overrun_a_buffer(self) -> None:
        """The largest publications of the load are over this limit."""
        with self._server.client() as client:
            client.config_set("client-output-buffer-limit", "pubsub 4k 4k 1")
            self._sleep(0.5, 2.0)
            client.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")

    # Wires.

    def cut_a_wire(self) -> None:
        wire = self._wire()
        wire.cut()
        self._sleep(0.2, 4.0)
        wire.mend()

    def lose_replies(self) -> None:
        """What was asked is done, and the connection breaks before anybody hears."""
        wire = self._wire()
        wire.lose_replies = True
        self._sleep(0.1, 0.6)
        wire.drop_all()
        wire.lose_replies = False

    def deafen_a_wire(self) -> None:
        wire = self._wire()
        wire.deaf = True
        self._sleep(1.0, 9.0)
        wire.deaf = False

    def lose_notifications(self) -> None:
        wire = self._wire()
        wire.share = 0.5
        self._sleep(0.5, 3.0)
        wire.share = self._share
