"""Who has something to send, and the one callback in which they all send it.

A publication for a thousand readers marks a thousand connections. Were each to schedule itself, the loop
would make a thousand calls of its own around theirs. And nine thousand sends in a row block a loop for 70 ms:
so they go in chunks, and whatever else is due has its turn in between.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Protocol

from rtbridge.runtime import Loop

_log = logging.getLogger("rtbridge")
_CHUNK = 1_000  # connections that are flushed in one callback


class Flushable(Protocol):
    """A connection, or a group of them, that sends when it is told to. In the turn."""

    @property
    def weight(self) -> int:
        """How many connections it is."""

    def flush(self) -> None: ...

    def abandon(self) -> object: ...


class Flusher:
    """In the turn only."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._due: deque[Flushable] = deque()
        self._called = False

    def add(self, connection: Flushable) -> None:
        """Flush it at the end of this turn. Not twice: the connection remembers that it was added."""
        self._due.append(connection)
        self._call()

    def add_first(self, group: Flushable) -> None:
        """Flush it before the single ones: those who catch up find the group where they are, and can join it."""
        self._due.appendleft(group)
        self._call()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        due, room = self._due, _CHUNK
        for _ in range(len(due)):
            connection = due.popleft()
            room -= connection.weight
            try:
                connection.flush()
            except Exception:
                # What one connection's flush raises ends that connection, and no other.
                _log.exception("a connection failed")
                connection.abandon()
            if room <= 0:
                break
        self._called = bool(due)
        if due:
            self._loop.call_soon(self._flush)
