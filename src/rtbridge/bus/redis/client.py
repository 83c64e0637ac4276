"""Asking Redis from one world: over shared pipelines, with our own retries, and with a breaker.

What is asked may be asked again where that changes nothing; a publish carries a receipt for it. It goes on until
the time is over. Then the breaker is open: others fail at once, and only now and then one tries.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from rtbridge.bus.redis.address import Address, Settings
from rtbridge.bus.redis.link import Greeted, LinkLost, ReplyError, pack, refusal
from rtbridge.bus.redis.lua import NAMES, script
from rtbridge.bus.redis.pipeline import Pipeline
from rtbridge.bus.redis.topology import Topology
from rtbridge.bus.redis.world import World
from rtbridge.errors import BusUnavailable
from rtbridge.runtime import native_lock

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds between attempts: doubled each time."""
TRY_AGAIN = 1.0
"""Seconds between attempts while the breaker is open, and the longest that one takes."""


class Breaker:
    """Whether it is worth while to wait for Redis. One for a process."""

    def __init__(self) -> None:
        self._lock = native_lock()
        self._why = ""
        self._next_try = 0.0

    def enter(self, deadline: float) -> float:
        """The deadline for an attempt: less where the breaker is open and this is the one that tries.

        Raises:
            BusUnavailable: it is open.
        """
        if not self._why:
            return deadline
        now = time.monotonic()
        with self._lock:
            if now < self._next_try:
                raise BusUnavailable(f"Redis is out of reach: {self._why}")
            self._next_try = now + TRY_AGAIN
        return min(deadline, now + TRY_AGAIN)

    def open(self, why: str) -> None:
        with self._lock:
            self._why = why
            self._next_try = time.monotonic() + TRY_AGAIN

    def close(self) -> None:
        self._why = ""


class Client:
    """For the callers of one world.

    Args:
        patience: seconds that one question may take.
    """

    def __init__(
        self, world: World, settings: Settings, topology: Topology, breaker: Breaker, patience: float
    ) -> None:
        self.world = world
        self._settings = settings
        self._topology = topology
        self._breaker = breaker
        self._patience = patience
        self._connecting = world.lock()
        self._pipelines: dict[Address, Pipeline] = {}

    def ask(
        self, partition: int, commands: Callable[[bytes], Sequence[bytes]], *, again: bool = True
    ) -> list[Any]:
        """The replies to `commands(fence)`, all for one partition's server.

        Args:
            again: whether they may be repeated when nobody knows if they were carried out.

        Raises:
            BusUnavailable: Redis is out of reach.
            BusError: Redis refuses.
        """
        deadline = self._breaker.enter(time.monotonic() + self._patience)
        pause = FIRST_PAUSE
        while True:
            try:
                replies = self._attempt(partition, commands, deadline)
                self._breaker.close()
                return replies
            except LinkLost as lost:
                if lost.sent and not again:
                    raise BusUnavailable(f"{lost}; nobody knows whether it was done") from lost
                if time.monotonic() + pause >= deadline:
                    self._breaker.open(str(lost))
                    raise BusUnavailable(str(lost)) from lost
            self.world.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    def close(self) -> None:
        for pipeline in list(self._pipelines.values()):
            pipeline.close()

    def _attempt(
        self, partition: int, commands: Callable[[bytes], Sequence[bytes]], deadline: float
    ) -> list[Any]:
        """Raises LinkLost if it is to be tried again."""
        address = self._topology.server(partition, self.world, deadline)
        try:
            pipeline = self._pipeline(address, deadline)
            replies = pipeline.ask(commands(pipeline.fence), deadline)
            for reply in replies:
                if isinstance(reply, ReplyError):
                    self._refused(partition, pipeline, reply, deadline)
        except LinkLost:
            self._topology.doubt(address)
            raise
        return replies

    def _refused(self, partition: int, pipeline: Pipeline, error: Exception, deadline: float) -> None:
        """Raises LinkLost where another attempt may do better, else BusError."""
        text = str(error)
        if text.startswith("NOSCRIPT"):
            pipeline.ask([pack("SCRIPT", "LOAD", script(name).source) for name in NAMES], deadline)
            raise LinkLost(f"Redis at {pipeline.address} did not know our scripts")
        if text.startswith("READONLY"):
            pipeline.close()
            raise LinkLost(f"Redis at {pipeline.address} has become a replica")
        raise refusal(pipeline.address, error)

    def _pipeline(self, address: Address, deadline: float) -> Pipeline:
        pipeline = self._pipelines.get(address)
        if pipeline is not None and not pipeline.broken:
            return pipeline
        with self._connecting:
            pipeline = self._pipelines.get(address)
            if pipeline is None or pipeline.broken:
                link = Greeted(self.world, self._settings, address, deadline)
                pipeline = Pipeline(self.world, link, self._settings.durable, self._patience)
                self._pipelines[address] = pipeline
            return pipeline
