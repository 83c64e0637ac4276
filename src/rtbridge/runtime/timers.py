"""The timers of one loop: a heap of due times. It knows no clock; whoever owns it says what time it is.

Cancelling only empties an entry. Entries that are empty are dropped when they come up, or all at once when
they are the larger half: so thousands of timeouts that nearly always are cancelled cost little, and never
pile up.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

Call = tuple[Callable[..., object], tuple[object, ...]]
FEW = 64


class HeapTimer:
    """One entry. `call` is None once it was cancelled or handed out."""

    __slots__ = ("call", "timers")

    def __init__(self, timers: Timers, call: Call) -> None:
        self.timers = timers
        self.call: Call | None = call

    def cancel(self) -> None:
        if self.call is not None:
            self.call = None
            self.timers.cancelled()


class Timers:
    """Not for several threads at once: in the turn only."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, HeapTimer]] = []
        self._count = 0
        self._empty = 0

    def add(self, when: float, callback: Callable[..., object], args: tuple[object, ...]) -> HeapTimer:
        timer = HeapTimer(self, (callback, args))
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, timer))
        return timer

    def next(self) -> float | None:
        """When the earliest is due; None if there is none."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heapq.heappop(heap)
            self._empty -= 1
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[Call]:
        """Hand out, one by one, what is due.

        What is cancelled meanwhile is left out. What is added meanwhile waits for the next time, so that a
        timer that sets itself anew with no delay cannot keep the loop for ever.
        """
        newest = self._count
        while (when := self.next()) is not None and when <= now and self._heap[0][1] <= newest:
            timer = heapq.heappop(self._heap)[2]
            call, timer.call = timer.call, None
            if call is not None:
                yield call

    def cancelled(self) -> None:
        self._empty += 1
        if self._empty > FEW and self._empty * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapq.heapify(self._heap)
            self._empty = 0
