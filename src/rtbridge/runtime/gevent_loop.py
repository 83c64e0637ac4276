"""The loop for sites served by gevent, with and without monkey patching.

One greenlet, the *pump*, runs all callbacks. gevent's hub calls us when a socket is ready or a timer is
due, but in the hub nothing may switch (a contended lock, a logging handler): so what the hub calls only
appends to the pump's queue and asks for the pump to be woken. All that is appended in one turn of the hub
costs one switch. The turn itself is nothing at all: code in it never switches greenlets, so nobody else can
be in it.
"""

from __future__ import annotations

import os
import socket
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context

import gevent
import gevent.hub
from greenlet import getcurrent, greenlet

from rtbridge.runtime.gevent_epoll import Readiness, SocketWatch, epoll_here
from rtbridge.runtime.loop import Mailbox, Timer, Watch, run_logged
from rtbridge.runtime.native import native_ident
from rtbridge.runtime.timers import Call, Timers

READ, WRITE = 1, 2
LONG = 3600.0
IDLE_WORKERS = 32
"""Greenlets that wait for the next `spawn`."""


class GeventLoop:
    """See `Loop`. Belongs to the hub of the OS thread that makes it: the one that serves requests.

    Other OS threads may `call_soon` and put into mailboxes; only this one may be in the turn.

    Args:
        watchers: have a watcher of gevent's for each socket even where the system has epoll.
    """

    name = "gevent"

    def __init__(self, watchers: bool = False) -> None:
        self.hub = gevent.get_hub()
        self._epoll = None if watchers else epoll_here()
        self._readiness: Readiness | None = None
        self._turn = nullcontext()
        self._ident = native_ident()
        self._home = self._ident()
        self._closed = False
        self._begin()
        if hasattr(os, "register_at_fork"):
            begin = weakref.WeakMethod(self._begin)
            os.register_at_fork(after_in_child=lambda: (method := begin()) and method())

    def _begin(self) -> None:
        """Also in the child of a fork, which has nothing to do with what waited in the parent."""
        self._home = self._ident()
        self._calls: deque[Call] = deque()
        self._timers = Timers()
        self._alarm = _Alarm(self)
        self._pump: gevent.Greenlet[..., object] | None = None
        self._parked = False
        self._waking = False
        self._idle: list[_Worker] = []
        if self._readiness is not None:
            self._readiness.abandon()
        self._readiness = None  # made when it is needed

    def now(self) -> float:
        return time.monotonic()

    def turn(self) -> AbstractContextManager[object]:
        return self._turn

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        if self._closed:
            return
        self._calls.append((callback, args))
        if not self._waking:
            self._waking = True
            self.run_in_hub(self._wake)

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        timer = self._timers.add(time.monotonic() + delay, callback, args)
        self._alarm.set(self._timers.next())
        return timer

    def watch(self, sock: socket.socket, on_ready: Callable[[bool, bool], object]) -> Watch:
        if self._epoll is None:
            return _IoWatch(self, sock, on_ready)
        if self._readiness is None:
            self._readiness = Readiness(self.hub, self._epoll, self.call_soon)
        return SocketWatch(self._readiness, sock, on_ready)

    def mailbox(self) -> Mailbox:
        return _GreenletMailbox(self)

    def spawn(self, function: Callable[..., object], *args: object) -> None:
        job = (function, args)
        if self._idle:
            self._idle.pop().wake(job)
        else:
            gevent.spawn(_Worker(self._idle).work, job)

    def close(self) -> None:
        self._closed = True
        self._calls.clear()
        self._alarm.close()
        if self._readiness is not None:
            self._readiness.close()
        if not self._waking:
            self.run_in_hub(self._wake)

    def run_in_hub(self, callback: Callable[[], object]) -> None:
        """Have the hub call `callback`, which may only switch to a greenlet that waits. Any OS thread."""
        if self._ident() == self._home:
            self.hub.loop.run_callback(callback)
        else:
            self.hub.loop.run_callback_threadsafe(callback)

    # The pump.

    def _wake(self) -> None:
        """In the hub."""
        self._waking = False
        if self._parked and self._pump is not None:
            self._pump.switch()
        elif (self._pump is None or self._pump.dead) and not self._closed:
            self._pump = gevent.spawn(self._run)

    def _run(self) -> None:
        try:
            while not self._closed:
                for _ in range(len(self._calls)):
                    run_logged(*self._calls.popleft())
                    if self._closed:
                        return
                if self._calls and not self._waking:
                    self.hub.loop.run_callback(self._wake)  # woken in vain while a callback was in our way
                self._park()
        finally:
            if self._calls and not self._closed:
                self.hub.loop.run_callback(self._wake)  # somebody killed the pump: begin another

    def _park(self) -> None:
        self._parked = True
        try:
            self.hub.switch()
        finally:
            self._parked = False

    def ring(self) -> None:
        """Run the timers that are due. In the pump."""
        for callback, args in self._timers.due(time.monotonic()):
            run_logged(callback, args)
        self._alarm.set(self._timers.next())


class _Worker:
    """A greenlet that runs one `spawn` after the other: to begin one costs more than most of what it runs.

    Each job has a context (`contextvars`) of its own. What is local to a greenlet lives on from job to job, as it does
    from request to request in a thread. A few wait for the next job; any further one ends.
    """

    __slots__ = ("_greenlet", "_idle", "_job")

    def __init__(self, idle: list[_Worker]) -> None:
        self._idle = idle
        self._job: Call | None = None

    def wake(self, job: Call) -> None:
        self._job = job
        gevent.get_hub().loop.run_callback(self._greenlet.switch)

    def work(self, job: Call) -> None:
        self._greenlet = getcurrent()
        Context().run(run_logged, *job)
        while len(self._idle) < IDLE_WORKERS:
            self._idle.append(self)
            Context().run(run_logged, *self._next())

    def _next(self) -> Call:
        """Wait for it. What an earlier job left behind, an event or a timeout, may switch here as well."""
        try:
            while self._job is None:
                gevent.get_hub().switch()
        except BaseException:
            if self in self._idle:
                self._idle.remove(self)
            if self._job is not None:
                gevent.spawn(_Worker(self._idle).work, self._job)
            raise
        job, self._job = self._job, None
        return job


class _Alarm:
    """The one gevent timer behind all timers of a loop: set for the earliest."""

    __slots__ = ("_loop", "_timer", "_when")

    def __init__(self, loop: GeventLoop) -> None:
        self._loop = loop
        self._timer: gevent._types._TimerWatcher | None = None
        self._when: float | None = None

    def set(self, when: float | None) -> None:
        if when == self._when or self._loop._closed:
            return
        self.close()
        if when is not None:
            self._when = when
            self._timer = self._loop.hub.loop.timer(max(0.0, when - time.monotonic()))
            self._timer.start(self._fire)

    def _fire(self) -> None:
        """In the hub. It may come a little early, by the hub's clock: then `ring` sets it again."""
        self.close()
        self._loop.call_soon(self._loop.ring)

    def close(self) -> None:
        timer, self._timer, self._when = self._timer, None, None
        if timer is not None:
            timer.stop()
            timer.close()


class _IoWatch:
    """One gevent watcher, where there is no epoll. The hub only notes the event; the pump calls back.

    A level-triggered watcher fires again while its event waits in the pump's queue: the second time it is
    stopped, and started again when the pump has come to it.
    """

    __slots__ = ("_active", "_events", "_loop", "_on_ready", "_pending", "_wanted", "_watcher")

    def __init__(
        self, loop: GeventLoop, sock: socket.socket, on_ready: Callable[[bool, bool], object]
    ) -> None:
        self._loop = loop
        self._on_ready = on_ready
        self._watcher: gevent._types._IoWatcher | None = loop.hub.loop.io(sock.fileno(), READ)
        self._events = READ  # what the watcher was made or last set for
        self._wanted = 0
        self._pending = 0
        self._active = False

    def want(self, *, read: bool, write: bool) -> None:
        self._wanted = (READ if read else 0) | (WRITE if write else 0)
        self._arm()

    def hand_over(self, on_ready: Callable[[bool, bool], object]) -> None:
        self._on_ready = on_ready

    def close(self) -> None:
        watcher, self._watcher, self._wanted = self._watcher, None, 0
        if watcher is not None:
            watcher.stop()
            watcher.close()

    def _arm(self) -> None:
        watcher = self._watcher
        if watcher is None or (self._active and self._events == self._wanted):
            return
        if self._active:
            watcher.stop()
            self._active = False
        if self._wanted:
            if self._events != self._wanted:
                watcher.events = self._wanted  # type: ignore[attr-defined]  # the stubs leave it out
                self._events = self._wanted
            # Reading only, nearly always: then there is nothing to pass, and what is called is this object itself. A
            # bound method and its arguments would be the larger half of a watch.
            if self._wanted == READ:
                watcher.start(self)
            else:
                watcher.start(self._fire, pass_events=True)
            self._active = True

    def __call__(self) -> None:
        """In the hub: it is readable, or in error."""
        self._fire(READ)

    def _fire(self, events: int) -> None:
        """In the hub: an exception here would stop the watcher, or with some loops end the process."""
        if self._pending:
            self._pending |= events
            if self._watcher is not None:
                self._watcher.stop()
                self._active = False
            return
        # An error has no bit of its own in what is wanted: let whoever waits find out by using the socket.
        self._pending = events if events > 0 else READ | WRITE
        self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        """In the pump."""
        events, self._pending = self._pending & self._wanted, 0
        if events:
            run_logged(self._on_ready, (bool(events & READ), bool(events & WRITE)))
        self._arm()


class _GreenletMailbox:
    """Its carrier is a greenlet of the loop's thread; whoever puts may be a real thread.

    While it waits for ever a long timer is running all the same: without any active watcher gevent would
    conclude that nothing can ever happen again, and raise LoopExit.
    """

    __slots__ = ("_carrier", "_items", "_loop")

    def __init__(self, loop: GeventLoop) -> None:
        self._loop = loop
        self._items: deque[object] = deque()
        self._carrier: greenlet | None = None

    def put(self, item: object) -> None:
        self._items.append(item)
        if self._carrier is not None:
            self._loop.run_in_hub(self._wake)

    def get(self, timeout: float | None) -> object | None:
        if not self._items and (timeout is None or timeout > 0):
            self._wait(timeout)
        return self._items.popleft() if self._items else None

    def _wait(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        timer = self._loop.hub.loop.timer(
            LONG if timeout is None else timeout, LONG if timeout is None else 0.01
        )
        timer.start(self._wake)
        self._carrier = getcurrent()  # before looking again: a put from a thread either is seen or sees us
        try:
            while not self._items and (deadline is None or time.monotonic() < deadline):
                self._loop.hub.switch()
        finally:
            self._carrier = None
            timer.stop()
            timer.close()

    def _wake(self) -> None:
        """In the hub."""
        if self._carrier is not None:
            self._carrier.switch()
