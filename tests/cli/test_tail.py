"""`rtbridge tail` over a bus that loses, repeats and forgets: whole and in order, or a gap that is told."""

from __future__ import annotations

import io
import json
import time

import pytest

from rtbridge.bus import VOLATILE, History, Keep
from rtbridge.cli.tail import Follower
from rtbridge.config import Limits
from rtbridge.protocol.positions import Position
from support.fakebus import FakeBus

FIVE = History(5)


class House:
    def __init__(self, count: int | None = None) -> None:
        self.bus = FakeBus(Limits(), time.monotonic)
        self.out, self.notes = io.StringIO(), io.StringIO()
        self.follower = Follower(self.bus, "news", self.out, self.notes, count)

    def publish(self, *values: int, keep: Keep = FIVE) -> None:
        for value in values:
            self.bus.publish("news", b"%d" % value, keep)

    def step(self) -> None:
        """Everything that has arrived, then a look at the history."""
        self.bus.deliver_all()
        while not self.follower._arrivals.empty():
            self.follower.step(0)
        self.follower.step(0)

    @property
    def printed(self) -> list[int]:
        return [json.loads(line)["data"] for line in self.out.getvalue().splitlines()]


@pytest.fixture
def house() -> House:
    return House()


def test_it_begins_now_and_goes_on(house: House) -> None:
    house.publish(1, 2)
    house.follower.begin(None, 0)
    house.publish(3, 4)
    house.step()
    assert house.printed == [3, 4]
    assert json.loads(house.out.getvalue().splitlines()[0]) == {"position": "e1.3", "data": 3}


def test_it_begins_with_the_newest_few(house: House) -> None:
    house.publish(1, 2, 3)
    house.follower.begin(None, 2)
    house.publish(4)
    house.step()
    assert house.printed == [2, 3, 4]


def test_it_begins_at_a_position(house: House) -> None:
    house.publish(1, 2, 3)
    house.follower.begin(Position("e1", 1), 0)
    assert house.printed == [2, 3]


def test_what_was_lost_on_the_way_is_read_from_the_history(house: House) -> None:
    house.follower.begin(None, 0)
    house.publish(1, 2, 3)
    del house.bus.link[1]
    house.step()
    assert house.printed == [1, 2, 3]
    assert house.notes.getvalue() == ""


def test_a_lost_last_one_is_found_by_looking(house: House) -> None:
    house.follower.begin(None, 0)
    house.publish(1)
    house.bus.link.clear()
    house.step()
    assert house.printed == [1]


def test_what_arrives_twice_is_printed_once(house: House) -> None:
    house.follower.begin(None, 0)
    house.publish(1, 2)
    house.bus.link += house.bus.link
    house.step()
    assert house.printed == [1, 2]


def test_what_is_no_longer_kept_is_a_gap_and_said(house: House) -> None:
    house.follower.begin(None, 0)
    house.publish(*range(1, 10))
    house.bus.link[:] = house.bus.link[-1:]
    house.step()
    house.publish(10)
    house.step()
    assert house.printed == [10]
    assert house.notes.getvalue() == "news: gap: something between e1.0 and e1.9 is no longer kept\n"


def test_volatile_ones_are_printed_as_they_come(house: House) -> None:
    house.follower.begin(None, 0)
    house.publish(1, 2, keep=VOLATILE)
    house.step()
    assert house.printed == [1, 2]


def test_it_waits_while_the_bus_is_away(house: House) -> None:
    house.follower.begin(None, 0)
    house.publish(1, 2)
    del house.bus.link[0]
    house.bus.down = True
    house.step()
    house.step()
    assert house.printed == []
    assert house.notes.getvalue().count("going on when it is back") == 1
    house.bus.down = False
    house.step()
    assert house.printed == [1, 2]


def test_it_ends_after_as_many_as_asked_for() -> None:
    house = House(count=2)
    house.publish(1, 2, 3)
    house.follower.begin(None, 3)
    assert house.follower.done
    assert house.printed == [1, 2]
