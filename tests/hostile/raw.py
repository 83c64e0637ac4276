"""An attacker: raw sockets that send whatever they are told and remember every byte that came back."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

PATIENCE = 5.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Reply:
    """One HTTP response."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int | None:
        """The code of the protocol's error in the body, None where there is none."""
        try:
            return self.json()["error"]["code"]
        except (ValueError, KeyError, TypeError):
            return None


class Raw:
    """A TCP connection. `spoils` takes every byte received, for the check that none of them was a stranger's."""

    def __init__(self, port: int, spoils: bytearray, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(("127.0.0.1", port))
        self.spoils = spoils
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> bool:
        """Send it all; False if the server would not take it (it may have had enough)."""
        try:
            self.sock.sendall(data)
        except OSError:
            return False
        return True

    def more(self, timeout: float = PATIENCE) -> bytes:
        """The next bytes; b"" when the server closed. TimeoutError if neither came."""
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionError:
            return b""
        self.spoils += data
        self.buffer += data
        return data

    def closed(self, timeout: float = PATIENCE) -> bool:
        """Whether the server closes within the time, whatever it still says."""
        end = time.monotonic() + timeout
        with contextlib.suppress(TimeoutError):
            while (left := end - time.monotonic()) > 0:
                if not self.more(left):
                    return True
        return False

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            if not self.more():
                raise EOFError(f"closed after {self.buffer[:200]!r}")
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.more():
                raise EOFError(f"closed, {size - len(self.buffer)} bytes too early")
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def reply(self, method: str = "GET") -> Reply:
        """The next HTTP response. EOFError if the server closed instead."""
        status = int(self._line().split(b" ")[1])
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if method == "HEAD" or status in (101, 204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            pieces = []
            while size := int(self._line(), 16):
                pieces.append(self._exactly(size))
                self._line()
            self._line()
            body = b"".join(pieces)
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        else:
            while self.more():
                pass
            body, self.buffer = self.buffer, b""
        return Reply(status, headers, body)


class WebSocket(Raw):
    """A WebSocket whose frames are made by hand."""

    def __init__(
        self,
        port: int,
        spoils: bytearray,
        *,
        query: str = "version=1&codec=json",
        headers: Mapping[str, str] | None = None,
        together: bytes = b"",
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__(port, spoils, receive_buffer)
        self.send(handshake(query, headers) + together)
        self.opened = self.reply()
        assert self.opened.status == 101, (self.opened.status, self.opened.body)

    def say(self, *commands: object) -> None:
        """Send commands as a client should."""
        self.send(frame(TEXT, json.dumps(commands).encode()))

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """What the server sends, to the end: opcode and payload."""
        while True:
            try:
                first, second = self._exactly(2)
                size = second & 0x7F
                if size > 125:
                    size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
                assert not second & 0x80, "a server must not mask"
                assert first & 0x80, "our server does not fragment"
                payload = self._exactly(size)
            except EOFError:
                return
            yield first & 0x0F, payload

    def messages(self) -> Iterator[Any]:
        """The messages, to the close frame."""
        for opcode, payload in self.frames():
            if opcode == TEXT:
                yield json.loads(payload)
            elif opcode == CLOSE:
                return

    def take(self, count: int) -> list[Any]:
        """The next messages, as many as there are up to the close frame."""
        return list(itertools.islice(self.messages(), count))

    def until(self, type_: str) -> Any:
        """The next message of a type."""
        for message in self.messages():
            if message["type"] == type_:
                return message
        raise AssertionError(f"closed before a {type_} came")

    def close_code(self) -> int | None:
        """The code of the close frame that comes; None if the server closed without one."""
        for opcode, payload in self.frames():
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005
        return None


def frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    size: int | None = None,
) -> bytes:
    """A frame, lawful or not. `size`: what its head claims, where that is a lie."""
    claimed = len(payload) if size is None else size
    mask = os.urandom(4) if masked else b""
    bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if claimed < 126:
        head += bytes([bit | claimed])
    elif claimed < 0x10000:
        head += struct.pack(">BH", bit | 126, claimed)
    else:
        head += struct.pack(">BQ", bit | 127, claimed)
    if masked:
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return head + mask + payload


def handshake(query: str = "version=1&codec=json", headers: Mapping[str, str | None] | None = None) -> bytes:
    """The head of a request for a WebSocket; a header that is None is left out."""
    wanted: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **(headers or {}),
    }
    lines = [f"{name}: {value}" for name, value in wanted.items() if value is not None]
    return "\r\n".join([f"GET /rt/ws?{query} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def post(body: bytes, headers: Mapping[str, str] | None = None, path: str = "/rt/poll") -> bytes:
    """A whole POST."""
    wanted = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    lines = [f"{name}: {value}" for name, value in wanted.items()]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode("latin-1") + body


def get(path: str | bytes, headers: Mapping[str, str] | None = None, method: str = "GET") -> bytes:
    """A whole request without a body."""
    raw = path if isinstance(path, bytes) else path.encode("latin-1")
    lines = [f"{name}: {value}" for name, value in {"Host": "127.0.0.1", **(headers or {})}.items()]
    return method.encode() + b" " + raw + b" HTTP/1.1\r\n" + "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunked(*pieces: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
