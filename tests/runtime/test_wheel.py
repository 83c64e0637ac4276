"""Coarse timeouts: how coarse, what is shared, and what a tick may do to others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.runtime import Spoke, Wheel
from rtbridge.runtime.wheel import AT_ONCE
from support.fakeloop import FakeLoop


class Item:
    def __init__(self, wheel: Wheel) -> None:
        self.wheel = wheel
        self.ticks: list[float] = []
        self.spoke: Spoke | None = None

    def tick(self) -> None:
        self.ticks.append(self.wheel._loop.now())


@given(delay=st.floats(0.001, 10_000), start=st.floats(0, 1_000_000), early=st.booleans())
def test_a_tick_is_at_most_a_sixteenth_off(delay: float, start: float, early: bool) -> None:
    loop = FakeLoop(start)
    wheel = Wheel(loop)
    item = Item(wheel)
    wheel.add(delay, item, early=early)
    loop.advance(2 * delay + 1)
    (ticked,) = item.ticks
    off = ticked - (start + delay)
    slack = 1e-6 + delay / 16
    assert (-slack <= off <= 1e-6) if early else (-1e-6 <= off <= slack)


def test_no_delay_is_soon() -> None:
    loop = FakeLoop()
    item = Item(wheel := Wheel(loop))
    wheel.add(0, item)
    loop.advance(0.001)
    assert len(item.ticks) == 1


def test_thousands_share_a_few_timers() -> None:
    loop = FakeLoop()
    wheel = Wheel(loop)
    items = [Item(wheel) for _ in range(5_000)]
    for item in items:
        wheel.add(25, item)
        loop.time += 0.001
    assert len(loop.timers._heap) <= 7
    loop.advance(30)
    assert [len(item.ticks) for item in items] == [1] * 5_000


def test_who_was_taken_off_does_not_tick_and_is_not_kept() -> None:
    loop = FakeLoop()
    wheel = Wheel(loop)
    item, other = Item(wheel), Item(wheel)
    spoke = wheel.add(10, item)
    assert wheel.add(10, other) is spoke
    spoke.discard(item)
    assert list(spoke) == [other]
    loop.advance(11)
    assert (item.ticks, len(other.ticks)) == ([], 1)
    assert wheel._spokes == {}


def test_a_tick_may_take_others_off_and_put_itself_on_again() -> None:
    loop = FakeLoop()
    wheel = Wheel(loop)

    class Jealous(Item):
        def tick(self) -> None:
            super().tick()
            for each in pair:
                if each.spoke is not None:
                    each.spoke.discard(each)
            self.spoke = wheel.add(10, self)

    pair = [Jealous(wheel), Jealous(wheel)]
    for each in pair:
        each.spoke = wheel.add(10, each)
    loop.advance(11)
    assert sorted(len(each.ticks) for each in pair) == [0, 1]
    loop.advance(11)
    assert sorted(len(each.ticks) for each in pair) == [0, 2]


def test_a_tick_that_fails_is_alone_with_it(caplog: pytest.LogCaptureFixture) -> None:
    loop = FakeLoop()
    wheel = Wheel(loop)

    class Broken(Item):
        def tick(self) -> None:
            raise ValueError("an odd item")

    items = [Item(wheel) for _ in range(20)]
    for item in (*items[:10], Broken(wheel), *items[10:]):
        wheel.add(1, item)
    loop.advance(2)
    assert all(len(item.ticks) == 1 for item in items)
    assert "an odd item" in caplog.text


def test_a_full_spoke_lets_others_have_their_turn() -> None:
    loop = FakeLoop()
    wheel = Wheel(loop)
    items = [Item(wheel) for _ in range(AT_ONCE + 1)]
    for item in items:
        wheel.add(1, item)
    seen: list[int] = []
    loop.call_later(1, lambda: seen.append(sum(len(item.ticks) for item in items)))
    loop.advance(2)
    assert seen == [AT_ONCE]
    assert all(len(item.ticks) == 1 for item in items)
