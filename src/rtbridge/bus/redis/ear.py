"""One subscriber connection to one server, made anew as often as needed.

A channel's notifications come on its *lane*, to which we subscribe. What is wanted and not yet asked for leaves
together in one SUBSCRIBE. When the connection breaks, all lanes are asked for anew, and then somebody is told: between
the two something may have been missed. A connection can also be open and deaf. So we publish to ourselves, the way all
publications go, and hang up if it does not arrive.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from typing import Any, Protocol

from rtbridge.bus.redis.address import Address, Settings
from rtbridge.bus.redis.link import Greeted, LinkLost, pack
from rtbridge.bus.redis.world import Waiter, World
from rtbridge.errors import BusError
from rtbridge.runtime import native_lock

logger = logging.getLogger("rtbridge")
BATCH = 512
"""Lanes in one SUBSCRIBE."""
CONNECT = 2.0
"""Seconds a connection may take."""
PROBE_EVERY, PROBE_PATIENCE = 2.5, 4.0
"""Seconds between probes, and until one that did not arrive shows that we are deaf."""
MANY = 32
"""Publications after which others have their turn."""
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25


class Lane:
    """A name that we are subscribed to, or mean to be.

    Attributes:
        partition: whose hash tag is in the name; lanes of one SSUBSCRIBE must share it.
        waiting: those who want to know when it is.
    """

    __slots__ = ("confirmed", "name", "partition", "waiting")

    def __init__(self, name: bytes, partition: int) -> None:
        self.name = name
        self.partition = partition
        self.confirmed = False
        self.waiting: list[Waiter] = []


class Owner(Protocol):
    """What an ear calls, in its own thread or greenlet. Only `where` and `probe` may block."""

    def where(self, ear: Ear, deadline: float) -> Address | None:
        """The server to connect to; None if this ear is no longer needed. Raises LinkLost."""

    def is_right(self, ear: Ear, address: Address) -> bool:
        """Whether that is still the server it should listen to, as far as is known."""

    def heard(self, payload: bytes) -> int:
        """A notification; how many publications it told of."""

    def live(self) -> None:
        """All lanes are confirmed, after a time in which they were not."""

    def probe(self, lane: Lane, number: int) -> None:
        """Publish `number` to a lane, and find out anything else that should be known. Called beside the ear."""


class Ear:
    """The connection and its lanes."""

    def __init__(self, world: World, settings: Settings, sharded: bool, owner: Owner, probe: Lane) -> None:
        self.world = world
        self._settings = settings
        self._owner = owner
        self._sharded = sharded
        self._words = ("SSUBSCRIBE", "SUNSUBSCRIBE") if sharded else ("SUBSCRIBE", "UNSUBSCRIBE")
        self._lock = native_lock()
        self._probe = probe
        self._lanes: dict[bytes, Lane] = {probe.name: probe}
        self._changes: dict[bytes, Lane] = {}
        self._link: Greeted | None = None
        self._sending = False
        self._closed = False
        self._asked: Counter[bytes] = Counter()  # SUBSCRIBEs that were sent and not yet confirmed
        self._numbers = 0
        self._probed: float | None = None  # since when a probe is awaited
        self.lag = 0.0
        """Seconds that the last probe took through the real publish path and back."""
        self._next_probe = 0.0

    def start(self) -> None:
        self.world.spawn(self._run)

    # From anywhere.

    def use(self, lane: Lane, waiter: Waiter) -> bool:
        """Have this lane. True: it is confirmed, and `waiter` is not needed. Then `flush`."""
        with self._lock:
            lane = self._lanes.setdefault(lane.name, lane)
            self._changes[lane.name] = lane
            if not lane.confirmed:
                lane.waiting.append(waiter)
            return lane.confirmed

    def adopt(self, lane: Lane) -> None:
        """Take a lane that another ear gave up, with those who wait for it. Then `flush`."""
        with self._lock:
            lane.confirmed = False
            self._lanes[lane.name] = self._changes[lane.name] = lane

    def wait(self, name: bytes, waiter: Waiter) -> bool:
        """`waiter` is woken when the lane is confirmed. True: it is now."""
        with self._lock:
            lane = self._lanes.get(name)
            if lane is not None and not lane.confirmed:
                lane.waiting.append(waiter)
            return lane is not None and lane.confirmed

    def leave(self, name: bytes) -> None:
        """No longer have it. Then `flush`."""
        with self._lock:
            lane = self._lanes.pop(name, None)
            if lane is not None:
                self._changes[name] = lane

    def lanes(self) -> list[Lane]:
        """Those of channels."""
        with self._lock:
            return [lane for lane in self._lanes.values() if lane is not self._probe]

    def give_up(self, lane: Lane) -> Lane:
        """It goes to another ear. While there is no connection."""
        with self._lock:
            self._lanes.pop(lane.name, None)
            return lane

    def hang_up(self) -> None:
        """Have the connection made anew."""
        link = self._link
        if link is not None:
            link.hang_up()

    def close(self) -> None:
        self._closed = True
        self.hang_up()

    def abandon(self) -> None:
        """In the child of a fork."""
        self._closed = True
        if self._link is not None:
            self._link.abandon()

    # Sending.

    def flush(self) -> None:
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
            except BaseException as error:
                link.hang_up()
                if not isinstance(error, LinkLost):
                    raise
                return
            finally:
                self._sending = False

    def _take_changes(self) -> bytes:
        """First those to unsubscribe: what is wanted again before we came to say that it was not stays."""
        leave: dict[int, list[bytes]] = {}
        enter: dict[int, list[bytes]] = {}
        for _ in range(min(BATCH, len(self._changes))):
            name, lane = self._changes.popitem()
            group = lane.partition if self._sharded else 0
            if name in self._lanes:
                enter.setdefault(group, []).append(name)
                self._asked[name] += 1
            else:
                leave.setdefault(group, []).append(name)
        commands = [pack(self._words[1], *names) for names in leave.values()]
        return b"".join([*commands, *(pack(self._words[0], *names) for names in enter.values())])

    # The connection: one greenlet or thread.

    def _run(self) -> None:
        pause, told = FIRST_PAUSE, False
        while not self._closed:
            try:
                deadline = time.monotonic() + CONNECT
                address = self._owner.where(self, deadline)
                if address is None:
                    return
                link = Greeted(self.world, self._settings, address, deadline)
            except Exception as error:
                self._complain("Not hearing of publications", error, told)
                told = True
            else:
                pause, told = FIRST_PAUSE, False
                try:
                    self._listen(link)
                except Exception as error:
                    self._complain("Stopped hearing of publications", error, self._closed)
                finally:
                    self._lost(link)
            if not self._closed:
                self.world.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE)

    def _complain(self, what: str, error: Exception, told: bool) -> None:
        """Once for each time that Redis is away. Whatever it is, it must not end the hearing for good."""
        if not isinstance(error, BusError):
            logger.error("%s", what, exc_info=error)
        elif not told:
            logger.warning("%s: %s", what, error)

    def _listen(self, link: Greeted) -> None:
        with self._lock:
            self._changes = dict(self._lanes)
            self._asked.clear()
            self._link = link
        self._probed, self._next_probe = None, time.monotonic() + PROBE_EVERY
        self.flush()
        anew = True
        while True:
            if anew and not self._asked and not self._changes:
                anew = False
                self._owner.live()
            if sum(map(self._message, link.receive(self._next_probe))) >= MANY:
                self.world.give_way()  # more may be there already: then reading waits for nothing
            if time.monotonic() >= self._next_probe:
                self._check(link)

    def _message(self, message: Any) -> int:
        """How many publications it told of."""
        kind = message[0] if isinstance(message, list) else b""
        if kind in (b"message", b"smessage"):
            if message[1] == self._probe.name:
                if int(message[2]) == self._numbers:
                    self.lag = time.monotonic() - (self._probed or time.monotonic())
                    self._probed = None
            else:
                return self._owner.heard(message[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._confirm(message[1])
        elif kind == b"sunsubscribe" and message[1] in self._lanes and message[1] not in self._asked:
            raise LinkLost("a slot of the Redis Cluster has moved")
        elif isinstance(message, Exception):
            raise LinkLost(f"Redis does not let us subscribe: {message}")
        return 0

    def _confirm(self, name: bytes) -> None:
        with self._lock:
            self._asked[name] -= 1
            if self._asked[name] > 0:
                return  # it was left and wanted again meanwhile: the last one counts
            del self._asked[name]
            lane = self._lanes.get(name)
            if lane is None:
                return
            lane.confirmed = True
            waiting, lane.waiting = lane.waiting, []
        for waiter in waiting:
            waiter.wake()

    def _check(self, link: Greeted) -> None:
        """Whether we hear ourselves, and are in the right place."""
        now = time.monotonic()
        self._next_probe = now + PROBE_EVERY
        if not self._owner.is_right(self, link.address):
            raise LinkLost(f"Redis at {link.address} is no longer the one to listen to")
        if self._probed is None:
            self._probed = now
            self._numbers += 1
            number = self._numbers
            self.world.spawn(lambda: self._owner.probe(self._probe, number))
        elif now - self._probed > PROBE_PATIENCE:
            # Perhaps it is we who are behind: what has arrived already must be read first.
            while self._probed is not None and (messages := link.receive(0.0)):
                for message in messages:
                    self._message(message)
            if self._probed is not None:
                raise LinkLost(f"deaf: a probe published at Redis did not come back from {link.address}")

    def _lost(self, link: Greeted) -> None:
        with self._lock:
            self._link = None
            for lane in self._lanes.values():
                lane.confirmed = False
        link.close()
