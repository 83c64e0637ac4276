"""The workers' counters at one address, for Prometheus: answered by the supervisor, which hears them every second.

A worker that dies leaves what its counters last stood at, so that totals never fall. The supervisor must never wait
for anybody: a request is read as far as it has come, and its answer is small enough to leave in one piece.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rtbridge.metrics import CONTENT_TYPE, exposition, is_counter, merged

_MOST_ASKING = 32  # connections at once
_MOST_HEAD = 8_192  # bytes
_PATIENCE = 5.0  # seconds in which a request must have come
_PATH = "/metrics"


@dataclass(eq=False)
class _Asking:
    sock: socket.socket
    until: float
    head: bytes = b""


@dataclass
class Collected:
    """What the workers told."""

    _living: dict[int, Mapping[str, float]] = field(default_factory=dict)
    _past: dict[str, float] = field(default_factory=dict)

    def told(self, worker: int, values: Mapping[str, float]) -> None:
        """A worker's counters as they stand."""
        self._living[worker] = values

    def count(self, name: str) -> None:
        """Something of the supervisor's own has happened."""
        self._past[name] = self._past.get(name, 0) + 1

    def died(self, worker: int) -> None:
        """A worker is gone; what it counted stays."""
        for name, value in self._living.pop(worker, {}).items():
            if is_counter(name):
                self._past[name] = self._past.get(name, 0) + value

    def text(self) -> str:
        """All of it in Prometheus's form."""
        return exposition(merged([*self._living.values(), {"workers": len(self._living)}], self._past))


class Scrape(Collected):
    """`Collected`, and the socket at which it is asked for. See `Scrapes`.

    Args:
        listener: a socket that listens.
    """

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self._listener = listener
        self._asking: list[_Asking] = []

    def sockets(self) -> list[socket.socket]:
        """Those to be watched for something to read."""
        full = len(self._asking) >= _MOST_ASKING
        return [*([] if full else [self._listener]), *(each.sock for each in self._asking)]

    def turn(self, readable: list[socket.socket]) -> None:
        """Go on with those that are readable, and give up who took too long."""
        now = time.monotonic()
        for each in list(self._asking):
            if each.sock in readable:
                self._read(each)
            elif each.until <= now:
                self._end(each)
        if self._listener in readable:
            with contextlib.suppress(OSError):
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                self._asking.append(_Asking(sock, now + _PATIENCE))

    def close(self) -> None:
        """Let go of all sockets."""
        self._listener.close()
        for each in list(self._asking):
            self._end(each)

    def _read(self, each: _Asking) -> None:
        try:
            piece = each.sock.recv(_MOST_HEAD)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        each.head += piece
        if b"\r\n\r\n" in each.head:
            with contextlib.suppress(OSError):
                each.sock.send(self._answer(each.head))
            self._end(each)
        elif not piece or len(each.head) > _MOST_HEAD:
            self._end(each)

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.split(b" ")[0].split(b"?")[0]
        status, body = "200 OK", self.text()
        if path != _PATH.encode():
            status, body = "404 Not Found", f"The metrics are at {_PATH}.\n"
        elif method not in (b"GET", b"HEAD"):
            status, body = "405 Method Not Allowed", "GET it.\n"
        said = body.encode()
        length = f"Content-Length: {len(said)}\r\nConnection: close\r\n\r\n"
        lines = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n{length}"
        return lines.encode() + (b"" if method == b"HEAD" else said)

    def _end(self, each: _Asking) -> None:
        self._asking.remove(each)
        each.sock.close()
