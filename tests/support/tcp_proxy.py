"""A TCP proxy whose wire a test can cut, and that can make subscribers to Redis deaf."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

HOST = "127.0.0.1"


class TcpProxy:
    """Listens on `port` and passes everything on to `upstream`.

    Attributes:
        deaf: what the server says on connections that subscribed is thrown away; they stay open.
        lose_replies: what the server says on the others is thrown away: it does what it is asked, and nobody hears.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.deaf = False
        self.lose_replies = False
        self._cut = False
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.close()

    def cut(self) -> None:
        """End all connections and let no new one through."""
        self._cut = True
        self.drop_all()

    def mend(self) -> None:
        self._cut = False

    def drop_all(self) -> None:
        """End all connections; new ones are let through."""
        for sock in list(self._open):
            end(sock)

    def filter(self) -> Callable[[bytes], bytes]:
        """Made for each connection: what of the things a subscriber is told it is to hear."""
        return lambda data: data

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                end(client)
                continue
            try:
                server = socket.create_connection((HOST, self.upstream))
            except OSError:
                end(client)
                continue
            pair = _Pair(self, client, server)
            self._open |= {client, server}
            for move in (pair.to_server, pair.to_client):
                threading.Thread(target=move, daemon=True).start()


class _Pair:
    def __init__(self, proxy: TcpProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._subscribed = False
        self._filter = proxy.filter()
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def to_server(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(65_536):
                self._subscribed = self._subscribed or b"SUBSCRIBE\r\n" in data
                self._server.sendall(data)
        self._end()

    def to_client(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(65_536):
                lost = self._proxy.deaf if self._subscribed else self._proxy.lose_replies
                if not lost:
                    self._client.sendall(self._filter(data) if self._subscribed else data)
        self._end()

    def _end(self) -> None:
        for sock in (self._client, self._server):
            end(sock)
            self._proxy._open.discard(sock)


def end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
