"""Questions to the bus. A bus that blocks is asked outside the turn, by a few workers; any other at once.

The workers are few, so that ten thousand readers that are behind do not become ten thousand threads. They
live as long as there are questions.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from rtbridge.errors import BusError, BusUnavailable
from rtbridge.runtime.loop import Loop

logger = logging.getLogger("rtbridge")
T = TypeVar("T")
WORKERS = 8
"""Questions that wait for the bus at once."""
RETRY = 1.0
"""Seconds until another attempt to start a worker, when the system would not."""


class Asker:
    """In the turn only, but for its workers.

    Args:
        blocking: whether questions may take long; if not, they are asked at once, in the turn.
        most: how many may be asked at the same time.
    """

    def __init__(self, loop: Loop, blocking: bool, most: int = WORKERS) -> None:
        self._loop = loop
        self._blocking = blocking
        self._most = most
        self._questions: deque[Callable[[], None]] = deque()
        self._workers = 0

    def ask(self, question: Callable[[], T], then: Callable[[T | BusError], object]) -> None:
        """Call `then` in the turn with what `question` returned, or the BusError it raised."""
        if not self._blocking:
            then(_answer(question))
            return

        def work() -> None:
            # Should the worker be killed: whoever asked must still hear of it.
            answer: T | BusError = BusUnavailable("asking the bus was interrupted")
            try:
                answer = _answer(question)
            finally:
                self._loop.call_soon(then, answer)

        self._questions.append(work)
        self._start_worker()

    def _start_worker(self) -> None:
        if self._workers >= self._most or not self._questions:
            return
        self._workers += 1
        try:
            self._loop.spawn(self._work)
        except RuntimeError:  # there are too many threads
            logger.exception("No thread to ask the bus with; trying again")
            self._workers -= 1
            self._loop.call_later(RETRY, self._start_worker)

    def _work(self) -> None:
        """Outside the turn."""
        try:
            while self._questions:
                try:
                    work = self._questions.popleft()
                except IndexError:
                    break  # another worker was faster
                work()
        finally:
            self._loop.call_soon(self._worker_ended)

    def _worker_ended(self) -> None:
        self._workers -= 1
        self._start_worker()  # for what was asked when it had just looked


def _answer(question: Callable[[], T]) -> T | BusError:
    try:
        return question()
    except BusError as error:
        return error
    except Exception as error:
        logger.exception("The bus failed in a way it should not")
        return BusError(f"the bus failed: {error!r}")
