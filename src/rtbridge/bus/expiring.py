"""A dictionary whose items expire, swept a little with every use instead of by a thread.

An expired item is gone for whoever asks, at once; its memory is given back when a sweep comes to it. Each
item has one place in a heap, by when it was first due; an item that was renewed meanwhile is put back when
its place comes up.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Item(Generic[V]):
    __slots__ = ("expires", "place", "value")

    def __init__(self, value: V, expires: float) -> None:
        self.value = value
        self.expires = expires
        self.place = 0  # the number of its place in the heap; 0: none


class Expiring(Generic[K, V]):
    """Times are whatever the caller's clock says. Not for several threads at once."""

    __slots__ = ("_count", "_heap", "_items")

    def __init__(self) -> None:
        self._items: dict[K, _Item[V]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K, now: float) -> V | None:
        item = self._items.get(key)
        return item.value if item is not None and item.expires > now else None

    def put(self, key: K, value: V, expires: float) -> None:
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(value, expires)
        else:
            item.value, item.expires = value, expires
        if not item.place:
            self._give_place(key, item)

    def drop(self, key: K) -> None:
        self._items.pop(key, None)

    def sweep(self, now: float, limit: int) -> None:
        """Look at no more than `limit` items that were due, and forget the expired."""
        heap = self._heap
        while limit and heap and heap[0][0] <= now:
            limit -= 1
            _, place, key = heapq.heappop(heap)
            item = self._items.get(key)
            if item is None or item.place != place:
                continue  # it was dropped; perhaps another has its name
            if item.expires <= now:
                del self._items[key]
            else:
                self._give_place(key, item)

    def _give_place(self, key: K, item: _Item[V]) -> None:
        if item.expires == math.inf:
            item.place = 0
            return
        self._count += 1
        item.place = self._count
        heapq.heappush(self._heap, (item.expires, item.place, key))
