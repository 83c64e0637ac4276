"""What every bus keeps. A new bus is a class with the fixtures `bus` and `advance`; see
tests/bus/test_memory.py.

Make the bus with `LIMITS`. `advance(seconds)` makes time pass for the bus: a fake clock, or a real wait.
"""

from __future__ import annotations

import functools
import operator
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from rtbridge.bus import LATEST, VOLATILE, Bus, History, ToPublish
from rtbridge.config import Limits
from rtbridge.errors import BusError
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication

SOON = 10.0
"""Seconds after which a test gives up waiting."""

LIMITS = Limits(position_ttl=60.0, idempotency_ttl=20.0, page_publications=50, page_bytes=2_000)

Advance = Callable[[float], object]


class Recorder:
    """A listener that keeps what it hears, and can be waited for."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[tuple[str, str, Publication]] = queue.SimpleQueue()
        self.suspects: list[str | None] = []

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        for publication in publications:
            self.heard.put((channel, epoch, publication))

    def suspect(self, channel: str | None) -> None:
        self.suspects.append(channel)

    def next(self) -> tuple[str, str, Publication]:
        return self.heard.get(timeout=SOON)


def offsets(page: Page | Gap) -> list[int]:
    assert isinstance(page, Page), page
    return [publication.offset for publication in page.publications]


class BusContract:
    @pytest.fixture
    def bus(self) -> Iterator[Bus]:
        raise NotImplementedError
        yield

    @pytest.fixture
    def advance(self) -> Advance:
        raise NotImplementedError

    @pytest.fixture
    def recorder(self, bus: Bus) -> Recorder:
        recorder = Recorder()
        bus.listen(recorder)
        return recorder

    # positions

    def test_a_position_is_there_before_a_publication(self, bus: Bus) -> None:
        empty = bus.position("news")
        assert empty.offset == 0
        assert Position.parse(str(empty)) == empty
        assert bus.position("news") == empty
        assert bus.publish("news", b"1", History()) == Position(empty.epoch, 1)
        assert bus.position("news") == Position(empty.epoch, 1)

    def test_channels_have_epochs_of_their_own(self, bus: Bus) -> None:
        assert bus.position("a").epoch != bus.position("b").epoch

    def test_many_positions_at_once(self, bus: Bus) -> None:
        channels = [f"c{number}" for number in range(200)]
        for channel in channels[::3]:
            bus.publish(channel, b"1", History())
        assert bus.positions(channels) == [bus.position(channel) for channel in channels]
        assert [p.offset for p in bus.positions([*channels[:3], channels[0]])] == [1, 0, 0, 1]
        assert bus.positions([]) == []

    def test_epoch_and_counter_outlive_the_history(self, bus: Bus, advance: Advance) -> None:
        first = bus.publish("news", b"1", History(10, ttl=1.0))
        advance(40.0)
        assert bus.position("news") == first
        advance(40.0)  # more than position_ttl since the publication, not since the position was asked for
        assert bus.publish("news", b"2", History(10, ttl=1.0)) == Position(first.epoch, 2)

    def test_a_forgotten_log_is_another(self, bus: Bus, advance: Advance) -> None:
        before = bus.publish("news", b"1", History())
        advance(61.0)
        page = bus.read("news", before, 10)
        assert isinstance(page, Gap)
        assert page.position.offset == 0
        assert page.position.epoch != before.epoch

    def test_a_watched_log_is_not_forgotten(self, bus: Bus, advance: Advance) -> None:
        before = bus.publish("news", b"1", History())
        advance(40.0)
        bus.watch("news")
        advance(40.0)
        assert bus.position("news") == before

    # reading

    def test_data_and_cause_come_back_as_they_were(self, bus: Bus) -> None:
        data = '{"name":"Grüße","n":1}'.encode()
        bus.publish("news", data, History(), cause="call-0001")
        bus.publish("news", b"[]", History())
        page = bus.read("news", None, 10)
        assert isinstance(page, Page)
        assert page.publications == (Publication(1, data, "call-0001"), Publication(2, b"[]"))

    def test_reading_on_from_a_position(self, bus: Bus) -> None:
        start = bus.position("news")
        for number in range(5):
            bus.publish("news", b"%d" % number, History())
        page = bus.read("news", start, 3)
        assert isinstance(page, Page)
        assert (offsets(page), page.more, page.position) == ([1, 2, 3], True, Position(start.epoch, 3))
        page = bus.read("news", page.position, 3)
        assert isinstance(page, Page)
        assert (offsets(page), page.more, page.position) == ([4, 5], False, Position(start.epoch, 5))
        page = bus.read("news", page.position, 3)
        assert isinstance(page, Page)
        assert (offsets(page), page.more, page.position) == ([], False, Position(start.epoch, 5))

    def test_the_newest(self, bus: Bus) -> None:
        page = bus.read("news", None, 3)
        assert isinstance(page, Page)
        assert (page.publications, page.more, page.position) == ((), False, bus.position("news"))
        for number in range(5):
            bus.publish("news", b"%d" % number, History())
        page = bus.read("news", None, 3)
        assert isinstance(page, Page)
        assert (offsets(page), page.more, page.position) == ([3, 4, 5], False, bus.position("news"))
        assert offsets(bus.read("news", None, 0)) == []

    def test_what_is_kept_can_be_read_whole_and_what_is_not_is_a_gap(self, bus: Bus) -> None:
        epoch = bus.position("news").epoch
        for number in range(8):
            bus.publish("news", b"%d" % number, History(3))
        assert offsets(bus.read("news", Position(epoch, 5), 10)) == [6, 7, 8]
        assert bus.read("news", Position(epoch, 4), 10) == Gap(Position(epoch, 8))
        assert bus.read("news", Position(epoch, 0), 10) == Gap(Position(epoch, 8))
        assert offsets(bus.read("news", None, 10)) == [6, 7, 8]

    def test_another_epoch_or_a_position_ahead_is_a_gap(self, bus: Bus) -> None:
        here = bus.publish("news", b"1", History())
        assert bus.read("news", Position("other", 1), 10) == Gap(here)
        assert bus.read("news", Position("other", 0), 10) == Gap(here)
        assert bus.read("news", Position(here.epoch, 2), 10) == Gap(here)

    def test_a_position_of_a_channel_nobody_knows_is_a_gap(self, bus: Bus) -> None:
        page = bus.read("news", Position("other", 5), 10)
        assert page == Gap(bus.position("news"))

    def test_a_history_passes(self, bus: Bus, advance: Advance) -> None:
        start = bus.position("news")
        here = bus.publish("news", b"1", History(10, ttl=10.0))
        advance(5.0)
        assert offsets(bus.read("news", start, 10)) == [1]
        advance(6.0)
        assert bus.read("news", start, 10) == Gap(here)
        assert offsets(bus.read("news", here, 10)) == []
        assert offsets(bus.read("news", None, 10)) == []

    def test_what_is_young_is_kept_beside_what_is_old(self, bus: Bus, advance: Advance) -> None:
        first = bus.publish("news", b"1", History(10, ttl=10.0))
        advance(6.0)
        bus.publish("news", b"2", History(10, ttl=10.0))
        advance(6.0)
        assert offsets(bus.read("news", first, 10)) == [2]

    def test_a_smaller_history_from_now_on(self, bus: Bus) -> None:
        start = bus.position("news")
        for _ in range(5):
            bus.publish("news", b"1", History(10))
        last = bus.publish("news", b"2", History(2))
        assert offsets(bus.read("news", Position(start.epoch, 4), 10)) == [5, 6]
        assert bus.read("news", Position(start.epoch, 3), 10) == Gap(last)

    def test_pages_are_cut_by_count_whatever_is_asked(self, bus: Bus) -> None:
        start = bus.position("news")
        for _ in range(60):
            bus.publish("news", b"1", History(100))
        page = bus.read("news", start, 1_000)
        assert isinstance(page, Page)
        assert (offsets(page), page.more) == (list(range(1, 51)), True)
        assert offsets(bus.read("news", None, 1_000)) == list(range(11, 61))

    def test_pages_are_cut_by_bytes_but_never_empty(self, bus: Bus) -> None:
        start = bus.position("news")
        for size in (900, 900, 900, 3_000, 10):
            bus.publish("news", b"[" + b" " * (size - 2) + b"]", History())
        seen = []
        page = bus.read("news", start, 10)
        assert isinstance(page, Page)
        while page.publications:
            seen.append(offsets(page))
            assert page.more == (page.publications[-1].offset < 5)
            page = bus.read("news", page.position, 10)
            assert isinstance(page, Page)
        assert seen == [[1, 2], [3], [4], [5]]
        assert offsets(bus.read("news", None, 10)) == [5]

    # latest and volatile

    def test_of_a_latest_channel_there_is_always_the_newest(self, bus: Bus, advance: Advance) -> None:
        start = bus.position("price")
        for number in range(5):
            here = bus.publish("price", b"%d" % number, LATEST)
        advance(50.0)
        for after in (start, Position(here.epoch, 3), Position("other", 9), Position(here.epoch, 9)):
            page = bus.read("price", after, 10)
            assert page == Page(here, (Publication(5, b"4"),))
        assert bus.read("price", here, 10) == Page(here, ())
        assert bus.read("price", None, 10) == Page(here, (Publication(5, b"4"),))

    def test_of_a_volatile_channel_only_the_position_is_kept(self, bus: Bus) -> None:
        start = bus.position("typing")
        here = bus.publish("typing", b"1", VOLATILE)
        assert here == Position(start.epoch, 1)
        for after in (None, start, here, Position("other", 9), Position(here.epoch, 9)):
            assert bus.read("typing", after, 10) == Page(here, ())

    def test_a_channel_that_changes_its_kind_hides_no_hole(self, bus: Bus) -> None:
        first = bus.publish("news", b"1", History())
        bus.publish("news", b"2", VOLATILE)
        third = bus.publish("news", b"3", History())
        assert bus.read("news", first, 10) == Gap(third)
        bus.publish("news", b"4", LATEST)
        fifth = bus.publish("news", b"5", History())
        assert bus.read("news", third, 10) == Gap(fifth)

    # idempotency keys

    def test_a_key_publishes_once(self, bus: Bus, recorder: Recorder) -> None:
        bus.watch("news")
        first = bus.publish("news", b"1", History(), key="k")
        assert bus.publish("news", b"2", History(), key="k") == first
        assert bus.publish("news", b"3", History(), key="other").offset == 2
        assert bus.publish("more", b"4", History(), key="k").offset == 1
        assert [recorder.next()[2].data for _ in range(2)] == [b"1", b"3"]
        page = bus.read("news", None, 10)
        assert isinstance(page, Page)
        assert [publication.data for publication in page.publications] == [b"1", b"3"]

    def test_a_key_is_forgotten_in_time(self, bus: Bus, advance: Advance) -> None:
        first = bus.publish("news", b"1", History(), key="k")
        advance(15.0)
        assert bus.publish("news", b"2", History(), key="k") == first
        advance(6.0)  # since the first one, not since the repetition
        assert bus.publish("news", b"3", History(), key="k").offset == 2

    # many at once

    def test_many_are_published_in_their_order(self, bus: Bus, recorder: Recorder) -> None:
        bus.watch("a")
        several = [ToPublish("ab"[n % 2], b"%d" % n, History(100), "call-0001" if n == 4 else None) for n in range(30)]
        positions = bus.publish_many(several)
        assert [p.offset for p in positions] == [n // 2 + 1 for n in range(30)]
        assert {p.epoch for p in positions[::2]} == {bus.position("a").epoch}
        page = bus.read("b", None, 100)
        assert isinstance(page, Page)
        assert [p.data for p in page.publications] == [b"%d" % n for n in range(1, 30, 2)]
        heard = [recorder.next()[2] for _ in range(15)]
        assert [(p.data, p.cause) for p in heard[:3]] == [(b"0", None), (b"2", None), (b"4", "call-0001")]
        assert bus.publish_many([]) == []

    def test_of_many_with_keys_each_is_published_once(self, bus: Bus) -> None:
        several = [ToPublish("a", b"%d" % n, History(100), key=f"k{n % 3}") for n in range(9)]
        positions = bus.publish_many(several)
        assert [p.offset for p in positions] == [1, 2, 3] * 3
        assert bus.publish_many(several) == positions
        assert bus.position("a") == positions[2]

    # watching

    def test_a_watcher_hears_everything_in_order(self, bus: Bus, recorder: Recorder) -> None:
        bus.watch("news")
        epoch = bus.position("news").epoch
        for number in range(1, 51):
            bus.publish("news", b"%d" % number, History(), cause="call-0001" if number == 7 else None)
        for number in range(1, 51):
            cause = "call-0001" if number == 7 else None
            assert recorder.next() == ("news", epoch, Publication(number, b"%d" % number, cause))

    def test_it_hears_every_kind(self, bus: Bus, recorder: Recorder) -> None:
        bus.watch("news")
        for keep in (VOLATILE, LATEST, History(1)):
            bus.publish("news", b"1", keep)
        assert [recorder.next()[2].offset for _ in range(3)] == [1, 2, 3]

    def test_it_hears_only_what_it_watches(self, bus: Bus, recorder: Recorder) -> None:
        bus.watch("a")
        bus.watch("b")
        bus.watch("b")
        bus.publish("other", b"1", History())
        bus.publish("a", b"2", History())
        assert recorder.next()[2].data == b"2"  # before the end of watching: afterwards it need not be told
        bus.unwatch("a")
        bus.unwatch("never watched")
        bus.publish("a", b"3", History())
        bus.publish("b", b"4", History())
        assert recorder.next()[2].data == b"4"

    def test_watching_again_after_unwatching(self, bus: Bus, recorder: Recorder) -> None:
        bus.watch("a")
        bus.unwatch("a")
        bus.watch("a")
        bus.publish("a", b"1", History())
        assert recorder.next()[2].data == b"1"

    def test_publishers_on_many_threads(self, bus: Bus, recorder: Recorder) -> None:
        """Every offset is given once, and the watcher hears them in their order."""
        bus.watch("news")
        given: list[list[int]] = [[], [], [], []]

        def publish(mine: list[int]) -> None:
            for _ in range(200):
                mine.append(bus.publish("news", b"1", History(1_000)).offset)

        threads = [threading.Thread(target=publish, args=(mine,)) for mine in given]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(functools.reduce(operator.iadd, given, [])) == list(range(1, 801))
        assert all(mine == sorted(mine) for mine in given)
        assert [recorder.next()[2].offset for _ in range(800)] == list(range(1, 801))

    # records

    def test_records(self, bus: Bus) -> None:
        assert bus.get("k") is None
        assert bus.add("k", b"\x00one\xff", 10.0) is None
        assert bus.add("k", b"two", 10.0) == b"\x00one\xff"
        assert bus.get("k") == b"\x00one\xff"
        bus.put("k", b"three", 10.0)
        assert bus.replace("k", b"one", b"four", 10.0) is False
        assert bus.replace("k", b"three", b"four", 10.0) is True
        assert bus.get("k") == b"four"
        bus.delete("k")
        bus.delete("k")
        assert bus.get("k") is None
        assert bus.replace("k", b"four", b"five", 10.0) is False
        assert bus.add("k", b"", 10.0) is None
        assert bus.get("k") == b""

    def test_records_expire(self, bus: Bus, advance: Advance) -> None:
        bus.put("short", b"1", 5.0)
        bus.put("renewed", b"1", 5.0)
        bus.add("added", b"1", 5.0)
        advance(3.0)
        bus.put("renewed", b"2", 5.0)
        assert bus.replace("added", b"1", b"2", 10.0)
        advance(3.0)
        assert (bus.get("short"), bus.get("renewed"), bus.get("added")) == (None, b"2", b"2")
        assert bus.replace("short", b"1", b"3", 5.0) is False
        assert bus.add("short", b"4", 5.0) is None
        advance(6.0)
        assert (bus.get("short"), bus.get("renewed"), bus.get("added")) == (None, None, b"2")

    def test_one_of_many_adds_a_record(self, bus: Bus) -> None:
        won: list[bytes] = []

        def race(value: bytes) -> None:
            if bus.add("k", value, 10.0) is None:
                won.append(value)

        threads = [threading.Thread(target=race, args=(b"%d" % number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [bus.get("k")]

    # leases

    def test_holding_and_releasing(self, bus: Bus) -> None:
        assert bus.hold("room", "ada", 10.0, b"1") is True
        assert bus.hold("room", "ada", 10.0, b"2") is False
        assert bus.hold("room", "bob", 10.0) is True
        assert bus.held("room") == {"ada": b"2", "bob": b""}
        assert bus.held("elsewhere") == {}
        assert bus.release("room", "ada", only_lapsed=True) is False
        assert bus.release("room", "ada") is True
        assert bus.release("room", "ada") is False
        assert bus.release("elsewhere", "ada") is False
        assert bus.held("room") == {"bob": b""}
        assert bus.hold("room", "ada", 10.0) is True

    def test_a_lapse_is_handed_out(self, bus: Bus, advance: Advance) -> None:
        bus.hold("room", "ada", 5.0)
        bus.hold("room", "bob", 60.0)
        assert bus.lapsed("room", 10.0, 5) == {}
        advance(6.0)
        assert bus.held("room") == {"bob": b""}
        assert list(bus.lapsed("room", 10.0, 5)) == ["ada"]
        assert bus.lapsed("room", 10.0, 5) == {}
        advance(11.0)  # whoever took it died
        assert list(bus.lapsed("room", 10.0, 5)) == ["ada"]
        assert bus.release("room", "ada", only_lapsed=True) is True
        advance(11.0)
        assert bus.lapsed("room", 10.0, 5) == {}

    def test_a_lapse_nobody_noticed_is_none(self, bus: Bus, advance: Advance) -> None:
        bus.hold("room", "ada", 5.0)
        advance(6.0)
        assert bus.hold("room", "ada", 5.0) is False
        assert bus.lapsed("room", 10.0, 5) == {}

    def test_whoever_comes_back_after_a_claim_is_new(self, bus: Bus, advance: Advance) -> None:
        bus.hold("room", "ada", 5.0)
        advance(6.0)
        assert list(bus.lapsed("room", 10.0, 5)) == ["ada"]
        assert bus.hold("room", "ada", 60.0) is True
        assert bus.hold("room", "ada", 60.0) is False
        assert bus.release("room", "ada", only_lapsed=True) is False
        advance(11.0)
        assert bus.lapsed("room", 10.0, 5) == {}
        assert bus.held("room") == {"ada": b""}

    def test_a_lapsed_name_can_be_released(self, bus: Bus, advance: Advance) -> None:
        bus.hold("room", "ada", 5.0)
        advance(6.0)
        assert bus.release("room", "ada") is True
        assert bus.lapsed("room", 10.0, 5) == {}

    def test_lapses_are_claimed_no_more_than_asked_and_once_each(self, bus: Bus, advance: Advance) -> None:
        names = {f"name{number}" for number in range(10)}
        for name in names:
            bus.hold("room", name, 5.0)
        advance(6.0)
        claims = [bus.lapsed("room", 10.0, 4) for _ in range(4)]
        assert [len(claim) for claim in claims] == [4, 4, 2, 0]
        assert set(functools.reduce(operator.iadd, claims, [])) == names

    # the end

    def test_a_closed_bus_says_so(self, bus: Bus) -> None:
        bus.close()
        bus.close()
        with pytest.raises(BusError):
            bus.publish("news", b"1", History())
        with pytest.raises(BusError):
            bus.position("news")
