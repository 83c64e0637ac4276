"""The wire between the supervisor and one worker: lines of JSON upwards, and a lifeline downwards.

The worker tells when it serves, why it cannot, and every second its counters. Nothing is sent down; that the
other end is gone is what the worker listens for: without a supervisor it stops.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any

_MOST = 1_048_576  # bytes of one line; a worker that sends more has lost its mind


class WorkerEnd:
    """What a worker holds."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    def tell(self, **said: object) -> None:
        """Say something; forgotten where the supervisor does not read or is gone. Never blocks."""
        with contextlib.suppress(OSError):
            self._sock.send(json.dumps(said).encode() + b"\n")

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


class SupervisorEnd:
    """What the supervisor holds."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._unread = b""
        self.ended = False
        """Whether the worker has closed its end: it is gone, or soon will be."""

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def heard(self) -> list[Mapping[str, Any]]:
        """What the worker said since it was last asked. Never blocks; what is no JSON is passed over."""
        with contextlib.suppress(OSError):
            while piece := self._sock.recv(65_536):
                self._unread += piece
            self.ended = True
        *lines, self._unread = self._unread.split(b"\n")
        self._unread = self._unread[-_MOST:]
        said: list[Mapping[str, Any]] = []
        for line in lines:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    said.append(message)
        return said


def linked() -> tuple[SupervisorEnd, WorkerEnd]:
    """Both ends of a new link."""
    theirs, ours = socket.socketpair()
    # A send is whole or not at all only while it fits: room for a line of counters and more.
    for end in (theirs, ours):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 262_144)
    return SupervisorEnd(theirs), WorkerEnd(ours)
