"""Hearing of what is published: one connection for a process and server, however many channels it watches.

A channel's notifications come on its *lane*, to which the process subscribes; some channels share one. What is wanted
and not yet asked for leaves together in one SUBSCRIBE. When the connection breaks, all lanes are asked for anew, and
then the listener is told to compare positions: between the two something may have been missed.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any

from rtbridge.bus.contract import Listener
from rtbridge.bus.redis.address import Address, Settings
from rtbridge.bus.redis.link import Greeted, LinkLost, pack
from rtbridge.bus.redis.world import Waiter, World
from rtbridge.errors import BusError, BusUnavailable
from rtbridge.protocol.publications import Publication
from rtbridge.runtime import native_lock

logger = logging.getLogger("rtbridge")
BATCH = 512
"""Lanes in one SUBSCRIBE."""
CONNECT = 2.0
"""Seconds a connection may take."""
IDLE = 3600.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


class Lane:
    """One name that we are subscribed to, or mean to be.

    `asked`: SUBSCRIBEs that were sent and not yet confirmed. `users`: watched channels whose notifications come on it.
    """

    __slots__ = ("asked", "confirmed", "name", "users", "waiting")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.users = 0
        self.asked = 0
        self.confirmed = False
        self.waiting: list[Waiter] = []


class Ear:
    """The subscriber connection to one server. `where` says which one it is now."""

    def __init__(
        self,
        world: World,
        settings: Settings,
        where: Callable[[World, float], Address],
        heard: Callable[[bytes], None],
        live: Callable[[], None],
        sharded: bool,
    ) -> None:
        self._world = world
        self._settings = settings
        self._where = where
        self._heard = heard
        self._live = live
        self._words = ("SSUBSCRIBE", "SUNSUBSCRIBE") if sharded else ("SUBSCRIBE", "UNSUBSCRIBE")
        self._lock = native_lock()
        self._lanes: dict[bytes, Lane] = {}
        self._changes: dict[bytes, bool] = {}
        self._link: Greeted | None = None
        self._sending = False
        self._closed = False
        self._unconfirmed = 0
        world.spawn(self._run)

    # From anywhere.

    def use(self, name: bytes, waiter: Waiter) -> bool:
        """One more uses this lane. False: `waiter` is woken when it is confirmed."""
        with self._lock:
            lane = self._lanes.get(name)
            if lane is None:
                lane = self._lanes[name] = Lane(name)
                self._changes[name] = True
            lane.users += 1
            if lane.confirmed:
                return True
            lane.waiting.append(waiter)
        self._flush()
        return False

    def is_live(self, name: bytes) -> bool:
        lane = self._lanes.get(name)
        return lane is not None and lane.confirmed

    def leave(self, name: bytes) -> None:
        """One less uses it."""
        with self._lock:
            lane = self._lanes[name]
            lane.users -= 1
            if lane.users:
                return
            del self._lanes[name]
            self._changes[name] = False
        self._flush()

    def hang_up(self) -> None:
        """Have the connection made anew."""
        link = self._link
        if link is not None:
            link.hang_up()

    def close(self) -> None:
        self._closed = True
        self.hang_up()

    # Sending.

    def _flush(self) -> None:
        """Ask for what is wanted, unless somebody is at it or there is no connection."""
        while True:
            with self._lock:
                link = self._link
                if self._sending or link is None or not self._changes:
                    return
                self._sending = True
                data = self._take_changes()
            try:
                link.send(data, time.monotonic() + CONNECT)
            except LinkLost:
                link.hang_up()
                return
            finally:
                self._sending = False

    def _take_changes(self) -> bytes:
        names: tuple[list[bytes], list[bytes]] = ([], [])
        while self._changes and len(names[0]) + len(names[1]) < BATCH:
            name, wanted = self._changes.popitem()
            lane = self._lanes.get(name)
            if not wanted:
                names[1].append(name)
            if lane is not None:
                # Wanted again before we came to say that it was not: in this order both are said.
                names[0].append(name)
                lane.asked += 1
                self._unconfirmed += 1
        return b"".join(pack(self._words[i], *names[i]) for i in (1, 0) if names[i])

    # The connection: one greenlet or thread.

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed:
            try:
                deadline = time.monotonic() + CONNECT
                link = Greeted(self._world, self._settings, self._where(self._world, deadline), deadline)
            except BusError as error:
                logger.warning("Not hearing of publications: %s", error)
            else:
                pause = FIRST_PAUSE
                try:
                    self._listen(link)
                except LinkLost as lost:
                    if not self._closed:
                        logger.warning("Stopped hearing of publications: %s", lost)
                finally:
                    self._lost(link)
            if not self._closed:
                self._world.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)

    def _listen(self, link: Greeted) -> None:
        with self._lock:
            self._changes = dict.fromkeys(self._lanes, True)
            self._unconfirmed = 0
            self._link = link
            anew = bool(self._lanes)
        self._flush()
        while True:
            if anew and not self._unconfirmed and not self._changes:
                anew = False
                self._live()
            for message in link.receive(time.monotonic() + IDLE):
                self._message(message)

    def _message(self, message: Any) -> None:
        kind = message[0] if isinstance(message, list) else b""
        if kind in (b"message", b"smessage"):
            self._heard(message[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._confirm(message[1])
        elif isinstance(message, Exception):
            raise LinkLost(f"Redis does not let us subscribe: {message}")

    def _confirm(self, name: bytes) -> None:
        with self._lock:
            self._unconfirmed -= 1
            lane = self._lanes.get(name)
            if lane is None:
                return
            lane.asked -= 1
            if lane.asked > 0:
                return
            lane.confirmed = True
            waiting, lane.waiting = lane.waiting, []
        for waiter in waiting:
            waiter.wake()

    def _lost(self, link: Greeted) -> None:
        with self._lock:
            self._link = None
            for lane in self._lanes.values():
                lane.confirmed = False
                lane.asked = 0
        link.close()


class Subscriber:
    """Who watches what, in one process."""

    def __init__(self, make_ear: Callable[[World, Callable[[bytes], None], Callable[[], None]], Ear]) -> None:
        self._make_ear = make_ear
        self._lock = native_lock()
        self._ear: Ear | None = None
        self._watched: dict[bytes, str] = {}
        self.listener: Listener | None = None

    def watch(self, channel: str, lane: bytes, world: World, patience: float) -> None:
        """
        Raises:
            BusUnavailable: it was not confirmed in time.
        """
        deadline = time.monotonic() + patience
        key = channel.encode()
        waiter = world.waiter()
        with self._lock:
            if self._ear is None:
                self._ear = self._make_ear(world, self._heard, self._live)
            ear = self._ear
            known = key in self._watched
            self._watched[key] = channel
        if known:
            if ear.is_live(lane):
                return
            # Watched before, and just now cut off: the reconnecting one will tell the listener.
            raise BusUnavailable("Redis is out of reach: not hearing of publications at the moment")
        if ear.use(lane, waiter):
            return
        try:
            live = waiter.wait(deadline - time.monotonic())
        except BaseException:
            self.unwatch(channel, lane)
            raise
        if not live:
            self.unwatch(channel, lane)
            raise BusUnavailable(f"Redis is out of reach: {channel!r} cannot be watched")

    def unwatch(self, channel: str, lane: bytes) -> None:
        with self._lock:
            if self._watched.pop(channel.encode(), None) is None or self._ear is None:
                return
            ear = self._ear
        ear.leave(lane)

    def close(self) -> None:
        if self._ear is not None:
            self._ear.close()

    # From the ear.

    def _heard(self, payload: bytes) -> None:
        name, head, data = payload.split(b"\n", 2)
        channel = self._watched.get(name)
        listener = self.listener
        if channel is None or listener is None:
            return
        epoch, offset, cause = head.decode().split(" ", 2)
        try:
            listener.arrived(channel, epoch, Publication(int(offset), data, cause or None))
        except Exception:
            logger.exception("The listener of the bus failed")

    def _live(self) -> None:
        listener = self.listener
        if listener is not None:
            listener.suspect(None)
