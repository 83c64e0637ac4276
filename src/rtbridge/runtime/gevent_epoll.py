"""Which sockets are ready, for a gevent loop: one epoll for all of them, which gevent watches as if it were a socket.

How to think about it: to gevent our thousands of connections are one descriptor, readable while any of them is ready.
The loop's pump then asks the epoll which, and calls back one after the other. A watcher of gevent's for each would
take three times the memory of a watch here (the watcher, libev's table, an object between the two), and the hub would
call Python once for each event only to have it wait for the pump.

An epoll outlives a fork together with what is in it: a child has to `abandon` it, else it would change its parent's.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Any, Protocol

from gevent import monkey
from gevent.hub import Hub

from rtbridge.runtime.loop import run_logged

_IN, _OUT, _BROKEN = 0x001, 0x004, 0x008 | 0x010  # EPOLLIN, EPOLLOUT, EPOLLERR | EPOLLHUP
_READ = 1  # gevent's
_AT_ONCE = 1_000
"""Sockets called back in one turn; then whatever else is due has its turn."""


class Epoll(Protocol):
    """What is used of `select.epoll`."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def register(self, fd: int, eventmask: int = ..., /) -> None: ...
    def modify(self, fd: int, eventmask: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...
    def poll(self, timeout: float | None = ..., maxevents: int = ...) -> list[tuple[int, int]]: ...


def epoll_here() -> Callable[[], Epoll] | None:
    """Makes an epoll; None where the system has none. Monkey patching hides it from others, who would block."""
    if monkey.is_module_patched("select"):
        with contextlib.suppress(AttributeError):
            found: Callable[[], Epoll] = monkey.get_original("select", "epoll")
            return found
        return None
    return getattr(select, "epoll", None)


class Readiness:
    """The sockets of one loop. In its OS thread only.

    Args:
        call_soon: has something called in the pump.
    """

    __slots__ = ("_active", "_call_soon", "_count", "_epoll", "_told", "_watcher", "_watches")

    def __init__(self, hub: Hub, epoll: Callable[[], Epoll], call_soon: Callable[..., object]) -> None:
        self._call_soon = call_soon
        self._epoll: Epoll | None = epoll()
        self._watches: list[SocketWatch | None] = []  # by descriptor, where something is wanted
        self._count = 0
        self._watcher: Any = hub.loop.io(self._epoll.fileno(), _READ)
        self._active = False
        self._told = False

    def change(self, watch: SocketWatch, wanted: int) -> None:
        """Something else is wanted of a socket, or nothing (0)."""
        epoll, watches = self._epoll, self._watches
        if epoll is None:
            return
        fd = watch.sock.fileno()
        if fd < 0:  # closed before its watch: the system has forgotten it
            if watch in watches:
                watches[watches.index(watch)] = None
                self._count -= 1
        elif fd < len(watches) and watches[fd] is watch:
            if wanted:
                epoll.modify(fd, wanted)
                return
            watches[fd] = None
            self._count -= 1
            epoll.unregister(fd)
        elif wanted:
            epoll.register(fd, wanted)
            watches.extend([None] * (fd + 1 - len(watches)))
            self._count += watches[fd] is None
            watches[fd] = watch
        self._arm()

    def _arm(self) -> None:
        """Have the hub tell us, while there is anything to be told of: else it could not see that all is over."""
        wanted = self._count > 0
        if wanted != self._active and self._epoll is not None:
            self._active = wanted
            if wanted:
                self._watcher.start(self)
            else:
                self._watcher.stop()

    def __call__(self) -> None:
        """In the hub: some are ready. While that waits for the pump, it need not be told again and again."""
        if self._told or self._epoll is None:
            self._watcher.stop()
            self._active = False
            return
        self._told = True
        self._call_soon(self._look)

    def _look(self) -> None:
        """In the pump."""
        self._told = False
        watches = self._watches
        try:
            for fd, events in () if self._epoll is None else self._epoll.poll(0, _AT_ONCE):
                watch = watches[fd]
                if watch is not None:  # else one that was called before has closed it
                    watch.tell(events)
        finally:
            self._arm()

    def abandon(self) -> None:
        """This is the child of a fork: what is watched is the parent's. Its watcher will find out, and stop."""
        epoll, self._epoll = self._epoll, None
        self._watches = []
        if epoll is not None:
            epoll.close()

    def close(self) -> None:
        """The loop ends."""
        self._watcher.stop()
        self._watcher.close()
        self.abandon()


class SocketWatch:
    """One socket: a `Watch`."""

    __slots__ = ("_on_ready", "_readiness", "_wanted", "sock")

    def __init__(
        self, readiness: Readiness, sock: socket.socket, on_ready: Callable[[bool, bool], object]
    ) -> None:
        self._readiness = readiness
        self.sock = sock
        self._on_ready: Callable[[bool, bool], object] | None = on_ready
        self._wanted = 0

    def want(self, *, read: bool, write: bool) -> None:
        wanted = (_IN if read else 0) | (_OUT if write else 0)
        if wanted != self._wanted and self._on_ready is not None:
            self._wanted = wanted
            self._readiness.change(self, wanted)

    def hand_over(self, on_ready: Callable[[bool, bool], object]) -> None:
        if self._on_ready is not None:
            self._on_ready = on_ready

    def close(self) -> None:
        self.want(read=False, write=False)
        self._on_ready = None

    def tell(self, events: int) -> None:
        """In the pump. An error has no name of its own: let whoever waits find out by using the socket."""
        if events & _BROKEN:
            events = _IN | _OUT
        events &= self._wanted
        if events and self._on_ready is not None:
            run_logged(self._on_ready, (bool(events & _IN), bool(events & _OUT)))
