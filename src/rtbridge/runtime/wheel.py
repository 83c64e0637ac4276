"""Coarse timeouts for many: what is due at about the same time shares one timer of the loop.

A ping, a stall, a renewal: each of ten thousand connections waits for something nearly all the time, nothing of it
need be punctual, and a timer for each would cost more than the rest of the connection. So the time something is due is
rounded by at most a sixteenth of the delay, and all that comes to the same moment sits on one *spoke*.
"""

from __future__ import annotations

import math
from typing import Protocol

from rtbridge.runtime.loop import Loop, run_logged

AT_ONCE = 500
"""Ticks in one callback; then whatever else is due has its turn."""
SHORTEST = 0.001
"""Seconds below which delays are no longer told apart."""


class Ticking(Protocol):
    """What sits on a spoke; it remembers the spoke for as long as it does."""

    def tick(self) -> None:
        """Its time has come, and it is on the spoke no longer. In the turn."""


class Spoke(dict[Ticking, None]):
    """Those that are due together. (A set of many takes up to four times the memory.)"""

    __slots__ = ()

    def discard(self, ticking: object) -> None:
        """Take one off, if it is on it."""
        self.pop(ticking, None)  # type: ignore[call-overload]


class Wheel:
    """In the turn only."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._spokes: dict[float, Spoke] = {}

    def add(self, delay: float, ticking: Ticking, *, early: bool = False) -> Spoke:
        """Call `ticking.tick()` after `delay` seconds, a little later, or `early`: a little sooner."""
        now = self._loop.now()
        step = 2.0 ** (math.frexp(max(delay, SHORTEST) / 16)[1] - 1)
        steps = (now + delay) / step
        due = (math.floor(steps) if early else math.ceil(steps)) * step
        spoke = self._spokes.get(due)
        if spoke is None:
            spoke = self._spokes[due] = Spoke()
            self._loop.call_later(max(0.0, due - now), self._come, due)
        spoke[ticking] = None
        return spoke

    def _come(self, due: float) -> None:
        self._tick(self._spokes.pop(due))

    def _tick(self, spoke: Spoke) -> None:
        for _ in range(min(len(spoke), AT_ONCE)):
            if spoke:  # a tick may take others off
                run_logged(spoke.popitem()[0].tick, ())
        if spoke:
            self._loop.call_soon(self._tick, spoke)
