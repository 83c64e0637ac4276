"""All connections of one process that hold no stack, and who takes their requests: the mount or the site."""

from __future__ import annotations

import socket
from collections.abc import Callable

from rtbridge.config import Limits
from rtbridge.runtime import Loop
from rtbridge.server.connection import Connection
from rtbridge.server.heads import Heads
from rtbridge.server.mount import Mount

_SWEEP = 1.0  # seconds between looks for deadlines that have passed


class Reactor:
    """In the turn only.

    Args:
        site: takes a connection whose request the mount does not answer, with what was received of it.
        mount: None where every request is the site's.
    """

    def __init__(
        self,
        loop: Loop,
        limits: Limits,
        site: Callable[[socket.socket, bytes], object],
        mount: Mount | None,
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.closing = False
        self._site = site
        self._mount = mount
        self._starts = mount.starts if mount is not None else ()
        self._heads = Heads()
        self._connections: dict[Connection, None] = {}  # a set of many takes up to four times the memory
        loop.call_later(_SWEEP, self._sweep)

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, sock: socket.socket, received: bytes = b"", *, served: bool = False) -> None:
        """Take a connection: a new one, or one that the site has answered."""
        connection = Connection(self, sock, received, served)
        self._connections[connection] = None
        connection.go_on()
        if self.closing:
            connection.no_more()

    def hurry(self) -> None:
        """Answer every poll that waits, with what there is."""
        for connection in list(self._connections):
            if connection.exchange is not None:
                connection.exchange.hurry(connection)

    def close(self) -> None:
        """The server stops: end what is idle, answer what is parked, and make each answer a connection's last."""
        self.closing = True
        self.hurry()
        for connection in list(self._connections):
            connection.no_more()

    # -- for connections ----------------------------------------------------------------------------------

    def request(self, connection: Connection, head: bytes, received: bytes, start: int) -> int:
        mount = self._mount
        if mount is not None and head.startswith(self._starts):
            if mount.ask_again(connection, head, start):
                return 0
            read = self._heads.read(head)
            size = None if read is None else mount.size(read, start)
            if read is not None and size is not None:
                if size > len(received):
                    return size
                connection.take(size)
                mount.take(connection, read, received[start:size])
                return 0
        self.strange(connection)
        return 0

    def strange(self, connection: Connection) -> None:
        self._site(*connection.detach())

    def late(self, connection: Connection) -> None:
        if self._mount is None:
            connection.close()
        else:
            self._mount.late(connection)

    def gone(self, connection: Connection) -> None:
        self._connections.pop(connection, None)

    def _sweep(self) -> None:
        self.loop.call_later(_SWEEP, self._sweep)
        now = self.loop.now()
        for connection in [each for each in self._connections if each.deadline <= now]:
            connection.expire()
