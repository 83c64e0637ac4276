"""The loop contract over gevent: here without monkey patching, and with it in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest

gevent = pytest.importorskip("gevent")

from contracts.loop_contract import SOON, LoopContract, native_thread, pair  # noqa: E402
from rtbridge.runtime import Loop, ThreadLoop, choose_loop  # noqa: E402
from rtbridge.runtime.gevent_epoll import epoll_here  # noqa: E402
from rtbridge.runtime.gevent_loop import GeventLoop  # noqa: E402

__all__ = ["pair"]

ROOT = Path(__file__).parent.parent.parent
PATCHED = "RTBRIDGE_TEST_PATCHED"
PATCH_AND_TEST = """
from gevent import monkey
monkey.patch_all()
import sys, pytest
sys.exit(pytest.main(sys.argv[1:]))
"""

CHOOSE = """
import sys
from rtbridge.runtime import choose_loop
print(choose_loop().name, "gevent" in sys.modules)
"""


class TestGeventLoop(LoopContract):
    @pytest.fixture(params=[False, True], ids=["epoll", "watchers"])
    def loop(self, request: pytest.FixtureRequest) -> Iterator[Loop]:
        if not request.param and epoll_here() is None:
            pytest.skip("this system has no epoll")
        loop = GeventLoop(watchers=request.param)
        yield loop
        loop.close()

    def fork(self) -> int:
        return gevent.os.fork() if hasattr(gevent, "os") else os.fork()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_child_leaves_its_parent_the_sockets(
        self, loop: Loop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        """What waits in the kernel is shared with the parent."""
        ours, theirs = pair
        box = loop.mailbox()
        watch = self.open(loop, ours, lambda r, w: box.put(ours.recv(10)))
        watch.want(read=True, write=False)
        pid = self.fork()
        if pid == 0:
            watch.want(read=False, write=True)
            watch.close()
            os._exit(0)
        os.waitpid(pid, 0)
        theirs.send(b"x")
        assert box.get(SOON) == b"x"
        watch.close()

    def test_nothing_is_waited_for_when_nothing_is_wanted(
        self, loop: GeventLoop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        """Else gevent could not see that a program is at its end."""
        watch = self.open(loop, pair[0], lambda r, w: None)
        for wanted in (True, False):
            watch.want(read=wanted, write=False)
            assert (loop._readiness or watch)._active == wanted  # type: ignore[attr-defined]
        watch.close()

    def test_a_socket_that_was_closed_first(self, loop: GeventLoop) -> None:
        """Its descriptor may have another owner by then, who must not be silenced."""
        if loop._epoll is None:
            pytest.skip("against the contract, and more than gevent's watchers bear")
        box = loop.mailbox()
        first, second = socket.socketpair(), socket.socketpair()
        early = self.open(loop, first[0], lambda r, w: box.put("closed"))
        early.want(read=True, write=False)
        descriptor = first[0].fileno()
        first[0].close()
        os.dup2(second[0].fileno(), descriptor)
        heir = socket.socket(fileno=descriptor)
        watch = self.open(loop, heir, lambda r, w: box.put(heir.recv(10)))
        watch.want(read=True, write=False)
        early.close()
        second[1].send(b"x")
        assert box.get(SOON) == b"x"
        watch.close()
        for sock in (*first, *second, heir):
            sock.close()

    def test_callbacks_do_not_run_in_the_hub(self, loop: Loop) -> None:
        """There they could not even log: whatever switches in the hub raises."""
        box = loop.mailbox()
        where: list[object] = []

        def look() -> None:
            where.append(gevent.getcurrent())
            gevent.sleep(0)  # nothing should, but it must not end the loop
            box.put("slept")

        loop.call_soon(look)
        assert box.get(SOON) == "slept"
        with loop.turn():
            loop.call_later(0.0, look)
        assert box.get(SOON) == "slept"
        assert where[0] is where[1] is not gevent.get_hub()

    def test_calls_made_while_a_callback_blocks_are_not_missed(self, loop: Loop) -> None:
        box, gate = loop.mailbox(), gevent.event.Event()

        def block() -> None:
            box.put("blocking")
            gate.wait()

        loop.call_soon(block)
        assert box.get(SOON) == "blocking"
        loop.call_soon(box.put, "after the gate")
        assert box.get(0.02) is None
        gate.set()
        assert box.get(SOON) == "after the gate"

    def test_a_ready_socket_does_not_spin_while_a_callback_blocks(
        self, loop: Loop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        """It stays ready, and the pump cannot come to it: the hub must not be told again and again."""
        ours, theirs = pair
        box, gate = loop.mailbox(), gevent.event.Event()

        def block() -> None:
            box.put("blocking")
            gate.wait()

        watch = self.open(loop, ours, lambda r, w: box.put(ours.recv(10)))
        watch.want(read=True, write=False)
        loop.call_soon(block)
        assert box.get(SOON) == "blocking"
        theirs.send(b"x")
        assert box.get(0.02) is None
        assert not (loop._readiness or watch)._active  # type: ignore[attr-defined]
        gate.set()
        assert box.get(SOON) == b"x"
        theirs.send(b"y")
        assert box.get(SOON) == b"y"
        watch.close()

    def test_many_calls_cost_one_switch(self, loop: GeventLoop) -> None:
        box = loop.mailbox()
        loop.call_soon(box.put, "warm")
        assert box.get(SOON) == "warm"
        switches: list[int] = []
        real = loop._wake
        loop._wake = lambda: (switches.append(1), real())  # type: ignore[method-assign,assignment,func-returns-value]
        for _ in range(100):
            loop.call_soon(len, ())
        loop.call_soon(box.put, "end")
        assert box.get(SOON) == "end"
        assert switches == [1]

    def test_a_killed_pump_is_replaced(self, loop: GeventLoop) -> None:
        box = loop.mailbox()
        loop.call_soon(box.put, "first")
        assert box.get(SOON) == "first"
        assert loop._pump is not None
        loop._pump.kill()
        loop.call_soon(box.put, "second")
        assert box.get(SOON) == "second"

    def test_a_killed_carrier_leaves_its_mailbox_whole(self, loop: Loop) -> None:
        box = loop.mailbox()
        carrier = gevent.spawn(box.get, None)
        gevent.sleep(0)
        carrier.kill()
        box.put("kept")
        assert box.get(0.0) == "kept"

    def test_real_threads_call_while_the_hub_sleeps(self, loop: Loop) -> None:
        """The hub is in its poll, with nothing else to do: only the thread can wake it."""
        box = loop.mailbox()
        for number in range(1, 100):
            native_thread(lambda number=number: loop.call_soon(box.put, number))
            assert box.get(None) == number


    def test_work_runs_on_greenlets_that_are_there(self, loop: Loop) -> None:
        box = loop.mailbox()
        seen = []
        for _ in range(3):
            loop.spawn(lambda: box.put(gevent.getcurrent()))
            seen.append(box.get(SOON))
        assert seen[0] is seen[1] is seen[2] is not None

    def test_work_that_waits_does_not_hold_up_other_work(self, loop: Loop) -> None:
        box, gate = loop.mailbox(), gevent.event.Event()
        for number in range(50):
            loop.spawn(lambda number=number: (gate.wait(), box.put(number)))
        loop.spawn(box.put, "at once")
        assert box.get(SOON) == "at once"
        gate.set()
        assert {box.get(SOON) for _ in range(50)} == set(range(50))

    def test_each_work_has_a_context_of_its_own(self, loop: Loop) -> None:
        box, variable = loop.mailbox(), ContextVar("variable", default="untouched")

        def look() -> None:
            box.put(variable.get())
            variable.set("touched")

        for _ in range(3):
            loop.spawn(look)
            assert box.get(SOON) == "untouched"

    def test_what_work_leaves_behind_wakes_nobody(self, loop: Loop) -> None:
        """An event that it no longer waits for switches to the greenlet, which by then waits for other work."""
        box, event = loop.mailbox(), gevent.event.Event()

        def leave_something_behind() -> None:
            greenlet = gevent.getcurrent()
            event.rawlink(lambda _: greenlet.switch())
            box.put("left")

        loop.spawn(leave_something_behind)
        assert box.get(SOON) == "left"
        event.set()
        gevent.sleep(0)
        loop.spawn(box.put, "next")
        assert (box.get(SOON), box.get(0.0)) == ("next", None)

    @pytest.mark.parametrize("assigned", [False, True])
    def test_work_does_not_go_to_a_greenlet_that_was_killed(self, loop: Loop, assigned: bool) -> None:
        box = loop.mailbox()
        loop.spawn(lambda: box.put(gevent.getcurrent()))
        worker = box.get(SOON)
        if assigned:
            loop.spawn(box.put, "next")
        worker.kill(block=False)  # type: ignore[union-attr]
        if not assigned:
            gevent.sleep(0)
            loop.spawn(box.put, "next")
        assert box.get(SOON) == "next"


def test_it_is_chosen_in_a_greenlet() -> None:
    assert gevent.spawn(lambda: choose_loop().name).get() == "gevent"


@pytest.mark.skipif(PATCHED in os.environ, reason="here the main greenlet, too, is gevent's")
def test_it_is_not_chosen_where_gevent_is_only_imported() -> None:
    assert isinstance(choose_loop(), ThreadLoop)


@pytest.mark.skipif(PATCHED not in os.environ, reason="needs monkey patching")
def test_it_is_chosen_where_gevent_has_replaced_sockets() -> None:
    assert isinstance(choose_loop(), GeventLoop)


def test_choosing_does_not_import_gevent() -> None:
    done = subprocess.run([sys.executable, "-c", CHOOSE], capture_output=True, text=True, timeout=60)
    assert done.stdout == "threads False\n", done.stderr


@pytest.mark.skipif(PATCHED in os.environ, reason="this is that process")
@pytest.mark.parametrize("backend", ["libev-cext", "libev-cffi", "libuv"])
def test_the_contract_with_monkey_patching(backend: str) -> None:
    """Also on the loops in which an exception in a callback of the hub would end the process."""
    if backend != "libev-cext":
        pytest.importorskip("_cffi_backend", reason="gevent's other loops need cffi")
    done = subprocess.run(
        [sys.executable, "-c", PATCH_AND_TEST, "-q", "-p", "no:cacheprovider", str(Path(__file__))],
        env=os.environ | {PATCHED: "1", "GEVENT_LOOP": backend},
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
