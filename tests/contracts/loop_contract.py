"""What every loop keeps, whatever waits underneath. A new loop is a class with one fixture, `loop`.

The tests wait in the loop's own mailboxes, so none of them sleeps.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import weakref
from collections.abc import Callable, Iterator

import pytest

from rtbridge.runtime import Loop, Watch
from rtbridge.runtime.native import original

SOON = 10.0
"""Seconds after which a test gives up; nothing takes that long where all is well."""


def native_thread(function: Callable[[], object]) -> None:
    """Run it in a real OS thread, also where gevent has replaced threads."""
    original("_thread", "start_new_thread")(function, ())


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


class LoopContract:
    threads = True
    """Whether callbacks come without the test's help. The fake loop's come only when it is run."""

    @pytest.fixture
    def loop(self) -> Iterator[Loop]:
        raise NotImplementedError
        yield

    # call_soon

    def test_calls_run_in_order(self, loop: Loop) -> None:
        box = loop.mailbox()
        for number in range(1, 101):
            loop.call_soon(box.put, number)
        assert [box.get(SOON) for _ in range(100)] == list(range(1, 101))

    def test_a_call_does_not_run_at_once(self, loop: Loop) -> None:
        seen: list[str] = []
        box = loop.mailbox()
        with loop.turn():
            loop.call_soon(seen.append, "later")
            loop.call_soon(box.put, "done")
            assert seen == []
        assert box.get(SOON) == "done"
        assert seen == ["later"]

    def test_calls_may_call(self, loop: Loop) -> None:
        box = loop.mailbox()

        def count(number: int) -> None:
            box.put(number)
            if number < 50:
                loop.call_soon(count, number + 1)

        loop.call_soon(count, 1)
        assert [box.get(SOON) for _ in range(50)] == list(range(1, 51))

    def test_a_callback_that_raises_ends_nothing_else(
        self, loop: Loop, caplog: pytest.LogCaptureFixture
    ) -> None:
        box = loop.mailbox()

        def fail(error: BaseException) -> None:
            raise error

        with caplog.at_level(logging.ERROR, logger="rtbridge"):
            loop.call_soon(fail, ValueError("an odd value"))
            loop.call_soon(fail, SystemExit(3))
            loop.call_soon(box.put, "alive")
            assert box.get(SOON) == "alive"
        assert "an odd value" in caplog.text

    def test_calls_from_threads_keep_each_thread_s_order(self, loop: Loop) -> None:
        box = loop.mailbox()
        got: dict[int, list[int]] = {0: [], 1: [], 2: [], 3: []}
        done: list[int] = []

        def call(me: int) -> None:
            for number in range(500):
                loop.call_soon(got[me].append, number)
            loop.call_soon(finish, me)

        def finish(me: int) -> None:
            done.append(me)
            if len(done) == 4:
                box.put("all")

        self.in_threads([lambda me=me: call(me) for me in range(4)])  # type: ignore[misc]
        assert box.get(SOON) == "all"
        assert all(numbers == list(range(500)) for numbers in got.values())

    def test_calls_that_fall_asleep_and_wake_are_not_missed(self, loop: Loop) -> None:
        """One call at a time, each after the loop went idle: the moment in which a wake-up can get lost."""
        box = loop.mailbox()
        for number in range(1, 501):
            self.in_threads([lambda number=number: loop.call_soon(box.put, number)])  # type: ignore[misc]
            assert box.get(SOON) == number

    def in_threads(self, functions: list[Callable[[], object]]) -> None:
        for function in functions:
            native_thread(function) if self.threads else function()

    # timers

    def test_timers_fire_in_order_of_time(self, loop: Loop) -> None:
        box = loop.mailbox()
        with loop.turn():
            loop.call_later(0.03, box.put, "c")
            loop.call_later(0.01, box.put, "a")
            loop.call_later(0.02, box.put, "b")
        assert [box.get(SOON) for _ in range(3)] == ["a", "b", "c"]

    def test_a_timer_is_not_early(self, loop: Loop) -> None:
        box = loop.mailbox()
        with loop.turn():
            start = loop.now()
            loop.call_later(0.05, lambda: box.put(loop.now()))
        fired = box.get(SOON)
        assert isinstance(fired, float)
        assert fired - start >= 0.05 - 1e-9

    def test_a_cancelled_timer_does_not_fire(self, loop: Loop) -> None:
        box = loop.mailbox()
        with loop.turn():
            loop.call_later(0.01, box.put, "cancelled").cancel()
            timer = loop.call_later(0.02, box.put, "fired")
        assert box.get(SOON) == "fired"
        with loop.turn():
            timer.cancel()
            timer.cancel()

    def test_a_timer_may_cancel_another_that_is_due_with_it(self, loop: Loop) -> None:
        box = loop.mailbox()
        with loop.turn():
            first = loop.call_later(0.0, lambda: second.cancel())
            second = loop.call_later(0.0, box.put, "cancelled")
            loop.call_later(0.01, box.put, "end")
        assert box.get(SOON) == "end"
        assert first is not second

    def test_a_timer_that_raises_ends_nothing_else(self, loop: Loop) -> None:
        box = loop.mailbox()
        with loop.turn():
            loop.call_later(0.0, lambda: 1 // 0)
            loop.call_later(0.0, box.put, "alive")
        assert box.get(SOON) == "alive"

    def test_an_earlier_timer_set_later_is_not_missed(self, loop: Loop) -> None:
        box = loop.mailbox()
        with loop.turn():
            loop.call_later(3600.0, box.put, "in an hour")
        loop.call_soon(box.put, "awake")
        assert box.get(SOON) == "awake"
        with loop.turn():
            loop.call_later(0.01, box.put, "soon")
        assert box.get(SOON) == "soon"

    # sockets

    def open(self, loop: Loop, sock: socket.socket, on_ready: Callable[[bool, bool], object]) -> Watch:
        with loop.turn():
            return loop.watch(sock, on_ready)

    def test_nothing_is_wanted_at_first(self, loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
        box = loop.mailbox()
        watch = self.open(loop, pair[0], lambda r, w: box.put((r, w)))
        pair[1].send(b"x")
        assert box.get(0.05) is None
        with loop.turn():
            watch.close()

    def test_a_socket_becomes_readable(self, loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = pair
        box = loop.mailbox()

        def on_ready(readable: bool, writable: bool) -> None:
            assert readable and not writable
            box.put(ours.recv(100))

        watch = self.open(loop, ours, on_ready)
        with loop.turn():
            watch.want(read=True, write=False)
        for number in range(20):
            theirs.send(b"%d" % number)
            assert box.get(SOON) == b"%d" % number
        with loop.turn():
            watch.close()

    def test_it_is_told_again_while_it_stays_ready(
        self, loop: Loop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        box = loop.mailbox()
        times: list[int] = []

        def on_ready(readable: bool, writable: bool) -> None:
            times.append(1)
            if len(times) == 5:
                box.put(ours.recv(100))

        watch = self.open(loop, ours, on_ready)
        with loop.turn():
            watch.want(read=True, write=False)
        theirs.send(b"x")
        assert box.get(SOON) == b"x"
        with loop.turn():
            watch.close()

    def test_read_and_write_and_changing_one_s_mind(
        self, loop: Loop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        box = loop.mailbox()

        def on_ready(readable: bool, writable: bool) -> None:
            if readable:
                box.put(ours.recv(100))
                watch.want(read=False, write=True)
            elif writable:
                box.put("writable")
                watch.want(read=True, write=False)

        watch = self.open(loop, ours, on_ready)
        with loop.turn():
            watch.want(read=False, write=True)
        for _ in range(10):
            assert box.get(SOON) == "writable"
            theirs.send(b"x")
            assert box.get(SOON) == b"x"
        with loop.turn():
            watch.close()

    def test_it_hears_that_the_peer_hung_up(
        self, loop: Loop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        box = loop.mailbox()

        def on_ready(readable: bool, writable: bool) -> None:
            box.put((readable, ours.recv(100)))
            watch.close()

        watch = self.open(loop, ours, on_ready)
        with loop.turn():
            watch.want(read=True, write=False)
        theirs.close()
        assert box.get(SOON) == (True, b"")

    def test_a_failing_callback_is_called_again(
        self, loop: Loop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        box = loop.mailbox()
        times: list[int] = []

        def on_ready(readable: bool, writable: bool) -> None:
            times.append(1)
            if len(times) < 3:
                raise ValueError("not yet")
            box.put(ours.recv(100))

        watch = self.open(loop, ours, on_ready)
        with loop.turn():
            watch.want(read=True, write=False)
        theirs.send(b"x")
        assert box.get(SOON) == b"x"
        with loop.turn():
            watch.close()

    def test_a_closed_watch_is_silent(self, loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = pair
        box = loop.mailbox()
        watch = self.open(loop, ours, lambda r, w: box.put("heard"))
        theirs.send(b"x")
        with loop.turn():
            watch.want(read=True, write=False)
            watch.close()
            watch.close()
            watch.want(read=True, write=True)
        assert box.get(0.05) is None

    def test_a_watch_is_handed_over(self, loop: Loop, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = pair
        box = loop.mailbox()

        def first(readable: bool, writable: bool) -> None:
            box.put(("first", ours.recv(100)))
            watch.hand_over(second)

        def second(readable: bool, writable: bool) -> None:
            box.put(("second", ours.recv(100)))

        watch = self.open(loop, ours, first)
        with loop.turn():
            watch.want(read=True, write=False)
        theirs.send(b"a")
        assert box.get(SOON) == ("first", b"a")
        theirs.send(b"b")
        assert box.get(SOON) == ("second", b"b")
        with loop.turn():
            watch.close()
            watch.hand_over(first)
        theirs.send(b"c")
        assert box.get(0.05) is None

    def test_a_closed_watch_lets_its_callback_go(
        self, loop: Loop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        """An active watcher lives without being referred to, so that a leak of connections would be silent."""

        class Connection:
            def __call__(self, readable: bool, writable: bool) -> None:
                box.put((readable, writable))

        ours, theirs = pair
        box = loop.mailbox()
        connection = Connection()
        gone = weakref.ref(connection)
        watch = self.open(loop, ours, connection)
        watch.want(read=True, write=True)
        theirs.send(b"x")
        assert box.get(SOON) is not None
        with loop.turn():
            watch.close()
        del connection, watch
        loop.call_soon(box.put, "the end")
        while box.get(SOON) != "the end":
            pass
        gc.collect()
        assert gone() is None

    def test_one_of_two_ready_sockets_closes_the_other(self, loop: Loop) -> None:
        """Both are ready in one turn; whichever is first closes the other, which must then be silent."""
        pairs = [socket.socketpair() for _ in range(2)]
        box = loop.mailbox()
        heard: list[int] = []

        def on_ready(me: int) -> None:
            heard.append(me)
            for watch in watches:
                watch.close()
            box.put("closed")

        for _, theirs in pairs:
            theirs.send(b"x")
        with loop.turn():
            watches = [
                loop.watch(ours, lambda r, w, me=me: on_ready(me))  # type: ignore[misc]
                for me, (ours, _) in enumerate(pairs)
            ]
            for watch in watches:
                watch.want(read=True, write=False)
        assert box.get(SOON) == "closed"
        assert box.get(0.02) is None
        assert len(heard) == 1
        for sockets in pairs:
            for sock in sockets:
                sock.close()

    def test_a_reused_descriptor_belongs_to_its_new_watch(self, loop: Loop) -> None:
        box = loop.mailbox()
        for number in range(20):
            ours, theirs = socket.socketpair()
            watch = self.open(loop, ours, lambda r, w, s=ours: box.put(s.recv(10)))  # type: ignore[misc]
            with loop.turn():
                watch.want(read=True, write=False)
            theirs.send(b"%d" % number)
            assert box.get(SOON) == b"%d" % number
            with loop.turn():
                watch.close()
            ours.close()
            theirs.close()

    # mailboxes, spawn

    def test_a_mailbox_that_stays_empty_says_so(self, loop: Loop) -> None:
        box = loop.mailbox()
        assert box.get(0.0) is None
        assert box.get(-1.0) is None
        assert box.get(0.02) is None

    def test_a_mailbox_keeps_order_and_needs_no_waiting(self, loop: Loop) -> None:
        box = loop.mailbox()
        box.put(1)
        box.put(2)
        assert [box.get(None), box.get(0.0), box.get(0.0)] == [1, 2, None]

    def test_a_thread_fills_the_mailbox_of_one_that_waits_for_ever(self, loop: Loop) -> None:
        box = loop.mailbox()
        for number in range(1, 301):
            self.in_threads([lambda number=number: box.put(number)])  # type: ignore[misc]
            assert box.get(None) == number

    def test_spawned_work_runs_and_may_fail(self, loop: Loop) -> None:
        box = loop.mailbox()
        loop.spawn(lambda: 1 // 0)
        loop.spawn(loop.call_soon, box.put, "back in the turn")
        assert box.get(SOON) == "back in the turn"

    def test_turns_nest(self, loop: Loop) -> None:
        with loop.turn(), loop.turn():
            pass

    # the end

    def test_after_close_nothing_runs(self, loop: Loop) -> None:
        seen: list[str] = []
        box = loop.mailbox()
        loop.call_soon(box.put, "started")
        assert box.get(SOON) == "started"
        loop.close()
        loop.close()
        loop.call_soon(seen.append, "too late")
        with loop.turn():
            loop.call_later(0.0, seen.append, "too late")
        assert box.get(0.02) is None
        assert seen == []

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_child_begins_anew(self, loop: Loop) -> None:
        if not self.threads:
            pytest.skip("the fake loop lives in one test of one process")
        box = loop.mailbox()
        loop.call_soon(box.put, "parent")
        assert box.get(SOON) == "parent"
        readable, writable = os.pipe()
        pid = self.fork()
        if pid == 0:
            with loop.turn():
                loop.call_later(0.01, os.write, writable, b"child")
            childbox = loop.mailbox()
            childbox.get(SOON if sys.platform == "darwin" else 2.0)
            os._exit(0)
        os.close(writable)
        with os.fdopen(readable, "rb") as pipe:
            assert pipe.read(5) == b"child"
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        loop.call_soon(box.put, "parent still")
        assert box.get(SOON) == "parent still"

    def fork(self) -> int:
        return os.fork()
