"""The fanout over a bus whose link a test holds in its hands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtbridge.bus import LATEST, VOLATILE, History, Keep
from rtbridge.bus.memory import MemoryBus
from rtbridge.config import Limits
from rtbridge.errors import BusError, BusUnavailable
from rtbridge.fanout import Fanout, Tail
from rtbridge.fanout import asking as asking_module
from rtbridge.fanout.watched import LONGEST, MOST_LOOKS
from rtbridge.metrics import Metrics
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page
from support.fakebus import FakeBus
from support.fakeloop import FakeLoop

KEEP = History(100)
LIMITS = Limits(
    tail_prime=5, tail_publications=20, tail_linger=60.0, sweep_interval=3.0, page_publications=10
)


class World:
    """A loop, a bus and a fanout."""

    def __init__(self, limits: Limits = LIMITS, *, blocking: bool = True) -> None:
        self.loop = FakeLoop()
        self.bus = FakeBus(limits, self.loop.now)
        self.bus.blocking = blocking
        self.metrics = Metrics()
        self.fanout = Fanout(self.bus, self.loop, limits, self.metrics)
        self.bus.listen(self.fanout)

    def tail(self, channel: str = "news", keep: Keep = KEEP) -> Tail:
        answers: list[Tail | BusError] = []
        self.fanout.when_ready(channel, keep, answers.append)
        self.loop.run()
        assert isinstance(answers[0], Tail), answers
        return answers[0]

    def publish(self, count: int = 1, channel: str = "news", keep: Keep = KEEP) -> Position:
        for _ in range(count):
            position = self.bus.publish(channel, b"1", keep)
        return position

    def deliver(self) -> None:
        self.bus.deliver_all()
        self.loop.run()


class Reader:
    def __init__(self) -> None:
        self.heard: list[str] = []

    weight = 1

    def news(self, channel: str) -> None:
        self.heard.append(channel)


@pytest.fixture
def world() -> World:
    return World()


def offsets(tail: Tail) -> list[int]:
    return [entry.offset for entry in tail.entries]


# when_ready


def test_a_tail_is_primed_with_the_newest(world: World) -> None:
    world.publish(8)
    tail = world.tail()
    assert offsets(tail) == [4, 5, 6, 7, 8]
    assert tail.position() == world.bus.position("news")


def test_a_tail_of_an_empty_channel(world: World) -> None:
    tail = world.tail()
    assert (offsets(tail), tail.last) == ([], 0)


def test_it_watches_before_it_reads(world: World) -> None:
    world.tail()
    assert [asked[0] for asked in world.bus.asked] == ["watch", "read"]


def test_many_who_wait_cost_one_watch(world: World) -> None:
    answers: list[Tail | BusError] = []
    for _ in range(100):
        world.fanout.when_ready("news", KEEP, answers.append)
    world.loop.run()
    assert len({id(answer) for answer in answers}) == 1 and len(answers) == 100
    assert len(world.bus.asked) == 2
    world.fanout.when_ready("news", KEEP, answers.append)
    assert len(answers) == 101  # at once


def test_a_bus_that_does_not_block_is_asked_at_once() -> None:
    world = World(blocking=False)
    answers: list[Tail | BusError] = []
    world.fanout.when_ready("news", KEEP, answers.append)
    assert isinstance(answers[0], Tail)
    assert not world.loop.jobs


@pytest.mark.parametrize("blocking", [True, False])
def test_an_error_reaches_all_who_wait_and_the_next_tries_again(blocking: bool) -> None:
    world = World(blocking=blocking)
    world.bus.down = True
    answers: list[Tail | BusError] = []
    world.fanout.when_ready("news", KEEP, answers.append)
    world.fanout.when_ready("news", KEEP, answers.append)
    world.loop.run()
    assert [type(answer) for answer in answers] == [BusUnavailable, BusUnavailable]
    world.bus.down = False
    assert world.tail().last == 0


def test_a_failing_bus_never_leaves_anybody_waiting(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.bus.memory = None  # type: ignore[assignment]
    answers: list[Tail | BusError] = []
    world.fanout.when_ready("news", KEEP, answers.append)
    world.loop.run()
    assert [type(answer) for answer in answers] == [BusError]
    assert "should not" in caplog.text


def test_one_who_waits_and_fails_does_not_hurt_the_others(world: World) -> None:
    answers: list[Tail | BusError] = []
    world.fanout.when_ready("news", KEEP, lambda tail: 1 // 0)
    world.fanout.when_ready("news", KEEP, answers.append)
    world.loop.run()
    assert len(answers) == 1


def test_what_arrives_while_priming_is_not_lost(world: World) -> None:
    answers: list[Tail | BusError] = []
    world.fanout.when_ready("news", KEEP, answers.append)
    world.bus.memory.watch("news")
    world.publish(3)
    world.bus.deliver_all()
    world.loop.run_calls()  # held
    world.bus.memory.publish("news", b"1", KEEP)
    world.loop.run()  # primed with all four, and with the fourth still on its way
    world.deliver()
    assert isinstance(answers[0], Tail)
    assert offsets(answers[0]) == [1, 2, 3, 4]


# arrivals


def test_readers_hear_once_for_all_that_came_together(world: World) -> None:
    tail, reader, other = world.tail(), Reader(), Reader()
    world.fanout.join("news", reader)
    world.fanout.join("news", reader)
    world.fanout.join("news", other)
    world.publish(5)
    world.deliver()
    assert (reader.heard, other.heard) == (["news"], ["news"])
    assert offsets(tail) == [1, 2, 3, 4, 5]
    world.fanout.leave("news", other)
    world.fanout.leave("news", other)
    world.publish()
    world.deliver()
    assert (reader.heard, other.heard) == (["news"] * 2, ["news"])


def test_a_reader_that_fails_does_not_hurt_the_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Bad(Reader):
        weight = 1

        def news(self, channel: str) -> None:
            raise ValueError("an odd reader")

    world.tail()
    reader = Reader()
    world.fanout.join("news", Bad())
    world.fanout.join("news", reader)
    world.publish()
    world.deliver()
    assert reader.heard == ["news"]
    assert "an odd reader" in caplog.text


def test_joining_what_is_not_watched_is_a_mistake(world: World) -> None:
    with pytest.raises(LookupError, match="when_ready"):
        world.fanout.join("news", Reader())
    world.fanout.leave("news", Reader())
    assert world.fanout.tail("news") is None


def test_a_repetition_is_passed_over(world: World) -> None:
    tail = world.tail()
    world.publish(3)
    for _ in range(3):
        world.bus.deliver(0, keep=True)
    world.deliver()
    assert offsets(tail) == [1, 2, 3]


def test_a_hole_is_filled_from_the_history(world: World) -> None:
    tail, reader = world.tail(), Reader()
    world.fanout.join("news", reader)
    world.publish(5)
    del world.bus.link[:4]
    world.deliver()
    assert offsets(tail) == [1, 2, 3, 4, 5]
    assert reader.heard
    assert world.metrics.snapshot()["fanout_repairs"] == 1


def test_the_other_way_round_is_put_in_order(world: World) -> None:
    tail = world.tail()
    world.publish(6)
    world.bus.link.reverse()
    world.deliver()
    assert offsets(tail) == [1, 2, 3, 4, 5, 6]


def test_a_repair_of_many_pages(world: World) -> None:
    tail = world.tail()
    world.publish(35)
    del world.bus.link[:34]
    world.deliver()
    assert offsets(tail) == list(range(16, 36))  # tail_publications


def test_what_arrives_while_repairing_is_kept(world: World) -> None:
    tail = world.tail()
    world.publish(3)
    del world.bus.link[:2]
    world.bus.deliver_all()
    world.loop.run_calls()
    assert offsets(tail) == []  # a repair was asked for
    world.loop.run_job()  # and its answer is on its way
    world.publish(4)
    world.bus.deliver_all()
    world.loop.run()
    assert offsets(tail) == [1, 2, 3, 4, 5, 6, 7]
    assert world.metrics.snapshot()["fanout_repairs"] == 1


def test_more_than_can_be_held_while_repairing_is_read(world: World) -> None:
    tail = world.tail()
    world.publish(2)
    del world.bus.link[0]
    world.bus.deliver_all()
    world.loop.run_calls()
    world.loop.run_job()
    world.publish(50)
    world.bus.deliver_all()
    assert len(world.fanout._channels["news"].held) <= 20
    world.loop.run()
    assert tail.last == 52
    assert offsets(tail) == list(range(33, 53))


def test_a_hole_that_cannot_be_filled_restarts_the_tail(world: World) -> None:
    keep = History(3)
    tail, reader = world.tail(keep=keep), Reader()
    start = tail.position()
    world.fanout.join("news", reader)
    world.publish(8, keep=keep)
    del world.bus.link[:7]
    world.deliver()
    assert reader.heard
    assert (offsets(tail), tail.last) == ([], 8)
    assert tail.after(start, 10, 1_000) is None
    found: list[object] = []
    world.fanout.read_bus("news", start, 10, found.append)
    world.loop.run()
    assert found == [Gap(Position(start.epoch, 8))]
    world.publish(keep=keep)
    world.deliver()
    assert offsets(tail) == [9]


def test_a_log_that_forgot_is_noticed_when_something_arrives(world: World) -> None:
    tail, reader = world.tail(), Reader()
    world.fanout.join("news", reader)
    before = world.publish(2)
    world.deliver()
    world.bus.forget("news")
    world.publish(3)
    world.deliver()
    now = world.bus.position("news")
    assert (tail.position(), tail.after(before, 10, 1_000)) == (now, Gap(now))
    assert len(reader.heard) == 2


def test_a_notification_of_a_dead_log_changes_nothing(world: World) -> None:
    tail = world.tail()
    world.publish(2)
    late = world.bus.link[:]
    world.bus.link.clear()
    world.bus.forget("news")
    world.publish(3)
    world.deliver()
    for _ in range(3):
        world.bus.link.extend(late)
        world.deliver()
    assert tail.position() == world.bus.position("news")
    assert len(world.loop.jobs) == 0


def test_an_arrival_for_a_channel_that_is_not_here_is_ignored(world: World) -> None:
    world.tail("other")
    world.bus.memory.watch("news")
    world.publish()
    world.deliver()
    assert world.fanout.tail("news") is None


# other kinds


def test_latest_holds_the_newest_and_minds_no_hole(world: World) -> None:
    world.publish(3, keep=LATEST)
    tail = world.tail(keep=LATEST)
    assert offsets(tail) == [3]
    world.publish(4, keep=LATEST)
    del world.bus.link[:3]
    world.deliver()
    assert offsets(tail) == [7]
    assert "fanout_repairs" not in world.metrics.snapshot()


def test_latest_goes_on_in_another_epoch(world: World) -> None:
    tail = world.tail(keep=LATEST)
    before = world.publish(3, keep=LATEST)
    world.deliver()
    world.bus.forget("news")
    world.publish(1, keep=LATEST)
    world.deliver()
    assert offsets(tail) == [1]
    found = tail.after(before, 10, 1_000)
    assert isinstance(found, list) and [entry.offset for entry in found] == [1]


def test_volatile_is_never_repaired(world: World) -> None:
    tail, reader = world.tail(keep=VOLATILE), Reader()
    world.fanout.join("news", reader)
    world.publish(5, keep=VOLATILE)
    del world.bus.link[1]
    world.deliver()
    assert offsets(tail) == [1, 3, 4, 5]
    world.bus.forget("news")
    world.publish(2, keep=VOLATILE)
    world.deliver()
    assert offsets(tail) == [1, 2]
    assert "fanout_repairs" not in world.metrics.snapshot()


def test_a_sweep_does_not_pass_over_a_volatile_one_on_its_way(world: World) -> None:
    tail = world.tail(keep=VOLATILE)
    world.publish(1, keep=VOLATILE)
    world.loop.advance(10.0)
    world.deliver()
    assert offsets(tail) == [1]


# what nobody tells


def test_a_channel_that_fell_silent_is_found_by_the_sweep(world: World) -> None:
    tail, reader = world.tail(), Reader()
    world.fanout.join("news", reader)
    world.publish(3)
    world.bus.link.clear()
    world.loop.advance(2.9)
    assert reader.heard == []
    world.loop.advance(0.2)
    assert reader.heard == ["news"]
    assert offsets(tail) == [1, 2, 3]


def test_a_log_that_began_anew_while_all_was_silent_is_found_by_the_sweep(world: World) -> None:
    """Of all channels at once, when Redis lost its data: what is known already is not asked once for each of them."""
    tail, reader = world.tail(), Reader()
    world.fanout.join("news", reader)
    before = world.publish(2)
    world.deliver()
    world.bus.forget("news")
    world.loop.advance(3.1)
    now = world.bus.position("news")
    assert (tail.position(), tail.after(before, 10, 1_000)) == (now, Gap(now))
    assert len(reader.heard) == 2
    counted = world.metrics.snapshot()
    assert counted["fanout_gaps"] == 1 and "fanout_repairs" not in counted
    world.publish(1)
    world.deliver()
    assert offsets(tail) == [1]


def test_a_suspicion_is_followed_at_once(world: World) -> None:
    tails = [world.tail(f"c{number}") for number in range(3)]
    for number in range(3):
        world.publish(2, f"c{number}")
    world.bus.link.clear()
    world.fanout.suspect("c1")
    world.fanout.suspect("unknown")
    world.loop.run()
    assert [tail.last for tail in tails] == [0, 2, 0]
    world.fanout.suspect(None)
    world.loop.run()
    assert [tail.last for tail in tails] == [2, 2, 2]


def test_a_suspicion_while_priming_is_not_forgotten(world: World) -> None:
    answers: list[Tail | BusError] = []
    world.fanout.when_ready("news", KEEP, answers.append)
    world.loop.run_job()
    world.publish(2)
    world.bus.link.clear()
    world.fanout.suspect(None)
    # The suspicion is dealt with before the answer of the bus, which is older.
    world.loop.calls.rotate(1)
    world.loop.run()
    assert isinstance(answers[0], Tail)
    assert answers[0].last == 2


def test_a_log_that_went_backwards_is_noticed(world: World) -> None:
    """A failover lost what we have, in the same epoch: the next publication would look like a repetition."""
    tail = world.tail()
    world.publish(5)
    world.deliver()
    world.bus.rewind("news", 3)
    world.loop.advance(3.0)
    assert tail.position() == world.bus.position("news")
    assert tail.last == 2
    assert tail.after(Position(tail.epoch, 5), 10, 1_000) is None


def test_a_position_read_before_an_arrival_is_not_backwards(world: World) -> None:
    tail = world.tail()
    world.publish(2)
    world.deliver()
    world.fanout.suspect(None)
    world.loop.run_calls()
    world.loop.run_job()  # the position is read
    world.publish(2)
    world.bus.deliver_all()
    world.loop.calls.rotate(2)  # and comes after what arrived later
    world.loop.run()
    assert tail.last == 4
    assert "fanout_repairs" not in world.metrics.snapshot()


def test_sweeps_are_few_questions_and_never_overlap(world: World) -> None:
    limits = replace(LIMITS, tail_linger=1_000.0)
    world = World(limits)
    for number in range(250):
        world.tail(f"c{number}")
    world.loop.run_calls()
    world.fanout._tick()
    assert world.fanout._sweeping == 3
    world.fanout._tick()
    assert world.fanout._sweeping == 3
    world.loop.run()
    assert world.fanout._sweeping == 0


def test_memory_is_not_swept() -> None:
    world = World(blocking=False)
    world.tail()
    world.bus.asked.clear()
    world.loop.advance(30.0)
    assert world.bus.asked == []


def test_what_was_not_kept_is_passed_over(world: World) -> None:
    """The bus is ahead and has nothing to show for it: then there is nothing to wait for."""
    tail = world.tail()
    world.publish(2)
    world.deliver()
    world.publish(3, keep=VOLATILE)
    world.bus.link.clear()
    world.loop.advance(30.0)
    assert (tail.last, offsets(tail)) == (5, [])
    assert world.metrics.snapshot()["fanout_repairs"] == 1


# the bus away


def test_while_the_bus_is_away_the_tail_answers_and_afterwards_all_heals(world: World) -> None:
    tail, reader = world.tail(), Reader()
    start = tail.position()
    world.fanout.join("news", reader)
    world.publish(2)
    world.deliver()
    world.bus.down = True
    world.publish(3)
    world.bus.link.clear()
    world.fanout.suspect(None)
    world.loop.advance(20.0)
    assert world.fanout.tail("news") is tail
    found = tail.after(start, 10, 1_000)
    assert isinstance(found, list) and len(found) == 2
    world.bus.down = False
    world.loop.advance(5.0)
    assert offsets(tail) == [1, 2, 3, 4, 5]


def test_a_repair_goes_on_when_the_bus_is_back(world: World) -> None:
    tail = world.tail()
    world.publish(3)
    del world.bus.link[:2]
    world.bus.down = True
    world.deliver()
    world.loop.advance(10.0)
    assert tail.last == 0
    world.bus.down = False
    world.loop.advance(1.0)
    assert offsets(tail) == [1, 2, 3]


# lingering


def test_a_channel_without_readers_lingers_and_is_let_go(world: World) -> None:
    world.tail()
    reader = Reader()
    world.fanout.join("news", reader)
    world.loop.advance(500.0)
    assert world.fanout._channels
    world.fanout.leave("news", reader)
    world.loop.advance(50.0)
    assert world.fanout.tail("news") is not None  # and it was touched
    world.loop.advance(50.0)
    assert world.fanout._channels
    world.loop.advance(20.0)
    assert world.bus.asked[-1] == ("unwatch", "news")
    assert world.fanout._channels == {}
    assert world.fanout._stock.size == 0
    assert world.loop.timers.next() is None  # nothing to do, nothing that wakes


def test_one_who_comes_while_it_is_let_go_waits_for_both(world: World) -> None:
    """Were unwatch and watch under way together, the one that is late would win."""
    world.tail()
    world.loop.advance(59.0)
    world.loop.time += 10.0
    world.loop.run_timers()
    assert world.fanout.tail("news") is None
    answers: list[Tail | BusError] = []
    world.fanout.when_ready("news", KEEP, answers.append)
    assert len(world.loop.jobs) == 1
    world.loop.run()
    assert [asked[0] for asked in world.bus.asked if asked[0] != "position"] == [
        "watch",
        "read",
        "unwatch",
        "watch",
        "read",
    ]
    assert isinstance(answers[0], Tail)
    world.publish()
    world.deliver()
    assert offsets(answers[0]) == [1]


def test_letting_go_while_the_bus_is_away(world: World) -> None:
    world.tail()
    world.bus.down = True
    world.loop.advance(100.0)
    assert world.fanout._channels == {}


# reading


def test_the_same_question_is_asked_once(world: World) -> None:
    world.publish(5)
    found: list[object] = []
    start = Position(world.bus.position("news").epoch, 2)
    world.bus.asked.clear()
    for _ in range(10):
        world.fanout.read_bus("news", start, 10, found.append)
    world.fanout.read_bus("news", start, 10, lambda page: 1 // 0)
    world.fanout.read_bus("news", None, 2, found.append)
    world.loop.run()
    assert len(world.bus.asked) == 2
    assert len(found) == 11
    assert all(isinstance(page, Page) for page in found)
    world.fanout.read_bus("news", start, 10, found.append)
    world.loop.run()
    assert len(world.bus.asked) == 3


def test_ten_thousand_questions_are_no_ten_thousand_workers(world: World) -> None:
    found: list[object] = []
    for number in range(10_000):
        world.fanout.read_bus(f"c{number}", None, 1, found.append)
    assert len(world.loop.jobs) == asking_module.WORKERS
    world.loop.run()
    assert len(found) == 10_000
    assert world.fanout._asker._workers == 0


def test_a_killed_worker_tells_and_is_replaced(world: World) -> None:
    class Killed(BaseException):
        pass

    real, found = world.bus.read, []  # type: ignore[var-annotated]

    def read(channel: str, after: Position | None, limit: int) -> Page | Gap:
        if channel == "c0":
            raise Killed
        return real(channel, after, limit)

    world.bus.read = read  # type: ignore[method-assign]
    asking_module_workers = asking_module.WORKERS
    for number in range(asking_module_workers + 5):
        world.fanout.read_bus(f"c{number}", None, 1, found.append)
    with pytest.raises(Killed):
        world.loop.run()
    world.loop.run()
    assert sum(isinstance(page, BusUnavailable) for page in found) == 1
    assert len(found) == asking_module_workers + 5
    assert world.fanout._asker._workers == 0


def test_a_system_without_threads_to_spare_is_tried_again(world: World) -> None:
    real, found = world.loop.spawn, []  # type: ignore[var-annotated]

    def spawn(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    world.loop.spawn = spawn  # type: ignore[method-assign]
    world.fanout.read_bus("news", None, 1, found.append)
    world.loop.run()
    assert found == []
    world.loop.spawn = real  # type: ignore[method-assign]
    world.loop.advance(1.0)
    assert len(found) == 1


# the end, and numbers


def test_after_close_nobody_hears_anything(world: World) -> None:
    world.tail()
    reader = Reader()
    world.fanout.join("news", reader)
    world.fanout.when_ready("other", KEEP, lambda tail: reader.news("other"))
    world.fanout.close()
    world.publish()
    world.deliver()
    world.loop.advance(100.0)
    assert reader.heard == []
    assert world.loop.errors == []


def test_the_gauges(world: World) -> None:
    tail = world.tail()
    world.publish(3)
    world.deliver()
    world.loop.advance(3.0)
    numbers = world.metrics.snapshot()
    assert numbers["fanout_channels"] == 1
    assert numbers["fanout_tail_bytes"] == tail.size > 0


def test_over_the_real_memory_bus() -> None:
    loop = FakeLoop()
    bus = MemoryBus(LIMITS, loop.now)
    fanout = Fanout(bus, loop, LIMITS, Metrics())
    bus.listen(fanout)
    tails: list[Tail | BusError] = []
    fanout.when_ready("news", KEEP, tails.append)
    reader = Reader()
    fanout.join("news", reader)
    for _ in range(3):
        bus.publish("news", b"1", KEEP)
    loop.run()
    assert isinstance(tails[0], Tail)
    assert (offsets(tails[0]), reader.heard) == ([1, 2, 3], ["news"])


# Waiting for what comes along


class Crowd(Reader):
    """Stands for many clients."""

    def __init__(self, weight: int) -> None:
        super().__init__()
        self.weight = weight


def publish_in_every_turn(world: World, turns: int) -> None:
    for _ in range(turns):
        world.publish()
        world.bus.deliver_all()
        world.loop.run_calls()


def test_many_are_told_once_of_what_keeps_coming(world: World) -> None:
    world.tail()
    many, one = Crowd(1_000), Reader()
    world.fanout.join("news", many)
    world.tail("other")
    world.fanout.join("other", one)
    publish_in_every_turn(world, 16)
    assert many.heard == []
    world.publish(channel="other")
    world.deliver()
    assert (many.heard, one.heard) == (["news"], ["other"])


def test_a_few_are_told_at_once(world: World) -> None:
    world.tail()
    few = Crowd(10)
    world.fanout.join("news", few)
    publish_in_every_turn(world, 16)
    assert len(few.heard) >= 8


def test_what_never_stops_coming_is_told_all_the_same(world: World) -> None:
    world.tail()
    many = Crowd(1_000_000)
    world.fanout.join("news", many)
    publish_in_every_turn(world, MOST_LOOKS + 4)
    assert len(many.heard) == 1


def test_nobody_waits_for_long_turns(world: World) -> None:
    world.tail()
    many = Crowd(1_000)
    world.fanout.join("news", many)
    publish_in_every_turn(world, 3)
    world.loop.time += LONGEST
    publish_in_every_turn(world, 1)
    assert many.heard == ["news"]


def test_who_rests_hears_nothing_and_keeps_the_channel(world: World) -> None:
    world.tail()
    reader, other = Reader(), Reader()
    for each in (reader, other):
        world.fanout.join("news", each)
    world.fanout.rest("news", reader)
    world.fanout.leave("news", other)
    world.publish()
    world.deliver()
    world.loop.advance(3 * LIMITS.tail_linger)
    assert (reader.heard, world.fanout.readers("news")) == ([], 1)
    world.fanout.join("news", reader)
    world.publish()
    world.deliver()
    assert reader.heard == ["news"]
    world.fanout.rest("news", reader)
    world.fanout.leave("news", reader)
    world.loop.advance(3 * LIMITS.tail_linger)
    assert world.fanout.tail("news") is None
