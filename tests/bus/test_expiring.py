"""The dictionary that forgets."""

from __future__ import annotations

import math

from rtbridge.bus.expiring import Expiring


def test_an_expired_item_is_gone_before_it_is_swept() -> None:
    items: Expiring[str, int] = Expiring()
    items.put("a", 1, 10.0)
    assert items.get("a", 9.9) == 1
    assert items.get("a", 10.0) is None
    assert len(items) == 1
    items.sweep(10.0, 1)
    assert len(items) == 0


def test_a_renewed_item_stays() -> None:
    items: Expiring[str, int] = Expiring()
    items.put("a", 1, 10.0)
    items.put("a", 2, 20.0)
    items.sweep(15.0, 5)
    assert items.get("a", 15.0) == 2
    items.sweep(25.0, 5)
    assert len(items) == 0


def test_a_sweep_does_no_more_than_it_is_asked() -> None:
    items: Expiring[int, int] = Expiring()
    for number in range(10):
        items.put(number, number, 10.0)
    items.sweep(20.0, 3)
    assert len(items) == 7


def test_names_used_again_leave_no_trace() -> None:
    items: Expiring[str, int] = Expiring()
    for _ in range(100):
        items.put("a", 1, 10.0)
        items.drop("a")
    items.put("a", 2, 1_000.0)
    items.sweep(20.0, 1_000)
    assert items.get("a", 20.0) == 2
    assert len(items._heap) == 1


def test_what_never_expires_needs_no_place() -> None:
    items: Expiring[str, int] = Expiring()
    items.put("a", 1, math.inf)
    assert items._heap == []
    items.put("a", 2, 10.0)
    items.sweep(20.0, 5)
    assert len(items) == 0
    items.drop("a")
