"""The thread or greenlet that brought a request carries it: it runs the jobs of its session and waits for its
answer.

And `Parking`: how many threads may wait like that. A greenlet is cheap; a thread of a pool that parks is one
that the site's own pages do not have. So under threads only a share of the pool may be parked, and whoever
comes then is answered at once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from rtbridge.config import Limits
from rtbridge.runtime import Loop


class _Answer:
    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class RequestCarrier:
    """Carries one request on the current thread or greenlet."""

    def __init__(self, loop: Loop) -> None:
        self._mailbox = loop.mailbox()

    def run(self, job: Callable[[], None]) -> None:
        self._mailbox.put(job)

    def finish(self, answer: object) -> None:
        self._mailbox.put(_Answer(answer))

    def carry(self) -> Any:
        """Run jobs until there is an answer, and return it."""
        while True:
            item = self._mailbox.get(None)
            if isinstance(item, _Answer):
                return item.value
            if callable(item):
                item()


class NoStack:
    """Carries connections that were given away: nobody waits for them, and a job gets a greenlet while it runs."""

    __slots__ = ("run",)

    def __init__(self, loop: Loop) -> None:
        self.run = loop.spawn

    def finish(self, answer: object) -> None:
        """Nobody waits."""


class Parking:
    """Places for requests that wait. Who gets none is answered at once."""

    def __init__(self, loop: Loop, limits: Limits) -> None:
        self._loop = loop
        self._limits = limits
        self._parked = 0

    def may_ever_park(self, environ: Mapping[str, Any]) -> bool:
        """Whether this server can hold a request at all: not if it has one thread for everybody."""
        return self._loop.name != "threads" or bool(environ.get("wsgi.multithread"))

    def take(self, environ: Mapping[str, Any]) -> Place | None:
        """A place for as long as it is not left, or None if there is no room. Call it on the thread that will wait."""
        if self._loop.name != "threads":
            return Place(_nothing)
        if not environ.get("wsgi.multithread"):
            return None
        with self._loop.turn():
            if self._parked >= self._room():
                return None
            self._parked += 1
        return Place(self._give_back)

    def _give_back(self) -> None:
        with self._loop.turn():
            self._parked -= 1

    def _room(self) -> int:
        """Most threads that may be parked: a share of the pool as far as it has shown itself."""
        pool = _pool_size(threading.current_thread())
        if pool is None:
            return self._limits.parked_max
        return min(self._limits.parked_max, max(1, int(pool * self._limits.parked_share)))


class Place:
    """One place. `leave` it once the wait is over; as a context manager it is left at the end."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back

    def leave(self) -> None:
        """Idempotent."""
        give_back, self._give_back = self._give_back, _nothing
        give_back()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def _nothing() -> None:
    pass


def _pool_size(thread: threading.Thread) -> int | None:
    """How many threads share this thread's pool; None for servers that start a thread for each connection.

    Pools number their threads (`waitress-3`, `ThreadPoolExecutor-0_7`); a thread for each connection is named
    after its function (`Thread-12 (process_request_thread)`), and there are always more of those.
    """
    if thread.name.startswith("Thread-") and "(process_request_thread)" in thread.name:
        return None
    prefix = re.sub(r"\d+( \(.*\))?$", "", thread.name)
    started = sum(1 for other in threading.enumerate() if other.name.startswith(prefix))
    return max(started, _executor_size(thread))


def _executor_size(thread: threading.Thread) -> int:
    """The size that a `ThreadPoolExecutor` (gunicorn's gthread) may grow to: it starts its threads only as needed.

    The thread was started with a weak reference to its executor; 0 where this is not so.
    """
    arguments = getattr(thread, "_args", None) or (None,)
    executor = arguments[0]() if callable(arguments[0]) else None
    size = getattr(executor, "_max_workers", 0)
    return size if isinstance(size, int) else 0
