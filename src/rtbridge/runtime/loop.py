"""What the floors above may ask of the world in which they run: threads, gevent, or a test's own time.

Think of one turn-table. Whoever is *in the turn* may touch loop-owned state (tails, sessions, connections)
and must not block; everything the loop calls back, it calls in the turn. Code that may block (user code, a
bus over the network) runs outside: started by `spawn`, or carried by a thread or greenlet that waits in a
`Mailbox`; its results come back by `call_soon`.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Timer(Protocol):
    """A callback that is due at some time."""

    def cancel(self) -> None:
        """Forget it. In the turn. Does nothing where it ran already or was cancelled."""


class Watch(Protocol):
    """A socket whose readiness somebody wants to hear of."""

    def want(self, *, read: bool, write: bool) -> None:
        """Set what to be called back for; at first nothing. Called again and again while it stays ready."""

    def hand_over(self, on_ready: Callable[[bool, bool], object]) -> None:
        """From now on call back somebody else, for what is wanted already."""

    def close(self) -> None:
        """End it, *before* the socket is closed. May be repeated. The callback is not called any more."""


class Mailbox(Protocol):
    """How a carrier (the thread or greenlet of a request) waits for work. One carrier gets, anybody puts."""

    def put(self, item: object) -> None:
        """Add an item. From anywhere, any thread; never blocks."""

    def get(self, timeout: float | None) -> object | None:
        """Take the oldest item, waiting up to `timeout` seconds (None: for ever).

        Blocks the calling carrier only. None when nothing came: so do not put None.
        """


class Loop(Protocol):
    """The clock, the turn and the callbacks of one process."""

    name: str
    """`threads`, `gevent` or `fake`."""

    def now(self) -> float:
        """Monotonic seconds."""

    def turn(self) -> AbstractContextManager[object]:
        """The exclusive right to touch loop-owned state. Reentrant. In it nothing blocks."""

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        """Run `callback(*args)` in the turn, soon, in the order of the calls. From any OS thread."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        """Run `callback(*args)` in the turn after `delay` seconds. Call it in the turn."""

    def watch(self, sock: socket.socket, on_ready: Callable[[bool, bool], object]) -> Watch:
        """Prepare to call `on_ready(readable, writable)` in the turn; say what for with `Watch.want`.

        A socket in error or hung up counts as both that is wanted. Call it, and the watch's methods, in the
        turn.
        """

    def mailbox(self) -> Mailbox:
        """A new, empty mailbox."""

    def spawn(self, function: Callable[..., object], *args: object) -> None:
        """Run `function(*args)`, which may block, outside the turn, in a thread or greenlet of its own.

        Nothing bounds how many run at once: whoever can start many bounds them.
        """

    def close(self) -> None:
        """Stop. What has not run yet never will. Call it outside the turn; it may be repeated."""


def run_logged(callback: Callable[..., object], args: tuple[object, ...]) -> None:
    """Run one callback; what it raises is logged and ends nothing else.

    SystemExit is caught too: `sys.exit()` in a callback would end a loop and leave a process that looks
    alive.
    """
    try:
        callback(*args)
    except (Exception, SystemExit):
        logging.getLogger("rtbridge").exception("A callback failed: %r", callback)
