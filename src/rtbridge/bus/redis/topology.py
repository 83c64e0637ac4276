"""Which server is the one to ask: the one there is, Sentinel's present master, or a slot's node of a Cluster.

What was learnt is kept until something shows that it is no longer true.
"""

from __future__ import annotations

from typing import Protocol

from rtbridge.bus.redis.address import Address, Settings
from rtbridge.bus.redis.keys import Keys
from rtbridge.bus.redis.world import World
from rtbridge.errors import ConfigError


class Topology(Protocol):
    """May be asked from any thread; asking twice at once does no harm."""

    sharded: bool
    """Whether partitions may be on different servers, and notifications are sharded."""

    def server(self, partition: int, world: World, deadline: float) -> Address:
        """Where the master of a partition is.

        Raises:
            LinkLost: nobody can say now.
        """

    def group(self, partition: int) -> int:
        """Partitions of one group can be asked for with one script."""

    def doubt(self, address: Address) -> None:
        """Something went wrong there: find out anew."""

    def moved(self, partition: int, address: Address) -> None:
        """That server said that a partition is elsewhere."""


class One:
    """A single server."""

    sharded = False

    def __init__(self, address: Address) -> None:
        self._address = address

    def server(self, partition: int, world: World, deadline: float) -> Address:
        return self._address

    def group(self, partition: int) -> int:
        return 0

    def doubt(self, address: Address) -> None:
        pass

    def moved(self, partition: int, address: Address) -> None:
        pass


def make_topology(settings: Settings, keys: Keys) -> Topology:
    if settings.kind == "plain":
        return One(settings.addresses[0])
    raise ConfigError(f"no bus for {settings.url}")
