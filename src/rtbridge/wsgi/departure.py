"""Noticing that a parked client is gone.

While a request waits, its server does not look at its socket, so that a closed tab would hold its place (and
under threads one of the site's threads) until the wait is over. We look: where the socket can be found, the
loop tells when it becomes readable, and a peek says whether that is the end of the stream or the next,
pipelined request. Waitress looks itself and can be asked.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from rtbridge.runtime import Loop, Timer, Watch
from rtbridge.wsgi.sockets import find_socket

_ASK_EVERY = 1.0  # seconds between two questions to a server that has to be asked


class Departure:
    """Calls `gone` in the turn, once, when the client closed its side. Close it when the request is answered.

    A client may also have closed only its sending side and still read: answer it rather than drop it.
    """

    def __init__(self, loop: Loop, environ: Mapping[str, Any], gone: Callable[[], object]) -> None:
        self._loop = loop
        self._gone = gone
        self._sock: Any = None
        self._watch: Watch | None = None
        self._timer: Timer | None = None
        self._ask = environ.get("waitress.client_disconnected")
        theirs = None if callable(self._ask) else find_socket(environ)
        if theirs is not None:
            self._look_at(theirs)
        elif callable(self._ask):
            self._timer = loop.call_later(_ASK_EVERY, self._ask_server)

    def close(self) -> None:
        """Stop looking. In the turn; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _look_at(self, theirs: Any) -> None:
        import _socket

        # A descriptor of our own, because the server may be watching its own; never made non-blocking,
        # because that would change the server's as well.
        with contextlib.suppress(OSError):
            self._sock = _socket.socket(fileno=os.dup(theirs.fileno()))
            self._watch = self._loop.watch(self._sock, self._readable)
            self._watch.want(read=True, write=False)

    def _readable(self, readable: bool, writable: bool) -> None:
        if self._sock is None:
            return
        try:
            ended = not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            ended = True
        self.close()
        if ended:
            self._gone()

    def _ask_server(self) -> None:
        assert callable(self._ask)
        if self._ask():
            self.close()
            self._gone()
        else:
            self._timer = self._loop.call_later(_ASK_EVERY, self._ask_server)
