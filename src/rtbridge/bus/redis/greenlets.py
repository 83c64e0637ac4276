"""The greenlets of one gevent hub, with or without monkey patching. See `world`.

Sockets are native ones in non-blocking mode; here is how a greenlet waits for them and for others.
"""

from __future__ import annotations

import math
import socket
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

import gevent
import gevent.lock
from gevent.hub import Hub
from greenlet import getcurrent, greenlet

from rtbridge.bus.redis.world import Lock, Waiter
from rtbridge.runtime import native_ident

READ, WRITE = 1, 2


class GreenletWaiter:
    __slots__ = ("_world", "greenlet", "woken")

    def __init__(self, world: GreenletWorld) -> None:
        self._world = world
        self.greenlet: greenlet | None = None
        self.woken = False

    def wait(self, seconds: float) -> bool:
        if not self.woken:
            self.greenlet = getcurrent()
            try:
                if seconds == math.inf:
                    while not self.woken:
                        self._world.hub.switch()
                else:
                    self._wait(time.monotonic() + seconds)
            finally:
                self.greenlet = None
        return self.woken

    def _wait(self, deadline: float) -> None:
        timer = self._world.hub.loop.timer(max(0.0, deadline - time.monotonic()), 0.05)
        timer.start(self.switch)
        try:
            while not self.woken and time.monotonic() < deadline:
                self._world.hub.switch()
        finally:
            timer.stop()
            timer.close()

    def wake(self) -> None:
        self.woken = True
        if self.greenlet is not None or not self._world.is_here():
            self._world.run_in_hub(self.switch)

    def switch(self) -> None:
        """In the hub."""
        if self.greenlet is not None:
            self.greenlet.switch()


class GreenletWorld:
    """Made in the OS thread whose hub it is."""

    def __init__(self, hub: Hub) -> None:
        self._hub = weakref.ref(hub)  # a hub goes with its thread, and its connections with it
        self._ident = native_ident()
        self._home = self._ident()
        self.rousing = False

    @property
    def hub(self) -> Hub:
        hub = self._hub()
        if hub is None:
            raise RuntimeError("the thread of this gevent hub has ended")
        return hub

    def is_here(self) -> bool:
        return self._ident() == self._home

    def run_in_hub(self, callback: Callable[..., object], *args: object) -> None:
        if self.is_here():
            self.hub.loop.run_callback(callback, *args)
        else:
            self.hub.loop.run_callback_threadsafe(callback, *args)

    def wait_for(self, fd: int, write: bool, seconds: float) -> bool:
        watcher = self.hub.loop.io(fd, WRITE if write else READ)
        timeout = gevent.Timeout.start_new(max(0.0, seconds))
        try:
            self.hub.wait(watcher)
        except gevent.Timeout as raised:
            if raised is not timeout:
                raise
            return False
        finally:
            timeout.close()
            watcher.close()
        return True

    def waiter(self) -> Waiter:
        return GreenletWaiter(self)

    def wake(self, waiters: Sequence[Waiter], twice: bool = False) -> None:
        """One callback for all of them."""
        several = cast("Sequence[GreenletWaiter]", waiters)
        for waiter in several:
            waiter.woken = True
        if several:
            self.rousing = len(several) > 1
            self.run_in_hub(self._rouse, several, twice)

    def _rouse(self, waiters: Sequence[GreenletWaiter], twice: bool) -> None:
        """In the hub."""
        last = len(waiters)
        half = last // 2 if twice else 0
        try:
            for number, waiter in enumerate(waiters, 1):
                self.rousing = number not in (half, last)
                waiter.switch()
        finally:
            self.rousing = False

    def lock(self) -> Lock:
        return cast(Lock, gevent.lock.BoundedSemaphore(1))

    def spawn(self, function: Callable[[], object]) -> None:
        gevent.spawn(function)

    def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def give_way(self) -> None:
        gevent.sleep(0)

    def resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        found = self.hub.resolver.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        return cast("list[tuple[Any, ...]]", found)
