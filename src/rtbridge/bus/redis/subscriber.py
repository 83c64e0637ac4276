"""Who in this process watches what: which ear a channel's lane is at, and what is done with what it hears."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable

from rtbridge.bus.contract import Listener
from rtbridge.bus.redis import answers
from rtbridge.bus.redis.address import Address, Settings
from rtbridge.bus.redis.client import Breaker, Client
from rtbridge.bus.redis.ear import Ear, Lane
from rtbridge.bus.redis.keys import Keys
from rtbridge.bus.redis.link import pack
from rtbridge.bus.redis.topology import Topology
from rtbridge.bus.redis.world import Waiter, World
from rtbridge.errors import BusError, BusUnavailable
from rtbridge.runtime import native_lock

logger = logging.getLogger("rtbridge")


class Subscriber:
    """One for a process. It has one ear; on a Cluster one for each node that has lanes of ours.

    Args:
        client: gives the client of the caller's world, to find servers and publish probes with.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        topology: Topology,
        breaker: Breaker,
        client: Callable[[], Client],
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._topology = topology
        self._breaker = breaker
        self._client = client
        self._name = secrets.token_urlsafe(6)
        self._lock = native_lock()
        self._world: World | None = None
        self._ears: dict[Address | None, Ear] = {}  # None: the one there is, wherever the server is now
        self._homes: dict[Ear, Address | None] = {}
        self._places: dict[bytes, Ear] = {}
        self._watched: dict[bytes, str] = {}
        self._closed = False
        self.listener: Listener | None = None

    def watch(self, channel: str, patience: float, meanwhile: Callable[[], object]) -> None:
        """
        Args:
            meanwhile: what there is to do while the confirmation is on its way.

        Raises:
            BusUnavailable: it was not confirmed in time. Then it is not watched, unless it was before.
        """
        deadline = self._breaker.enter(time.monotonic() + patience)
        client, lane, key = self._client(), self._keys.lane(channel), channel.encode()
        waiter = client.world.waiter()
        with self._lock:
            known = key in self._watched
            self._watched[key] = channel
        live = False
        try:
            if known:
                place = self._places.get(lane)
                live = place is not None and place.wait(lane, waiter)
            else:
                live = self._enter(Lane(lane, self._keys.partition(channel)), client, deadline, waiter)
            meanwhile()
            live = live or waiter.wait(deadline - time.monotonic())
        except BaseException:
            live = False
            raise
        finally:
            if not live and not known:
                self.unwatch(channel)
        if not live:
            raise BusUnavailable(f"Redis is out of reach: {channel!r} cannot be watched")

    def unwatch(self, channel: str) -> None:
        lane = self._keys.lane(channel)
        with self._lock:
            if self._watched.pop(channel.encode(), None) is None:
                return
            ear = self._places.pop(lane, None)
            if ear is None:
                return
            ear.leave(lane)
        ear.flush()

    def close(self) -> None:
        self._closed = True
        for ear in list(self._ears.values()):
            ear.close()

    def lag(self) -> float:
        """The slowest ear's."""
        return max((ear.lag for ear in list(self._ears.values())), default=0.0)

    def abandon(self) -> None:
        """In the child of a fork."""
        for ear in list(self._ears.values()):
            ear.abandon()

    # Where lanes are.

    def _enter(self, lane: Lane, client: Client, deadline: float, waiter: Waiter) -> bool:
        home = client.find(lane.partition, deadline) if self._topology.sharded else None
        with self._lock:
            ear = self._ear(home, lane.partition, client.world)
            self._places[lane.name] = ear
            live = ear.use(lane, waiter)
        ear.flush()
        return live

    def _ear(self, home: Address | None, partition: int, world: World) -> Ear:
        """The one for that server. With the lock held."""
        ear = self._ears.get(home)
        if ear is None:
            # All live in the world of the first: it is the one that serves.
            self._world = self._world or world
            probe = Lane(self._keys.probe(partition, self._name), partition)
            ear = self._ears[home] = Ear(self._world, self._settings, self._topology.sharded, self, probe)
            self._homes[ear] = home
            ear.start()
        return ear

    # For ears.

    def where(self, ear: Ear, deadline: float) -> Address | None:
        """On a Cluster an ear stays at its node, and gives up lanes that have moved from there."""
        client = self._client()
        home = self._homes[ear]
        if home is None:
            return client.find(0, deadline)
        for lane in ear.lanes():
            now = client.find(lane.partition, deadline)
            if now != home:
                with self._lock:
                    other = self._places[lane.name] = self._ear(now, lane.partition, ear.world)
                    other.adopt(ear.give_up(lane))
                other.flush()
        with self._lock:
            if ear.lanes():
                return home
            self._ears.pop(home, None)
            self._homes.pop(ear, None)
        return None

    def is_right(self, ear: Ear, address: Address) -> bool:
        if not self._topology.sharded:
            return self._topology.known(0) in (address, None)
        return all(self._topology.known(lane.partition) in (address, None) for lane in ear.lanes())

    def probe(self, lane: Lane, number: int) -> None:
        client = self._client()
        word = "SPUBLISH" if self._topology.sharded else "PUBLISH"
        try:
            self._topology.look(client.world)
            client.ask(lane.partition, lambda _: pack(word, lane.name, number))
        except BusError as error:
            logger.debug("A probe was not published: %s", error)

    def heard(self, payload: bytes) -> int:
        name, head, news = payload.split(b"\n", 2)
        channel = self._watched.get(name)
        listener = self.listener
        if channel is None or listener is None:
            return 0
        epoch, publications = answers.notification(head, news)
        try:
            listener.arrived(channel, epoch, *publications)
        except Exception:
            logger.exception("The listener of the bus failed")
        return len(publications)

    def live(self) -> None:
        self._breaker.close()
        listener = self.listener
        if listener is not None:
            listener.suspect(None)
