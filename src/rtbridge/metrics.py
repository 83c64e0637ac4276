"""Numbers about one process, by name. What they are called is said where they are counted."""

from __future__ import annotations

from rtbridge.runtime.native import native_lock


class Metrics:
    """Counters that only grow and gauges that are set. From any thread, cheap enough for hot paths."""

    def __init__(self) -> None:
        self._lock = native_lock()
        self._values: dict[str, float] = {}

    def add(self, name: str, n: float = 1) -> None:
        """Count `n` more of `name`."""
        with self._lock:
            self._values[name] = self._values.get(name, 0) + n

    def gauge(self, name: str, value: float) -> None:
        """Set `name` to its present `value`."""
        with self._lock:
            self._values[name] = value

    def snapshot(self) -> dict[str, float]:
        """All of them as they are now, in a dictionary of the caller's own."""
        with self._lock:
            return dict(self._values)
