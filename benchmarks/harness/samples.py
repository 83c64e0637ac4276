"""Repeating a measurement, with a bound on how often and how long."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """The median of some repetitions, with the smallest and the largest of them."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: list[float]) -> Sample:
        return cls(statistics.median(values), min(values), max(values), len(values))


def repeat(measure: Callable[[], float], times: int, seconds: float) -> Sample:
    """Measure up to `times` times, but begin none after `seconds`; at least once."""
    end = time.monotonic() + seconds
    values = [measure()]
    while len(values) < times and time.monotonic() < end:
        values.append(measure())
    return Sample.of(values)
