"""The loop contract over threads and over the fake loop; gevent's is in test_gevent.py."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator

import pytest

from contracts.loop_contract import SOON, LoopContract, pair
from rtbridge.runtime import Loop, ThreadLoop
from support.fakeloop import FakeLoop

__all__ = ["pair"]


class TestThreadLoop(LoopContract):
    @pytest.fixture
    def loop(self) -> Iterator[Loop]:
        loop = ThreadLoop()
        yield loop
        loop.close()
        assert loop._thread is None or not loop._thread.is_alive()

    def test_nothing_is_started_before_it_is_needed(self) -> None:
        before = threading.active_count()
        loop = ThreadLoop()
        with loop.turn():
            pass
        assert loop.mailbox().get(0.0) is None
        assert threading.active_count() == before
        loop.close()

    def test_callbacks_hold_the_turn(self, loop: Loop) -> None:
        """While one thread is in the turn, no callback runs."""
        box, seen = loop.mailbox(), []
        for _ in range(200):
            with loop.turn():
                loop.call_soon(seen.append, 1)
                loop.call_soon(box.put, "ran")
                count = len(seen)
                assert box.get(0.0) is None
                assert len(seen) == count
            assert box.get(SOON) == "ran"

    def test_want_changes_while_the_thread_waits(self, loop: Loop) -> None:
        ours, theirs = socket.socketpair()
        box = loop.mailbox()
        with loop.turn():
            watch = loop.watch(ours, lambda r, w: (watch.want(read=False, write=False), box.put((r, w))))
        for _ in range(100):
            loop.call_soon(box.put, "idle")
            assert box.get(SOON) == "idle"
            watch.want(read=False, write=True)  # another thread's, while select blocks
            assert box.get(SOON) == (False, True)
        watch.close()
        ours.close()
        theirs.close()

    def test_waiting_that_fails_is_survived(self, loop: ThreadLoop) -> None:
        """A socket was closed before its watch, and the system minds: it is dropped, the others go on."""
        box = loop.mailbox()
        loop.call_soon(box.put, "started")
        assert box.get(SOON) == "started"
        ours, theirs = socket.socketpair()
        with loop.turn():
            watch = loop.watch(ours, lambda r, w: None)
            watch.want(read=True, write=False)
            ours.close()
        real = loop._selector.select

        def fail(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            loop._selector.select = real  # type: ignore[method-assign]
            raise OSError(9, "Bad file descriptor")

        loop._selector.select = fail  # type: ignore[assignment]
        for _ in range(2):
            loop.call_soon(box.put, "alive")
            assert box.get(SOON) == "alive"
        assert watch.closed  # type: ignore[attr-defined]
        theirs.close()


class TestFakeLoop(LoopContract):
    threads = False

    @pytest.fixture
    def loop(self) -> Iterator[Loop]:
        yield FakeLoop()

    def test_time_passes_only_when_told(self) -> None:
        loop = FakeLoop()
        seen: list[float] = []
        for delay in (1.0, 2.0, 3.0):
            loop.call_later(delay, lambda: seen.append(loop.now() - 1000.0))
        loop.run()
        assert seen == []
        loop.advance(2.0)
        assert seen == [1.0, 2.0]
        assert loop.now() == 1002.0

    def test_spawned_work_waits_for_run(self) -> None:
        loop = FakeLoop()
        seen: list[str] = []
        loop.spawn(seen.append, "work")
        loop.call_soon(seen.append, "call")
        assert seen == []
        loop.run()
        assert seen == ["call", "work"]

    def test_it_keeps_what_callbacks_raised(self) -> None:
        loop = FakeLoop()
        loop.call_soon(lambda: 1 // 0)
        loop.run()
        assert [type(error) for error in loop.errors] == [ZeroDivisionError]

    def test_waiting_for_what_cannot_come_fails_the_test(self) -> None:
        with pytest.raises(AssertionError, match="for ever"):
            FakeLoop().mailbox().get(None)
