"""The heap of timers, and the other small things of floor 0."""

from __future__ import annotations

import threading

from rtbridge.metrics import Metrics
from rtbridge.runtime import native_ident, native_lock
from rtbridge.runtime.timers import FEW, Timers


def fired(timers: Timers, now: float) -> list[object]:
    return [args[0] for _, args in timers.due(now)]


def test_in_order_of_time_then_of_setting() -> None:
    timers = Timers()
    for when, name in [(2.0, "c"), (1.0, "a"), (1.0, "b"), (3.0, "d")]:
        timers.add(when, print, (name,))
    assert timers.next() == 1.0
    assert fired(timers, 2.0) == ["a", "b", "c"]
    assert timers.next() == 3.0


def test_what_is_set_meanwhile_waits() -> None:
    timers = Timers()
    timers.add(1.0, print, ("first",))
    seen = []
    for _, args in timers.due(5.0):
        seen.append(args[0])
        timers.add(0.0, print, ("again",))
    assert seen == ["first"]
    assert fired(timers, 5.0) == ["again"]


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    timers.add(1_000.0, print, ("kept",))
    for number in range(10_000):
        timers.add(25.0 + number, print, ("never",)).cancel()
        assert len(timers._heap) <= FEW + 2
    assert fired(timers, 1e9) == ["kept"]


def test_cancelling_twice_or_late_counts_once() -> None:
    timers = Timers()
    timer = timers.add(1.0, print, ("x",))
    timer.cancel()
    timer.cancel()
    late = timers.add(1.0, print, ("y",))
    assert fired(timers, 1.0) == ["y"]
    late.cancel()
    assert timers._empty == 0
    assert timers.next() is None


def test_metrics_count_from_many_threads() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(1_000):
            metrics.add("calls")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics.add("bytes", 2.5)
    metrics.gauge("channels", 7)
    metrics.gauge("channels", 3)
    snapshot = metrics.snapshot()
    assert snapshot == {"calls": 4_000, "bytes": 2.5, "channels": 3}
    snapshot.clear()
    assert metrics.snapshot()["calls"] == 4_000


def test_native_things() -> None:
    lock = native_lock()
    with lock:
        assert not lock.acquire(False)
    assert native_ident()() == threading.get_ident()
