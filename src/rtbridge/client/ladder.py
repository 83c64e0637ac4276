"""Which transport to be on, and when to try again: pure decisions, told what time it is.

    websocket > eventstream > longpoll > shortpoll

A rung that fails twice in a row rests for a while, and so does one that the server sends us down from. Where the
server was not even reached, or said when to come back, no rung is to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rtbridge.client.events import Ending

RUNGS = ("websocket", "eventstream", "longpoll", "shortpoll")
"""All transports, best first."""

BACKOFF_FIRST = 0.5
BACKOFF_LAST = 30.0
REST = 60.0
"""Seconds, give or take a quarter."""
FAILURES = 2
"""In a row, until a rung rests."""


class Ladder:
    """The choice among transports.

    Args:
        choice: `auto`, or the one transport to use.
        uniform: `uniform(low, high)`, a random number between the two: jitter.

    Raises:
        ValueError: there is no such transport.
    """

    def __init__(self, choice: str, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._offers: tuple[str, ...] = RUNGS
        self._attempt = 0
        self.choose(choice)

    def choose(self, choice: str) -> None:
        """Use `choice` from now on, and forget what failed."""
        if choice != "auto" and choice not in RUNGS:
            raise ValueError(f"no such transport: {choice!r}; there are auto, {', '.join(RUNGS)}")
        self.choice = choice
        self._failures = dict.fromkeys(RUNGS, 0)
        self._resting_until = dict.fromkeys(RUNGS, 0.0)

    def offer(self, transports: Sequence[str]) -> None:
        """What this server can do. Ignored where we know none of it."""
        known = tuple(rung for rung in RUNGS if rung in transports)
        self._offers = known or self._offers

    def best(self, now: float) -> str:
        """The rung to be on now. With a choice made, that one, whatever the server offers."""
        if self.choice != "auto":
            return self.choice
        awake = [rung for rung in self._offers if self._resting_until[rung] <= now]
        return awake[0] if awake else self._offers[-1]

    def below(self, rung: str, now: float) -> str | None:
        """A poll to run beside an attempt of `rung` that takes long; None where a choice was made, or for polls."""
        if self.choice != "auto" or rung.endswith("poll"):
            return None
        polls = [name for name in self._offers if name.endswith("poll") and self._resting_until[name] <= now]
        return polls[0] if polls else None

    def next_climb(self, now: float) -> float | None:
        """Seconds until a rung better than `best` has rested; None where there is none."""
        better = self._offers[: self._offers.index(self.best(now))] if self.choice == "auto" else ()
        return min((self._resting_until[rung] - now for rung in better), default=None)

    def opened(self, rung: str) -> None:
        """A hello was answered on `rung`."""
        self._attempt = 0
        self._failures[rung] = 0

    def failed(self, rung: str, ending: Ending, was_open: bool, now: float) -> None:
        """A connection of `rung` ended."""
        if ending.step == "lower":
            self._rest(rung, now)
        elif ending.reached and not was_open and ending.retry_after is None:
            self._failures[rung] += 1
            if self._failures[rung] >= FAILURES:
                self._rest(rung, now)

    def pause(self, rung: str, ending: Ending, now: float) -> float:
        """Seconds until the next attempt after `rung` failed: what the server asked, else none where it goes to another
        rung, else backoff."""
        if ending.retry_after is not None:
            return ending.retry_after
        if self.best(now) != rung:
            return 0.0
        ceiling = min(BACKOFF_LAST, BACKOFF_FIRST * 2.0 ** min(self._attempt, 16))
        self._attempt += 1
        return self._uniform(0.0, ceiling)

    def _rest(self, rung: str, now: float) -> None:
        self._failures[rung] = 0
        self._resting_until[rung] = now + REST * self._uniform(0.75, 1.25)
