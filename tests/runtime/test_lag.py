"""How late the loop is, and what is said of who blocked it."""

from __future__ import annotations

import logging
import sys
import time
from types import FrameType

import pytest

from rtbridge.metrics import Metrics
from rtbridge.runtime import LagWatch, Loop, ThreadLoop
from rtbridge.runtime.lag import BEAT, in_the_way
from support.fakeloop import FakeLoop
from support.needs import missing

SOON = 10.0


def test_how_late_a_beat_is() -> None:
    loop, metrics = FakeLoop(), Metrics()
    watch = LagWatch(loop, metrics, limit=0)
    watch.start()
    loop.advance(10 * BEAT)
    assert metrics.snapshot() == {"loop_lag": 0.0, "loop_lag_most": 0.0}
    loop.time += BEAT + 0.15  # something ran for so long
    loop.run()
    seen = metrics.snapshot()
    assert seen["loop_lag"] == pytest.approx(0.15)
    assert (seen["loop_lag_over_10ms"], seen["loop_lag_over_100ms"]) == (1, 1)
    assert "loop_lag_over_1000ms" not in seen
    loop.advance(BEAT)
    assert metrics.snapshot()["loop_lag"] == 0.0
    assert metrics.snapshot()["loop_lag_most"] == pytest.approx(0.15)


def test_after_its_end_nothing_beats() -> None:
    loop = FakeLoop()
    watch = LagWatch(loop, Metrics(), limit=0)
    watch.start()
    loop.run()
    watch.stop()
    watch.stop()
    loop.advance(2 * BEAT)
    assert loop.timers.next() is None


def make_loop(name: str) -> Loop:
    if name == "threads":
        return ThreadLoop()
    try:
        from rtbridge.runtime.gevent_loop import GeventLoop
    except ImportError:
        missing("gevent is not installed")
    return GeventLoop()


@pytest.mark.parametrize("name", ["threads", "gevent"])
def test_who_blocks_the_loop_is_named(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "rtbridge")
    loop = make_loop(name)
    watch = LagWatch(loop, Metrics(), limit=0.02)
    heard = loop.mailbox()

    def count_the_sand() -> None:
        end = time.monotonic() + SOON
        while watch._seen is None and time.monotonic() < end:
            time.sleep(0.001)
        loop.call_later(0, loop.call_soon, heard.put, "the beat came")  # behind it: it is overdue

    watch.start()
    loop.call_soon(count_the_sand)
    assert heard.get(SOON) == "the beat came"
    watch.stop()
    loop.close()
    said = [record.getMessage() for record in caplog.records if "blocked" in record.getMessage()]
    assert len(said) == 1
    assert "count_the_sand" in said[0] and f"{__file__}:" in said[0]


def frame_of(call: object) -> FrameType:
    """The frame in which `call` gave up, wherever that was."""
    try:
        call()  # type: ignore[operator]
    except Exception:
        trace = sys.exc_info()[2]
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        assert trace is not None
        return trace.tb_frame
    raise AssertionError("it did not fail")


def test_the_application_is_named_before_the_library_it_waits_in() -> None:
    import json

    def read_a_letter() -> object:
        return json.loads("no letter")

    said = in_the_way(frame_of(read_a_letter))
    assert said.startswith(
        "test_the_application_is_named_before_the_library_it_waits_in.<locals>.read_a_letter"
    )
    assert "waiting in" in said and "json" in said
    assert said.count("\n") == 0


def test_what_is_only_library_is_named_as_it_is() -> None:
    frame: FrameType | None = sys._getframe()
    while frame is not None and "pytest" not in frame.f_code.co_filename:
        frame = frame.f_back
    assert frame is not None
    assert "pytest" in in_the_way(frame)
