"""What waits and how: threads here, greenlets in `greenlets`.

A bus is asked from views, tasks, shells and servers; in one process by threads and by greenlets, even of several
hubs. A connection belongs to one world, so that whoever waits for it blocks nobody else.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rtbridge.runtime import native_lock
from rtbridge.runtime.native import original


class Waiter(Protocol):
    """One who waits for one thing, once."""

    def wait(self, seconds: float) -> bool:
        """Until woken, or so many seconds at most. Whether it was woken.

        Infinitely many cost least: for those whom somebody else wakes when their time is over.
        """

    def wake(self) -> None:
        """From any thread or greenlet, also before the waiting began. A second time does nothing."""


class Lock(Protocol):
    """Held while something blocks, by one caller of this world at a time."""

    def __enter__(self) -> object: ...

    def __exit__(self, *exc: Any) -> object: ...


class World(Protocol):
    """Threads, or the greenlets of one hub.

    Attributes:
        rousing: several are about to run one after the other, of whom this is not the one to speak for all.
    """

    rousing: bool

    def wait_for(self, fd: int, write: bool, seconds: float) -> bool:
        """Until a socket can be read from or written to, or failed. Whether that came in time."""

    def waiter(self) -> Waiter: ...

    def wake(self, waiters: Sequence[Waiter], twice: bool = False) -> None:
        """Wake several of this world, from within it.

        Args:
            twice: not only after the last one is `rousing` over, but for a moment after half of them, too.
        """

    def lock(self) -> Lock: ...

    def spawn(self, function: Callable[[], object]) -> None:
        """Run it beside the caller."""

    def sleep(self, seconds: float) -> None: ...

    def give_way(self) -> None:
        """Let others run, where they do not by themselves."""

    def resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """What `socket.getaddrinfo` gives for a TCP connection."""


class ThreadWaiter:
    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = native_lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> bool:
        return self._lock.acquire(True, min(max(0.0, seconds), threading.TIMEOUT_MAX))

    def wake(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            pass  # it was woken before


class ThreadWorld:
    """The threads of the operating system."""

    rousing = False

    def wait_for(self, fd: int, write: bool, seconds: float) -> bool:
        if not hasattr(select, "poll"):  # Windows
            both = ([], [fd]) if write else ([fd], [])
            return any(select.select(*both, [fd], max(0.0, seconds)))
        poll = original("select", "poll")()
        poll.register(fd, select.POLLOUT if write else select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def waiter(self) -> Waiter:
        return ThreadWaiter()

    def wake(self, waiters: Sequence[Waiter], twice: bool = False) -> None:
        for waiter in waiters:
            waiter.wake()

    def lock(self) -> Lock:
        return native_lock()

    def spawn(self, function: Callable[[], object]) -> None:
        threading.Thread(target=function, name="rtbridge-redis", daemon=True).start()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def give_way(self) -> None:
        pass

    def resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
