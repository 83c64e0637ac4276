"""A loop whose time only passes when a test says so. One thread, no sleeps, the same order every time.

`run()` runs what is due now; `advance(seconds)` lets time pass. Work given to `spawn` runs within `run()`,
after the callbacks, one piece at a time; a test that wants to stand between two steps uses `run_calls()`
and `run_job()`.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rtbridge.runtime.loop import run_logged
from rtbridge.runtime.timers import Call, HeapTimer, Timers


class FakeLoop:
    """See `rtbridge.runtime.Loop`. Starts at 1000.0 s, so that a forgotten zero shows."""

    name = "fake"

    def __init__(self, start: float = 1000.0) -> None:
        self.time = start
        self.calls: deque[Call] = deque()
        self.jobs: deque[Call] = deque()
        self.timers = Timers()
        self.watches: list[FakeWatch] = []
        self.errors: list[BaseException] = []
        self.closed = False

    def now(self) -> float:
        return self.time

    def turn(self) -> AbstractContextManager[object]:
        return nullcontext()

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        if not self.closed:
            self.calls.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> HeapTimer:
        return self.timers.add(self.time + delay, callback, args)

    def watch(self, sock: socket.socket, on_ready: Callable[[bool, bool], object]) -> FakeWatch:
        watch = FakeWatch(self, sock, on_ready)
        self.watches.append(watch)
        return watch

    def mailbox(self) -> FakeMailbox:
        return FakeMailbox(self)

    def spawn(self, function: Callable[..., object], *args: object) -> None:
        self.jobs.append((function, args))

    def close(self) -> None:
        self.closed = True
        self.calls.clear()

    # For tests.

    def run(self) -> None:
        """Run everything that is due, and what follows from it, until nothing is left to do at this time."""
        while not self.closed and (self.run_calls() or self.run_timers() or self.run_job()):
            pass

    def run_calls(self) -> bool:
        """Run the `call_soon`s that are there now. True if there were any."""
        count = len(self.calls)
        for _ in range(count):
            if self.calls:
                self._run(self.calls.popleft())
        return count > 0

    def run_timers(self) -> bool:
        """Run the timers that are due. True if there were any."""
        ran = False
        for call in self.timers.due(self.time):
            self._run(call)
            ran = True
        return ran

    def run_job(self) -> bool:
        """Run the oldest `spawn`. True if there was one."""
        if not self.jobs:
            return False
        self._run(self.jobs.popleft())
        return True

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every timer on the way."""
        end = self.time + seconds
        self.run()
        while not self.closed and (due := self.timers.next()) is not None and due <= end:
            self.time = max(self.time, due)
            self.run()
        self.time = max(self.time, end)

    def ready(self, sock: socket.socket, *, readable: bool = False, writable: bool = False) -> None:
        """Pretend that a socket became ready; heard by the watches that want it at the next `run`."""
        for watch in self.watches:
            if watch.sock is sock:
                self.call_soon(watch.tell, readable, writable)

    def poll_sockets(self) -> bool:
        """Ask the operating system which watched (real) sockets are ready, once. True if there were any."""
        reading = [watch.sock for watch in self.watches if watch.read]
        writing = [watch.sock for watch in self.watches if watch.write]
        readable, writable, _ = select.select(reading, writing, [], 0)
        for sock in {*readable, *writable}:
            self.ready(sock, readable=sock in readable, writable=sock in writable)
        return bool(readable or writable)

    def _run(self, call: Call) -> None:
        callback, args = call

        def attempt() -> None:
            try:
                callback(*args)
            except BaseException as error:
                self.errors.append(error)
                raise

        run_logged(attempt, ())


class FakeWatch:
    """Records what is wanted: `read`, `write`, `closed`."""

    def __init__(self, loop: FakeLoop, sock: socket.socket, on_ready: Callable[[bool, bool], object]) -> None:
        self.loop = loop
        self.sock = sock
        self.on_ready = on_ready
        self.read = self.write = self.closed = False

    def want(self, *, read: bool, write: bool) -> None:
        if not self.closed:
            self.read, self.write = read, write

    def hand_over(self, on_ready: Callable[[bool, bool], object]) -> None:
        self.on_ready = on_ready

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.read = self.write = False
            self.loop.watches.remove(self)

    def tell(self, readable: bool, writable: bool) -> None:
        readable, writable = readable and self.read, writable and self.write
        if readable or writable:
            self.on_ready(readable, writable)


class FakeMailbox:
    """Where a real carrier would wait, this one runs the loop and lets time pass, as little as it takes."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.items: deque[object] = deque()

    def put(self, item: object) -> None:
        self.items.append(item)

    def get(self, timeout: float | None) -> object | None:
        end = self.loop.time + max(timeout, 0.0) if timeout is not None else float("inf")
        self.loop.run()
        while not self.items and not self.loop.closed:
            if self.loop.poll_sockets():
                self.loop.run()
                continue
            due = self.loop.timers.next()
            if due is None or due > end:
                break
            self.loop.advance(due - self.loop.time)
        if self.items:
            return self.items.popleft()
        assert timeout is not None, "this would wait for ever: nothing is left that could put anything"
        self.loop.advance(end - self.loop.time)
        return self.items.popleft() if self.items else None
