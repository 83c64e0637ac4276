"""A TCP proxy for HTTP/1.1 that does to requests and answers what networks do, at random but by a seed.

It lets most requests pass. Of the others it loses the request, or lets the server work and loses the answer, cuts the
answer in the middle, keeps it for ever, or has the server work twice. Streams and sockets are cut after a random number
of bytes.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import threading
from collections import Counter

FATES = {
    "lose the request": 0.03,
    "lose the answer": 0.05,
    "cut the answer": 0.05,
    "twice": 0.06,
    "never": 0.001,
}
STREAM_BYTES = 30_000
"""Mean length of what a connection carries before it is cut."""
HOST = "127.0.0.1"


class LossyProxy:
    """Listens on `port` until `close`; `counts` says what it did."""

    def __init__(self, upstream: int, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._upstream = upstream
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="lossy-proxy", daemon=True).start()

    def close(self) -> None:
        self._closed = True
        for sock in [self._listener, *self._open]:
            end(sock)

    def cut_all(self) -> None:
        """End every connection at once."""
        for sock in list(self._open):
            end(sock)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _fate(self) -> tuple[str, int]:
        """What becomes of a request, and after how many bytes its connection ends."""
        with self._lock:
            (fate,) = self._random.choices(
                [*FATES, "pass"], weights=[*FATES.values(), 1 - sum(FATES.values())]
            )
            self.counts[fate] += 1
            return fate, int(self._random.expovariate(1 / STREAM_BYTES))

    def _serve(self, client: socket.socket) -> None:
        """One connection of a client: its requests one after the other; what comes back is moved by another thread."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            server = socket.create_connection((HOST, self._upstream))
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stack.callback(end, sock)
                self._open.add(sock)
                stack.callback(self._open.discard, sock)
            answers = Answers(server, client)
            threading.Thread(target=answers.move, daemon=True).start()
            received = b""
            while True:
                request, received = read_request(client, received)
                if not request:
                    return
                fate, most = self._fate()
                if fate == "lose the request":
                    return
                if fate == "twice":
                    stack.callback(end, self._ask_in_vain(request))
                answers.expect(
                    {"lose the answer": 0, "cut the answer": 1 + most % 200, "never": -1}.get(fate, most)
                )
                server.sendall(request)
                if b"Upgrade: websocket" in request:
                    server.sendall(received)
                    while data := client.recv(65_536):
                        server.sendall(data)
                    return

    def _ask_in_vain(self, request: bytes) -> socket.socket:
        """Send a request of which nobody will read the answer."""
        sock = socket.create_connection((HOST, self._upstream))
        self._open.add(sock)
        if b"Upgrade" not in request:
            sock.sendall(request)
        return sock


class Answers:
    """Moves bytes from the server to the client, until enough of them came and the connection is cut."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        self._server = server
        self._client = client
        self._left = 0

    def expect(self, most: int) -> None:
        """Let another `most` bytes pass; -1: none, and do not even end."""
        self._left = most if most < 0 else max(most, 0)

    def move(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(65_536):
                if self._left < 0:
                    continue
                self._client.sendall(data[: self._left])
                self._left -= len(data)
                if self._left <= 0:
                    break
        end(self._client)
        end(self._server)


def read_request(sock: socket.socket, received: bytes) -> tuple[bytes, bytes]:
    """One request, and what was received beyond it; nothing at the end."""
    while b"\r\n\r\n" not in received:
        data = sock.recv(65_536)
        if not data:
            return b"", b""
        received += data
    head = received.index(b"\r\n\r\n") + 4
    length = re.search(rb"(?im)^content-length: *(\d+)", received[:head])
    size = head + (int(length[1]) if length else 0)
    while len(received) < size:
        data = sock.recv(65_536)
        if not data:
            return b"", b""
        received += data
    return received[:size], received[size:]


def end(sock: socket.socket) -> None:
    """Shut down, so that whoever waits in it wakes up, and close."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
