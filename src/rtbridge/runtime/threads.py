"""The loop for sites served by threads, and for processes that only publish.

One daemon thread waits for sockets, timers and calls from other threads. The turn is one lock, which the
thread holds while it runs callbacks; request threads take it for the moments in which they touch what the
loop owns. The thread is started by the first thing there is to do, so that a process that needs no loop has
none.
"""

from __future__ import annotations

import logging
import os
import queue
import selectors
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

from rtbridge.runtime.loop import Mailbox, Timer, Watch, run_logged
from rtbridge.runtime.timers import Call, Timers

logger = logging.getLogger("rtbridge")
CLOSE_TIMEOUT = 5.0


class ThreadLoop:
    """See `Loop`. May be made before a fork: the child begins anew, without what the parent waits for."""

    name = "threads"

    def __init__(self) -> None:
        self._begin()
        if hasattr(os, "register_at_fork"):
            begin = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: (method := begin()) and method())

    def _begin(self) -> None:
        self._turn = threading.RLock()
        self._starting = threading.Lock()
        self._calls: deque[Call] = deque()
        self._timers = Timers()
        self._thread: threading.Thread | None = None
        self._sleeping = False
        self._closed = False

    def _after_fork(self) -> None:
        """The parent's thread is gone, and its locks may be held for ever by threads that no longer exist."""
        if self._thread is not None:
            self._release()
        closed = self._closed
        self._begin()
        self._closed = closed

    def now(self) -> float:
        return time.monotonic()

    def turn(self) -> AbstractContextManager[object]:
        return self._turn

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        if self._closed:
            return
        self._calls.append((callback, args))
        self._wake()

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        earliest = self._timers.next()
        when = time.monotonic() + delay
        timer = self._timers.add(when, callback, args)
        if earliest is None or when < earliest:
            self._wake()
        return timer

    def watch(self, sock: socket.socket, on_ready: Callable[[bool, bool], object]) -> Watch:
        self._start()
        return _SelectorWatch(self, self._selector, sock, on_ready)

    def mailbox(self) -> Mailbox:
        return _QueueMailbox()

    def spawn(self, function: Callable[..., object], *args: object) -> None:
        threading.Thread(target=run_logged, args=(function, args), name="rtbridge-work", daemon=True).start()

    def close(self) -> None:
        with self._starting:
            self._closed = True
        thread = self._thread
        if thread is not None:
            self._wake()
            if thread is not threading.current_thread():
                thread.join(CLOSE_TIMEOUT)

    # The thread.

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed:
                self._selector = selectors.DefaultSelector()
                self._waker, self._woken = socket.socketpair()
                self._waker.setblocking(False)
                self._woken.setblocking(False)
                self._selector.register(self._woken, selectors.EVENT_READ, None)
                self._thread = threading.Thread(target=self._run, name="rtbridge-loop", daemon=True)
                self._thread.start()

    def _wake(self) -> None:
        """Whoever changes what the thread waits for calls this *after* the change; see `_fall_asleep`."""
        if self._thread is None:
            self._start()
        if self._sleeping:
            self._sleeping = False
            try:
                self._waker.send(b"\0")
            except OSError:
                pass  # full: it is awake anyhow; closed: it is on its way out

    def _fall_asleep(self) -> float | None:
        """How long to wait for sockets.

        First say that we sleep, then look for work: a call that is added in between either is seen here or
        sees that it has to wake us. The other way round it could be missed.
        """
        with self._turn:
            self._sleeping = True
            due = self._timers.next()
        if self._calls or self._closed:
            return 0.0
        return None if due is None else max(0.0, due - time.monotonic())

    def _run(self) -> None:
        while not self._closed:
            timeout = self._fall_asleep()
            try:
                events = self._selector.select(timeout)
            except OSError:
                logger.exception("Waiting for sockets failed; was one closed before its watch?")
                self._drop_closed_sockets()
                continue
            self._sleeping = False
            with self._turn:
                self._run_ready(events)
        self._release()

    def _run_ready(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        """One turn: sockets, timers, then the calls that are there now; what these add comes next turn."""
        for key, mask in events:
            if key.data is None:
                self._empty_pipe()
            else:
                run_logged(key.data.ready, (mask,))
        for callback, args in self._timers.due(time.monotonic()):
            run_logged(callback, args)
        for _ in range(len(self._calls)):
            if self._closed:
                return
            callback, args = self._calls.popleft()
            run_logged(callback, args)

    def _empty_pipe(self) -> None:
        try:
            while len(self._woken.recv(4096)) == 4096:
                pass
        except OSError:
            pass

    def _drop_closed_sockets(self) -> None:
        with self._turn:
            for key in list(self._selector.get_map().values()):
                if key.data is not None and key.data.sock.fileno() < 0:
                    key.data.close()

    def _release(self) -> None:
        self._selector.close()
        self._waker.close()
        self._woken.close()


class _SelectorWatch:
    """Changes the selector at once, also while the thread waits in it, and then wakes the thread.

    Epoll and kqueue would notice by themselves; poll and select see the change only when they are called
    again.
    """

    __slots__ = ("_loop", "_mask", "_on_ready", "_selector", "closed", "sock")

    def __init__(
        self,
        loop: ThreadLoop,
        selector: selectors.BaseSelector,
        sock: socket.socket,
        on_ready: Callable[[bool, bool], object],
    ) -> None:
        self._loop = loop
        self._selector = selector
        self._on_ready = on_ready
        self._mask = 0
        self.sock = sock
        self.closed = False

    def want(self, *, read: bool, write: bool) -> None:
        if not self.closed:
            self._set((selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0))

    def hand_over(self, on_ready: Callable[[bool, bool], object]) -> None:
        self._on_ready = on_ready

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._set(0)

    def ready(self, mask: int) -> None:
        mask &= self._mask  # what was wanted when select began may no longer be
        if mask:
            self._on_ready(bool(mask & selectors.EVENT_READ), bool(mask & selectors.EVENT_WRITE))

    def _set(self, mask: int) -> None:
        with self._loop.turn():
            if mask == self._mask or self._selector.get_map() is None:
                return
            if not self._mask:
                self._selector.register(self.sock, mask, self)
            elif mask:
                self._selector.modify(self.sock, mask, self)
            else:
                self._selector.unregister(self.sock)
            self._mask = mask
        self._loop._wake()


class _QueueMailbox:
    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[object] = queue.SimpleQueue()

    def put(self, item: object) -> None:
        self._items.put(item)

    def get(self, timeout: float | None) -> object | None:
        try:
            return self._items.get(timeout=None if timeout is None else max(0.0, timeout))
        except queue.Empty:
            return None
