"""What a tail answers, and that it never guesses."""

from __future__ import annotations

import pytest

from rtbridge.bus.contract import Kind
from rtbridge.fanout import Entry, Tail
from rtbridge.fanout.stock import Stock
from rtbridge.fanout.tail import OVERHEAD
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Publication

MANY = 1_000_000


def make(keep: Kind, *offsets: int, start: int = 0, size: int = 10) -> Tail:
    tail = Tail("news", keep, Position("e", start))
    for offset in offsets:
        tail.append(Entry(Publication(offset, b"x" * size)))
    return tail


def after(tail: Tail, offset: int, limit: int = 100, max_bytes: int = MANY, epoch: str = "e") -> object:
    found = tail.after(Position(epoch, offset), limit, max_bytes)
    return [entry.offset for entry in found] if isinstance(found, list) else found


def test_a_history_from_where_it_reaches() -> None:
    tail = make("history", 5, 6, 7, start=4)
    assert (tail.first, tail.last, tail.position()) == (5, 7, Position("e", 7))
    assert after(tail, 4) == [5, 6, 7]
    assert after(tail, 6) == [7]
    assert after(tail, 7) == []
    assert after(tail, 3) is None


def test_an_empty_tail_knows_only_its_end() -> None:
    tail = make("history", start=4)
    assert (tail.first, tail.last) == (5, 4)
    assert after(tail, 4) == []
    assert after(tail, 3) is None


@pytest.mark.parametrize("keep", ["history", "latest"])
def test_what_is_ahead_or_of_another_log_is_for_the_bus_to_judge(keep: Kind) -> None:
    """The client may come from a worker that heard of it a moment before us."""
    tail = make(keep, 5, 6, start=4)
    assert after(tail, 7) is None
    assert after(tail, 5, epoch="other") is None


def test_of_a_log_that_was_replaced_while_we_watched_the_gap_is_certain() -> None:
    tail = make("history", 1, 2)
    tail.restart(Position("f", 10))
    assert after(tail, 2) == Gap(Position("f", 10))
    assert after(tail, 0) == Gap(Position("f", 10))
    assert after(tail, 10, epoch="f") == []
    assert after(tail, 9, epoch="f") is None
    assert after(tail, 2, epoch="g") is None


def test_after_a_restart_in_the_same_epoch_older_positions_are_for_the_bus() -> None:
    tail = make("history", 1, 2)
    tail.restart(Position("e", 9))
    assert after(tail, 2) is None
    assert after(tail, 9) == []


def test_of_latest_only_the_newest() -> None:
    tail = make("latest", 1, 2, 5)
    assert after(tail, 0) == [5]
    assert after(tail, 4) == [5]
    assert after(tail, 5) == []
    assert (tail.first, tail.last, len(tail.entries)) == (5, 5, 1)
    tail.drop_oldest()
    assert after(tail, 4) is None
    tail.restart(Position("f", 0))
    assert after(tail, 5) is None
    tail.append(Entry(Publication(1, b"1")))
    assert after(tail, 5) == [1]


def test_of_volatile_what_is_here() -> None:
    tail = make("volatile", 3, 7, 8)
    assert after(tail, 0) == [3, 7, 8]
    assert after(tail, 3) == [7, 8]
    assert after(tail, 5) == [7, 8]
    assert after(tail, 8) == []
    assert after(tail, 9) == []
    assert after(tail, 9, epoch="other") == [3, 7, 8]


def test_it_is_cut_by_count_and_bytes_but_never_empty() -> None:
    tail = make("history", 1, 2, 3, 4, 5, size=100)
    assert after(tail, 0, limit=2) == [1, 2]
    assert after(tail, 0, max_bytes=250) == [1, 2]
    assert after(tail, 0, max_bytes=1) == [1]
    assert after(tail, 0) == [1, 2, 3, 4, 5]
    # Also when the whole answer is remembered.
    assert after(tail, 0, limit=2) == [1, 2]
    assert after(tail, 0, max_bytes=250) == [1, 2]


def test_readers_at_one_position_share_the_answer() -> None:
    tail = make("history", 1, 2, 3)
    first = tail.after(Position("e", 1), 100, MANY)
    assert tail.after(Position("e", 1), 50, MANY) is first
    tail.append(Entry(Publication(4, b"4")))
    assert after(tail, 1) == [2, 3, 4]
    assert isinstance(first, list)
    assert [entry.offset for entry in first] == [2, 3]


def test_a_form_is_made_once() -> None:
    entry = Entry(Publication(1, b"{}", "call-0001"))
    made: list[Publication] = []

    def make_form(publication: Publication) -> bytes:
        made.append(publication)
        return b"form"

    assert entry.form("json", make_form) is entry.form("json", make_form)
    assert made == [entry.publication]
    assert (entry.offset, entry.data, entry.cause) == (1, b"{}", "call-0001")


def entry(offset: int, size: int = 100) -> Entry:
    return Entry(Publication(offset, b"x" * size))


ENTRY = OVERHEAD + 200


def test_the_stock_bounds_all_tails_together() -> None:
    """Who was not asked for longest gives first, oldest first."""
    stock = Stock(10 * ENTRY, 1_000)
    tails = [Tail(f"c{number}", "history", Position("e", 0)) for number in range(3)]
    for tail in tails:
        for offset in range(1, 4):
            stock.append(tail, entry(offset))
    assert stock.size == 9 * ENTRY
    stock.touch(tails[0])
    for offset in range(4, 7):
        stock.append(tails[2], entry(offset))
    assert [len(tail.entries) for tail in tails] == [3, 1, 6]
    assert tails[1].first == 3
    stock.append(tails[2], entry(7))
    stock.append(tails[2], entry(8))
    assert [len(tail.entries) for tail in tails] == [2, 0, 8]
    assert stock.size == sum(tail.size for tail in tails) == 10 * ENTRY


def test_what_is_too_large_for_the_stock_is_left_to_the_bus() -> None:
    stock = Stock(1_000, 1_000)
    tail = Tail("news", "history", Position("e", 0))
    stock.append(tail, entry(1, size=10_000))
    assert stock.size == 0
    assert after(tail, 0) is None
    assert after(tail, 1) == []


def test_the_stock_bounds_each_tail() -> None:
    stock = Stock(MANY, 3)
    tail = Tail("news", "history", Position("e", 0))
    for offset in range(1, 6):
        stock.append(tail, entry(offset))
    assert (tail.first, tail.last, stock.size) == (3, 5, 3 * ENTRY)


def test_the_stock_keeps_account() -> None:
    stock = Stock(MANY, 1_000)
    history, latest = Tail("a", "history", Position("e", 0)), Tail("b", "latest", Position("e", 0))
    for offset in range(1, 6):
        stock.append(history, entry(offset))
        stock.append(latest, entry(offset))
    assert stock.size == 6 * ENTRY
    stock.restart(history, Position("f", 0))
    assert stock.size == ENTRY
    stock.restart(history, Position("f", 0))
    stock.append(history, entry(1))
    stock.forget(latest)
    stock.forget(latest)
    assert stock.size == ENTRY
