"""Which server is the one to ask: the one there is, Sentinel's present master, or a slot's node of a Cluster.

What was learnt is kept until something shows that it is no longer true.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

from rtbridge.bus.redis.address import Address, Settings
from rtbridge.bus.redis.keys import Keys
from rtbridge.bus.redis.link import Link, LinkLost, ReplyError, pack, sign_in
from rtbridge.bus.redis.world import World

ASKING = 1.0
"""Seconds that one server may take to say where others are."""


class Topology(Protocol):
    """May be asked from any thread; asking twice at once does no harm."""

    sharded: bool
    """Whether partitions may be on different servers, and notifications are sharded."""

    def known(self, partition: int) -> Address | None:
        """Where the master of a partition is, as far as we know."""

    def find(self, partition: int, world: World, deadline: float) -> Address:
        """Find out.

        Raises:
            LinkLost: nobody can say now.
        """

    def look(self, world: World) -> None:
        """Look whether what is known is still true, where somebody can say."""

    def doubt(self, address: Address) -> None:
        """Something went wrong there: it has to be found anew."""

    def moved(self, partition: int, address: Address) -> None:
        """A server said that a partition is at another one."""


class One:
    """A single server."""

    sharded = False

    def __init__(self, address: Address) -> None:
        self._address = address

    def known(self, partition: int) -> Address | None:
        return self._address

    def find(self, partition: int, world: World, deadline: float) -> Address:
        return self._address

    def look(self, world: World) -> None:
        pass

    def doubt(self, address: Address) -> None:
        pass

    def moved(self, partition: int, address: Address) -> None:
        pass


class Sentinel:
    """The master of a service, as its sentinels see it.

    They may disagree: one that was cut off still names an old master. So all are asked, and the latest
    configuration counts.
    """

    sharded = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._master: Address | None = None

    def known(self, partition: int) -> Address | None:
        return self._master

    def find(self, partition: int, world: World, deadline: float) -> Address:
        found: list[tuple[int, Address]] = []
        failures: list[str] = []
        for sentinel in self._settings.addresses:
            try:
                found.append(self._ask(sentinel, world, min(deadline, time.monotonic() + ASKING)))
            except LinkLost as lost:
                failures.append(str(lost))
        if not found:
            raise LinkLost("no sentinel knows the master: " + "; ".join(failures))
        self._master = max(found, key=lambda answer: answer[0])[1]
        return self._master

    def look(self, world: World) -> None:
        try:
            self.find(0, world, time.monotonic() + ASKING)
        except LinkLost:
            pass  # the master may do very well without them

    def doubt(self, address: Address) -> None:
        if self._master == address:
            self._master = None

    def moved(self, partition: int, address: Address) -> None:
        pass

    def _ask(self, sentinel: Address, world: World, deadline: float) -> tuple[int, Address]:
        settings = self._settings
        link = Link(world, settings, sentinel, deadline)
        try:
            commands = sign_in(settings.sentinel_username, settings.sentinel_password)
            answer = link.ask([*commands, pack("SENTINEL", "MASTER", settings.service)], deadline)[-1]
        finally:
            link.close()
        if isinstance(answer, ReplyError):
            raise LinkLost(f"the sentinel at {sentinel} says of {settings.service!r}: {answer}")
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        return int(fields[b"config-epoch"]), Address(fields[b"ip"].decode(), int(fields[b"port"]))


class Cluster:
    """The nodes of a Redis Cluster."""

    sharded = True

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._settings = settings
        self._slots = keys.slots
        self._nodes: dict[int, Address] = {}

    def known(self, partition: int) -> Address | None:
        return self._nodes.get(partition)

    def find(self, partition: int, world: World, deadline: float) -> Address:
        failures: list[str] = []
        for node in dict.fromkeys((*self._nodes.values(), *self._settings.addresses)):
            try:
                self._nodes = self._ask(node, world, min(deadline, time.monotonic() + ASKING))
                return self._nodes[partition]
            except LinkLost as lost:
                failures.append(str(lost))
            except KeyError:
                failures.append(f"{node} knows nobody for slot {self._slots[partition]}")
        raise LinkLost("no node of the Redis Cluster can be asked: " + "; ".join(failures))

    def look(self, world: World) -> None:
        pass  # nodes say themselves what moved

    def doubt(self, address: Address) -> None:
        self._nodes = {partition: node for partition, node in self._nodes.items() if node != address}

    def moved(self, partition: int, address: Address) -> None:
        self._nodes = {**self._nodes, partition: address}

    def _ask(self, node: Address, world: World, deadline: float) -> dict[int, Address]:
        settings = self._settings
        link = Link(world, settings, node, deadline)
        try:
            commands = sign_in(settings.username, settings.password)
            answer = link.ask([*commands, pack("CLUSTER", "SLOTS")], deadline)[-1]
        finally:
            link.close()
        if isinstance(answer, ReplyError):
            raise LinkLost(f"Redis at {node} says: {answer}")
        return dict(self._places(node, answer))

    def _places(self, node: Address, ranges: list[Any]) -> Iterable[tuple[int, Address]]:
        for first, last, master, *_ in ranges:
            host = master[0].decode() if master[0] else node.host
            address = Address(host, master[1])
            for partition, slot in enumerate(self._slots):
                if first <= slot <= last:
                    yield partition, address


def make_topology(settings: Settings, keys: Keys) -> Topology:
    if settings.kind == "sentinel":
        return Sentinel(settings)
    if settings.kind == "cluster":
        return Cluster(settings, keys)
    return One(settings.addresses[0])
