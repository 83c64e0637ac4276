"""Sources in a fleet on one bus: who runs them, when, and what is published."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from rtbridge import Bridge, DeclarationError, History
from support.fleet import Fleet

EVERY = 4.0


class World:
    """A value that changes, and who asked for it."""

    def __init__(self, **limits: Any) -> None:
        self.fleet = Fleet(**limits)
        self.value: object = 0
        self.asked: list[float] = []
        self.fails = False
        self.fleet.declare("photos", self._ask, EVERY)

    def _ask(self) -> object:
        self.asked.append(self.fleet.loop.time)
        if self.fails:
            raise ZeroDivisionError
        return self.value

    def advance(self, seconds: float) -> None:
        self.fleet.loop.advance(seconds)

    def asked_within(self, seconds: float) -> int:
        before = len(self.asked)
        self.advance(seconds)
        return len(self.asked) - before


@pytest.fixture
def world() -> World:
    return World()


def test_nobody_watches_nobody_asks(world: World) -> None:
    world.fleet.start()
    assert world.asked_within(100) == 0


def test_the_first_who_watches_has_it_at_once(world: World) -> None:
    world.fleet.start().watch("photos")
    world.fleet.loop.run()
    assert (world.fleet.newest("photos"), len(world.asked)) == (0, 1)


def test_one_of_many_processes_asks_every_so_often(world: World) -> None:
    for _ in range(5):
        process = world.fleet.start()
        for _ in range(10):
            process.watch("photos")
    assert world.asked_within(20 * EVERY) in (20, 21)
    pauses = {round(b - a, 3) for a, b in pairwise(world.asked)}
    assert pauses == {EVERY}


def test_only_what_changed_is_published(world: World) -> None:
    world.fleet.start().watch("photos")
    world.advance(5 * EVERY)
    assert world.fleet.published("photos") == 1
    world.value = {"b": 1, "a": [2, 3]}
    world.advance(5 * EVERY)
    assert (world.fleet.published("photos"), world.fleet.newest("photos")) == (2, {"b": 1, "a": [2, 3]})


@pytest.mark.parametrize("tenth", range(10))
def test_it_moves_within_twice_every_whenever_its_process_dies(world: World, tenth: int) -> None:
    first = world.fleet.start()
    first.watch("photos")
    world.advance(1.37)
    world.fleet.start().watch("photos")
    world.advance(5 * EVERY + EVERY * tenth / 10)
    first.kill()
    died = world.fleet.loop.time
    world.advance(2 * EVERY)
    assert any(time > died for time in world.asked)


def test_it_ends_when_nobody_watches_any_more(world: World) -> None:
    process = world.fleet.start()
    reader = process.watch("photos")
    world.advance(3 * EVERY)
    reader.leave()
    world.advance(2 * EVERY + 1)
    assert world.asked_within(100) == 0
    # And begins again, though the channel has lingered here.
    process.watch("photos")
    assert world.asked_within(EVERY) >= 1


def test_a_short_poll_watches_for_twice_every(world: World) -> None:
    process = world.fleet.start()
    process.poll("photos")
    assert world.asked_within(2 * EVERY - 0.1) == 2
    assert world.asked_within(100) <= 1
    for _ in range(10):
        process.poll("photos")
        world.advance(EVERY)
    assert world.asked_within(0.1) <= 1 and len(world.asked) >= 12


def test_polls_that_go_from_process_to_process(world: World) -> None:
    """No stickiness: whoever answered last may run it, and it goes on all the same."""
    processes = [world.fleet.start() for _ in range(4)]
    world.value = "x"
    for turn in range(40):
        processes[turn % 4].poll("photos")
        world.advance(EVERY)
    longest = max(b - a for a, b in pairwise(world.asked))
    assert longest <= 2 * EVERY and len(world.asked) <= 50


@pytest.mark.parametrize("lost", [False, True])
def test_a_process_that_was_stopped_does_not_publish_over_a_newer_value(world: World, lost: bool) -> None:
    """Stopped after its query and before its publish: the hardest moment. Even where the bus lost the post."""
    fleet = world.fleet

    def stalls_once() -> object:
        taken = world.value
        if taken == "old":
            world.value = "new"
            fleet.stall(3 * EVERY)
            if lost:
                post = fleet.running and fleet.running.sources._posts["rows"]
                assert post and post.held
                fleet.bus.put(post.key, post.held, 100.0)
        return taken

    fleet.declare("rows", stalls_once, EVERY, keep=History(100, ttl=3600))
    first, second = fleet.start(), fleet.start()
    first.watch("rows")
    world.advance(EVERY)
    second.watch("rows")
    world.value = "old"
    world.advance(10 * EVERY)
    assert fleet.all_published("rows") == [0, "new"]


def test_two_who_saw_the_same_publish_once(world: World) -> None:
    """Should the post itself be lost (the bus forgot it): the key names the position that was seen."""
    fleet = world.fleet
    fleet.bus.publish("photos", b"1", fleet.keep("photos"))
    seen = fleet.bus.position("photos")
    one = fleet.bus.publish("photos", b"2", fleet.keep("photos"), key=f"source:{seen}")
    two = fleet.bus.publish("photos", b"3", fleet.keep("photos"), key=f"source:{seen}")
    assert one == two and fleet.newest("photos") == 2


def test_what_somebody_else_published_is_mended(world: World) -> None:
    world.fleet.start().watch("photos")
    world.advance(EVERY)
    world.fleet.bus.publish("photos", b'"something else"', world.fleet.keep("photos"))
    world.advance(EVERY)
    assert world.fleet.newest("photos") == 0


def test_one_that_fails_is_asked_less_and_less_often(world: World, caplog: pytest.LogCaptureFixture) -> None:
    process = world.fleet.start()
    process.watch("photos")
    world.advance(EVERY)
    world.fails = True
    assert world.asked_within(40 * EVERY) <= 8
    assert "ZeroDivisionError" in caplog.text
    assert process.metrics.snapshot()["source_failures"] >= 4
    world.fails = False
    world.value = "mended"
    world.advance(world.fleet.limits.source_backoff)
    assert world.fleet.newest("photos") == "mended"
    assert world.asked_within(10 * EVERY) >= 9


def test_each_channel_of_a_family_has_a_run_of_its_own(world: World) -> None:
    asked: list[int] = []

    def rows(group_id: int) -> int:
        asked.append(group_id)
        return group_id * 10

    world.fleet.declare("groups/{group_id:int}/photos", rows, EVERY)
    process = world.fleet.start()
    process.watch("groups/3/photos")
    process.watch("groups/4/photos")
    world.advance(EVERY * 3)
    assert asked.count(3) == asked.count(4) and set(asked) == {3, 4}
    assert world.fleet.newest("groups/4/photos") == 40


def test_a_value_that_is_too_large_is_a_failure() -> None:
    world = World(max_publication=10)
    world.value = "x" * 100
    process = world.fleet.start()
    process.watch("photos")
    world.advance(1)
    assert process.metrics.snapshot()["source_failures"] == 1 and world.fleet.published("photos") == 0


def test_declaring() -> None:
    rt = Bridge()
    photos = rt.channel("photos", list, keep="latest", public=True, transport="shortpoll", every=5)
    rt.source(photos)(lambda: [1])
    assert rt.sources[photos].every == 5
    with pytest.raises(DeclarationError, match="already"):
        rt.source(photos, every=5, view="/api/photos")
    typing = rt.channel("typing", keep="volatile")
    with pytest.raises(DeclarationError, match="volatile"):
        rt.source(typing, every=5)(lambda: 1)
    groups = rt.channel("groups/{group_id:int}")
    with pytest.raises(DeclarationError, match=r"called with \(group_id\)"):
        rt.source(groups, every=5)(lambda: 1)
    with pytest.raises(DeclarationError, match="each parameter"):
        rt.source(groups, every=5, view="/api/groups")
    with pytest.raises(DeclarationError, match="above 0"):
        rt.source(groups, every=0)(lambda group_id: 1)
