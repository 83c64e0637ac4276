"""Asking Redis from one world: over shared pipelines, with our own retries, and with a breaker.

What is asked may be asked again: it changes nothing the second time, or it carries a receipt. It goes on until
the time is over. Then the breaker is open: others fail at once, and only now and then one tries.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from rtbridge.bus.redis.address import Address, Settings, read_address
from rtbridge.bus.redis.link import Greeted, LinkLost, ReplyError, pack, refusal
from rtbridge.bus.redis.lua import NAMES, script
from rtbridge.bus.redis.pipeline import Pipeline
from rtbridge.bus.redis.publishing import Outgoing
from rtbridge.bus.redis.topology import Topology
from rtbridge.bus.redis.world import World
from rtbridge.errors import BusUnavailable
from rtbridge.runtime import native_lock

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
"""Seconds between attempts: doubled each time."""
TRY_AGAIN, TRIAL = 0.5, 1.0
"""Seconds between attempts while the breaker is open, and the longest that one takes."""
REPLICA_SHARE = 0.7
"""Of the time for one question, what a replica may take to confirm: so that it can be said that none did."""

Command = Callable[[bytes], bytes] | Outgoing
"""A publication, or what makes a packed command from the fence of the server it goes to."""
Question = tuple[int, Command]
"""A command and the partition it is for."""


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
        return min(deadline, now + TRIAL)

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

    def ask(self, partition: int, command: Command) -> Any:
        """The reply to one command, which may be sent again when nobody knows if it was carried out.

        Raises:
            BusUnavailable: Redis is out of reach.
            BusError: Redis refuses.
        """
        deadline = self._breaker.enter(time.monotonic() + self._patience)
        pause = FIRST_PAUSE
        while True:
            try:
                reply = self._attempt(partition, command, deadline)
                self._breaker.close()
                return reply
            except LinkLost as lost:
                if time.monotonic() + pause >= deadline:
                    self._breaker.open(str(lost))
                    raise BusUnavailable(str(lost)) from lost
            self.world.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    def ask_all(self, questions: Sequence[Question]) -> list[Any]:
        """The replies to commands that may all be repeated; those for one server leave together.

        Raises:
            BusUnavailable: Redis is out of reach. Some may have been carried out.
            BusError: Redis refuses one of them.
        """
        replies: list[Any] = [None] * len(questions)
        servers: dict[Address | None, list[int]] = {}
        for index, (partition, _) in enumerate(questions):
            servers.setdefault(self._topology.known(partition), []).append(index)
        for address, indexes in servers.items():
            several: list[Any] = [ReplyError()] * len(indexes)
            if address is not None and len(indexes) > 1:
                several = self._together(address, [questions[index][1] for index in indexes])
            for index, reply in zip(indexes, several, strict=True):
                # What went wrong has its own attempts; it may have moved, or the connection broke.
                replies[index] = self.ask(*questions[index]) if isinstance(reply, Exception) else reply
        return replies

    def find(self, partition: int, deadline: float) -> Address:
        """Where a partition's server is. Raises LinkLost."""
        return self._topology.known(partition) or self._find(partition, deadline)

    def close(self) -> None:
        for pipeline in list(self._pipelines.values()):
            pipeline.close()

    def abandon(self) -> None:
        """In the child of a fork."""
        for pipeline in self._pipelines.values():
            pipeline.abandon()

    def _together(self, address: Address, commands: list[Command]) -> list[Any]:
        """The replies; errors where there are none."""
        deadline = self._breaker.enter(time.monotonic() + self._patience)
        try:
            pipeline = self._pipeline(address, deadline)
            return pipeline.ask([_question(command, pipeline.fence) for command in commands], deadline)
        except LinkLost as lost:
            self._topology.doubt(address)
            return [lost] * len(commands)

    def _attempt(self, partition: int, command: Command, deadline: float) -> Any:
        """Raises LinkLost if it is to be tried again."""
        address = self.find(partition, deadline)
        try:
            pipeline = self._pipelines.get(address)
            if pipeline is None or pipeline.broken:
                pipeline = self._pipeline(address, deadline)
            reply = pipeline.ask((_question(command, pipeline.fence),), deadline)[0]
        except LinkLost:
            self._topology.doubt(address)
            raise
        if isinstance(reply, ReplyError):
            return self._refused(partition, command, pipeline, reply, deadline)
        return reply

    def _refused(
        self, partition: int, command: Command, pipeline: Pipeline, error: Exception, deadline: float
    ) -> Any:
        """Raises LinkLost where another attempt may do better, else BusError."""
        text = str(error)
        word, *rest = text.split()
        if word == "NOSCRIPT":
            pipeline.ask([pack("SCRIPT", "LOAD", script(name).source) for name in NAMES], deadline)
            raise LinkLost(f"Redis at {pipeline.address} did not know our scripts")
        if word == "MOVED":
            self._topology.moved(partition, read_address(rest[1], pipeline.address))
            raise LinkLost(f"Redis at {pipeline.address} says: {text}")
        if word == "ASK":
            target = self._pipeline(read_address(rest[1], pipeline.address), deadline)
            # Alone: ASKING counts for the next command only.
            alone = command.packed(target.fence) if isinstance(command, Outgoing) else command(target.fence)
            reply = target.ask((pack("ASKING"), alone), deadline)[1]
            if isinstance(reply, ReplyError):
                raise LinkLost(f"Redis at {target.address} says: {reply}")
            return reply[0] if isinstance(command, Outgoing) else reply
        if word in ("READONLY", "CLUSTERDOWN", "MASTERDOWN"):
            pipeline.close()
            self._topology.doubt(pipeline.address)
            raise LinkLost(f"Redis at {pipeline.address} says: {text}")
        raise refusal(pipeline.address, error)

    def _find(self, partition: int, deadline: float) -> Address:
        """One at a time: a thousand who wait do not ask a thousand times."""
        with self._connecting:
            known = self._topology.known(partition)
            return known or self._topology.find(partition, self.world, deadline)

    def _pipeline(self, address: Address, deadline: float) -> Pipeline:
        pipeline = self._pipelines.get(address)
        if pipeline is not None and not pipeline.broken:
            return pipeline
        with self._connecting:
            pipeline = self._pipelines.get(address)
            if pipeline is None or pipeline.broken:
                link = Greeted(self.world, self._settings, address, deadline)
                wait = self._patience * REPLICA_SHARE
                pipeline = Pipeline(self.world, link, self._settings.durable, wait, self._patience)
                self._pipelines[address] = pipeline
                if not self._topology.sharded:
                    self._leave_all_but(address)
            return pipeline

    def _leave_all_but(self, address: Address) -> None:
        """There is one master; what we had before is none any more."""
        for other in [other for other in self._pipelines if other != address]:
            self._pipelines.pop(other).close()


def _question(command: Command, fence: bytes) -> bytes | Outgoing:
    return command if isinstance(command, Outgoing) else command(fence)
