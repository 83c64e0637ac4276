"""Responses as bytes, for connections that carry no WSGI: one `send` each."""

from __future__ import annotations

import time
from http import HTTPStatus
from wsgiref.handlers import format_date_time

from rtbridge.wsgi.http import Response

LAST_CHUNK = b"0\r\n\r\n"


class Writer:
    """Writes responses; remembers the line of each status and the second's date."""

    def __init__(self) -> None:
        self._lines = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
        self._second = 0
        self._date = ""

    def whole(self, response: Response, *, close: bool) -> bytes:
        """A response whose body is there.

        Args:
            close: whether the connection ends with it.
        """
        body = response.body
        assert isinstance(body, bytes)
        head = self._head(response.status, response.headers, close)
        if response.status in (204, 304):
            return f"{head}\r\n".encode("latin-1")
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body

    def streamed(self, headers: list[tuple[str, str]]) -> bytes:
        """The head of a response whose body follows in chunks."""
        return f"{self._head(200, headers, False)}Transfer-Encoding: chunked\r\n\r\n".encode("latin-1")

    def _head(self, status: int, headers: list[tuple[str, str]], close: bool) -> str:
        fields = "".join(
            [
                f"{name}: {value}\r\n"
                for name, value in headers
                if name != "Content-Type" or status not in (204, 304)
            ]
        )
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, format_date_time(second)
        ending = "Connection: close\r\n" if close else ""
        return f"{self._lines[status]}{fields}Date: {self._date}\r\n{ending}"


def chunk(piece: bytes) -> bytes:
    """One chunk of a streamed body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
