"""Which rung to be on, and when to try again."""

from __future__ import annotations

import pytest

from rtbridge.client.events import Ending
from rtbridge.client.ladder import BACKOFF_LAST, REST, RUNGS, Ladder

FAILED = Ending("resume", "broken")
NOW = 1000.0


def highest(low: float, high: float) -> float:
    return high


def ladder(choice: str = "auto") -> Ladder:
    return Ladder(choice, highest)


def test_auto_begins_at_the_top_and_goes_down_where_one_fails_twice_in_a_row() -> None:
    rungs = ladder()
    for rung in RUNGS[:-1]:
        assert rungs.best(NOW) == rung
        rungs.failed(rung, FAILED, False, NOW)
        assert rungs.best(NOW) == rung
        rungs.failed(rung, FAILED, False, NOW)
    assert rungs.best(NOW) == "shortpoll"
    rungs.failed("shortpoll", FAILED, False, NOW)
    rungs.failed("shortpoll", FAILED, False, NOW)
    assert rungs.best(NOW) == "shortpoll", "there is nothing below"


def test_a_better_rung_is_tried_again_after_a_while() -> None:
    rungs = ladder()
    rungs.failed("websocket", Ending("lower", "1002"), True, NOW)
    assert rungs.best(NOW) == "eventstream"
    pause = rungs.next_climb(NOW)
    assert pause == REST * 1.25
    assert rungs.best(NOW + pause) == "websocket"
    assert rungs.next_climb(NOW + pause) is None


def test_what_worked_in_between_or_is_not_the_rungs_fault_does_not_count() -> None:
    rungs = ladder()
    for _ in range(5):
        rungs.failed("websocket", FAILED, False, NOW)
        rungs.opened("websocket")
        rungs.failed("websocket", FAILED, True, NOW)
        rungs.failed("websocket", Ending("resume", "refused", reached=False), False, NOW)
        rungs.failed("websocket", Ending("resume", "overloaded", 4004, retry_after=3.0), False, NOW)
    assert rungs.best(NOW) == "websocket"


def test_only_what_the_server_offers_is_tried() -> None:
    rungs = ladder()
    rungs.offer(["longpoll", "shortpoll", "carrier pigeon"])
    assert rungs.best(NOW) == "longpoll"
    rungs.offer(["carrier pigeon"])
    assert rungs.best(NOW) == "longpoll"


def test_a_chosen_transport_is_the_only_one() -> None:
    rungs = ladder("eventstream")
    for _ in range(3):
        rungs.failed("eventstream", Ending("lower", "4200"), False, NOW)
    assert rungs.best(NOW) == "eventstream"
    assert rungs.next_climb(NOW) is None and rungs.below("eventstream", NOW) is None
    rungs.choose("auto")
    assert rungs.best(NOW) == "websocket", "what failed before is forgotten"
    with pytest.raises(ValueError, match="no such transport: 'pigeon'"):
        rungs.choose("pigeon")


def test_a_poll_runs_beside_a_slow_attempt() -> None:
    rungs = ladder()
    assert rungs.below("websocket", NOW) == rungs.below("eventstream", NOW) == "longpoll"
    assert rungs.below("longpoll", NOW) is None
    rungs.offer(["websocket", "shortpoll"])
    assert rungs.below("websocket", NOW) == "shortpoll"
    rungs.offer(["websocket"])
    assert rungs.below("websocket", NOW) is None


def test_pauses_grow_up_to_a_limit_and_begin_anew_once_a_hello_was_answered() -> None:
    rungs = ladder()
    assert [rungs.pause("websocket", FAILED, NOW) for _ in range(8)] == [
        0.5,
        1,
        2,
        4,
        8,
        16,
        BACKOFF_LAST,
        BACKOFF_LAST,
    ]
    assert rungs.pause("websocket", Ending("resume", "", retry_after=7.5), NOW) == 7.5
    rungs.opened("websocket")
    assert rungs.pause("websocket", FAILED, NOW) == 0.5
    assert rungs.pause("eventstream", FAILED, NOW) == 0, "another one need not wait"


def test_pauses_are_jittered_over_their_whole_length() -> None:
    assert Ladder("auto", lambda low, high: low).pause("websocket", FAILED, NOW) == 0.0
