"""How late the loop is, and who was in its way.

The loop sets itself a beat. That it comes late is measured by the loop; *why* can only be seen while it does not come,
and only from another thread: so one that otherwise sleeps takes the stack of the loop's thread when a beat is overdue.
What it saw is logged by the loop, once that goes on: a log handler's lock may be just what blocks.
"""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
import time
from types import FrameType
from typing import Protocol

from rtbridge.runtime.loop import Loop
from rtbridge.runtime.native import native_ident, native_lock, original

_log = logging.getLogger("rtbridge")
BEAT = 0.25
"""Seconds between two beats."""
STEPS = (0.01, 0.1, 1.0)
"""Seconds of lateness from which on beats are counted, each step with those above it."""


class Counters(Protocol):
    """What is told of it; see `rtbridge.metrics.Metrics`."""

    def add(self, name: str, n: float = 1) -> None: ...

    def gauge(self, name: str, value: float) -> None: ...


class LagWatch:
    """Shows `loop_lag`, seconds that the latest beat was late, and `loop_lag_most`; counts `loop_lag_over_10ms`,
    `loop_lag_over_100ms` and `loop_lag_over_1000ms`.

    Args:
        limit: seconds a beat may be late before the log says what was in its way; 0 for never.
    """

    def __init__(self, loop: Loop, metrics: Counters, limit: float) -> None:
        self._loop = loop
        self._metrics = metrics
        self._limit = limit
        self._ident: int | None = None  # the thread in which the loop beats
        self._due = 0.0
        self._most = 0.0
        self._seen: str | None = None
        self._stopped = native_lock()
        self._pid = os.getpid()

    def start(self) -> None:
        """From any thread."""
        self._loop.call_soon(self._begin)

    def stop(self) -> None:
        """No further beat is due. Idempotent; the thread ends soon."""
        if self._stopped.locked():
            self._stopped.release()
        self._ident = None

    def _begin(self) -> None:
        self._ident = native_ident()()
        self._stopped.acquire(blocking=False)
        self._next()
        if self._limit > 0:
            original("_thread", "start_new_thread")(self._guard, ())

    def _next(self) -> None:
        self._due = self._loop.now() + BEAT
        self._loop.call_later(BEAT, self._beat)

    def _beat(self) -> None:
        """In the turn."""
        if self._ident is None:
            return
        lag = max(0.0, self._loop.now() - self._due)
        self._metrics.gauge("loop_lag", lag)
        self._most = max(self._most, lag)
        self._metrics.gauge("loop_lag_most", self._most)
        for step in STEPS:
            if lag >= step:
                self._metrics.add(f"loop_lag_over_{round(step * 1000)}ms")
        seen, self._seen = self._seen, None
        if seen is not None:
            _log.warning(
                "the loop was blocked for %.2f s; meanwhile nobody was served. In its way was %s", lag, seen
            )
        self._next()

    # -- in a thread of its own ---------------------------------------------------------------------------

    def _guard(self) -> None:
        """Look now and then whether a beat is overdue, until `stop` lets the lock go."""
        pause = self._limit / 2
        while True:
            slept_from = time.monotonic()
            if self._stopped.acquire(timeout=pause) or self._pid != os.getpid():
                return
            now = time.monotonic()
            # Who overslept as well was stopped, or the machine is too busy: then nothing is in the loop's way.
            if now - slept_from < 2 * pause and now - self._due > self._limit and self._seen is None:
                frame = sys._current_frames().get(self._ident or 0)
                self._seen = None if frame is None else in_the_way(frame)


def watched(loop: Loop, metrics: Counters, limit: float) -> Loop:
    """The loop, with a `LagWatch` on it."""
    LagWatch(loop, metrics, limit).start()
    return loop


def in_the_way(frame: FrameType) -> str:
    """One line about a stack: the innermost function of the application, and where that is."""
    innermost: FrameType | None = frame
    application = frame
    while innermost is not None:
        if not _is_library(innermost.f_code.co_filename):
            application = innermost
            break
        innermost = innermost.f_back
    said = _place(application)
    return said if application is frame else f"{said}, waiting in {_place(frame)}"


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"


def _is_library(filename: str) -> bool:
    """Whether it is Python's, an installed package's or ours, and not the site's own code."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    roots = (ours, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    return filename.startswith(("<", *roots)) or f"{os.sep}site-packages{os.sep}" in filename
