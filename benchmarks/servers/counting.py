"""Numbers that a benchmarked application counts and the benchmark reads meanwhile, without a request: a shared file.

counters = Counters(os.environ["BENCH_COUNTERS"])       in the application
counters.add("queries")
read(path)["queries"]                                   in the benchmark
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("queries", "bus_reads", "bus_positions", "authentications", "authorisations")
_SLOT = struct.Struct("<Q")


class Counters:
    """Counters in a file that was made by `create`; without a path they are kept, but nobody sees them."""

    def __init__(self, path: str | None) -> None:
        size = _SLOT.size * len(NAMES)
        if path is None:
            self._map = mmap.mmap(-1, size)
            return
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def add(self, name: str, n: int = 1) -> None:
        at = NAMES.index(name) * _SLOT.size
        (value,) = _SLOT.unpack_from(self._map, at)
        _SLOT.pack_into(self._map, at, value + n)

    def count(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted."""

        def counted(*arguments: object, **options: object) -> Any:
            self.add(name)
            return function(*arguments, **options)

        return counted

    def count_bus(self, rt: Any) -> None:
        """Count what a bridge asks its bus for. Before it serves."""
        bus = rt._bus
        bus.read = self.count("bus_reads", bus.read)
        bus.position = self.count("bus_positions", bus.position)


def here() -> Counters:
    """The counters that the benchmark wants to see."""
    return Counters(os.environ.get("BENCH_COUNTERS"))


def create(path: Path) -> None:
    path.write_bytes(bytes(_SLOT.size * len(NAMES)))


def read(path: Path) -> dict[str, int]:
    return dict(zip(NAMES, struct.unpack(f"<{len(NAMES)}Q", path.read_bytes()), strict=True))
