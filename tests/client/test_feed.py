"""Feeds: taking, waiting, ending, and the bounded box between two threads."""

from __future__ import annotations

import threading

import pytest

from rtbridge.client.errors import FeedClosed, FeedError
from rtbridge.client.feed import Feed, Gap, Item, Snapshot
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication
from rtbridge.runtime import ThreadLoop
from support.fakeloop import FakeLoop


def publications(first: int, last: int) -> tuple[Publication, ...]:
    return tuple(Publication(offset, b'{"n":%d}' % offset, "cause-01") for offset in range(first, last + 1))


class Box:
    """A feed and what it asked for."""

    def __init__(self, inbox: int = 1000) -> None:
        self.closed = self.drained = 0
        self.loop = FakeLoop()
        self.feed = Feed("news", "E.1", self.loop, close=self.close, drained=self.drain, inbox=inbox)

    def close(self) -> None:
        self.closed += 1

    def drain(self) -> None:
        self.drained += 1


def test_items_come_as_values_with_their_position() -> None:
    feed = Box().feed
    assert feed.position == "E.1"
    feed.put("E", publications(2, 3))
    feed.put_gap(Position("F", 7))
    assert feed.get() == Item("news", {"n": 2}, 2, "E.2", "cause-01")
    assert feed.position == "E.2"
    assert [feed.get(), feed.get()] == [Item("news", {"n": 3}, 3, "E.3", "cause-01"), Gap("news", "F.7")]
    assert feed.position == "F.7"


def test_nothing_within_the_timeout() -> None:
    with pytest.raises(TimeoutError, match="nothing on news within 2"):
        Box().feed.get(timeout=2)


def test_iterating_ends_when_it_is_closed_after_what_arrived_before() -> None:
    box = Box()
    box.feed.put("E", publications(2, 4))
    with box.feed as feed:
        assert next(feed) == Item("news", {"n": 2}, 2, "E.2", "cause-01")
    assert box.closed == 1
    feed.finish(FeedClosed("closed"))
    assert [item.offset for item in feed if isinstance(item, Item)] == [3, 4]
    with pytest.raises(FeedClosed):
        feed.get()
    assert list(feed) == []


def test_iterating_raises_what_the_server_said() -> None:
    feed = Box().feed
    feed.finish(FeedError("news", 104, "no such channel"))
    for _ in range(2):
        with pytest.raises(FeedError, match="news: no such channel \\(104 no_such_channel\\)"):
            next(feed)
    with pytest.raises(FeedError):
        feed.wait()


def test_waiting_for_the_confirmation() -> None:
    feed = Box().feed
    with pytest.raises(TimeoutError, match="not confirmed within 1"):
        feed.wait(timeout=1)
    feed.confirm(Position("E", 5))
    feed.confirm(Position("E", 9))
    assert feed.wait() == feed.wait() == "E.5"


def test_a_full_box_asks_for_more_when_it_is_half_empty() -> None:
    box = Box(inbox=10)
    box.feed.put("E", publications(1, 9))
    assert not box.feed.full()
    box.feed.put("E", publications(10, 12))
    assert box.feed.full()
    for _ in range(6):
        box.feed.get()
    assert box.drained == 0
    box.feed.get()
    assert box.drained == 1
    for _ in range(5):
        box.feed.get()
    assert box.drained == 1, "once is enough"


def test_a_reader_and_a_writer_in_two_threads_never_leave_each_other_waiting() -> None:
    """The writer stops where the box is full, and goes on only when it is told: as the client does."""
    loop = ThreadLoop()
    go_on = threading.Semaphore(1)
    feed = Feed("news", None, loop, close=lambda: None, drained=go_on.release, inbox=4)
    count = 20_000

    def write() -> None:
        for number in range(1, count + 1):
            feed.put("E", publications(number, number))
            if feed.full():
                assert go_on.acquire(timeout=20), "nobody asked for more"

    go_on.acquire()
    writer = threading.Thread(target=write)
    writer.start()
    for number in range(1, count + 1):
        item = feed.get(timeout=20)
        assert isinstance(item, Item) and item.offset == number
    writer.join()
    loop.close()


def test_a_snapshot_is_an_item_like_others() -> None:
    feed = Box().feed
    feed.put_snapshot(Position("E", 4), b'[{"$bytes":"eA=="}]', True)
    feed.put("E", publications(5, 5))
    assert feed.get() == Snapshot("news", [b"x"], "E.4", gap=True)
    assert feed.position == "E.4"
    assert feed.get() == Item("news", {"n": 5}, 5, "E.5", "cause-01")
