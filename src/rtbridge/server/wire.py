"""Responses as bytes, for connections that carry no WSGI: one `send` each."""

from __future__ import annotations

import time
from http import HTTPStatus
from wsgiref.handlers import format_date_time

from rtbridge.wsgi.http import Response

LAST_CHUNK = b"0\r\n\r\n"
_USUAL = frozenset(
    {"Content-Type", "Cache-Control", "Vary", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials",
     "Access-Control-Expose-Headers"}
)  # fmt: skip
"""Headers that say nothing of one client or one answer: others are hardly ever the same twice."""
_REMEMBERED = 50


class Writer:
    """Writes responses; remembers the line of each status and the second's date."""

    def __init__(self) -> None:
        self._lines = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
        self._second = 0
        self._date = ""
        self._fields: dict[tuple[tuple[str, str], ...], str] = {}

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
        if status in (204, 304):
            headers = [each for each in headers if each[0] != "Content-Type"]
        key = tuple(headers)
        fields = self._fields.get(key)
        if fields is None:
            fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
            if _USUAL.issuperset([name for name, _ in headers]):
                if len(self._fields) >= _REMEMBERED:
                    self._fields.clear()
                self._fields[key] = fields
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, format_date_time(second)
        ending = "Connection: close\r\n" if close else ""
        return f"{self._lines[status]}{fields}Date: {self._date}\r\n{ending}"


def chunk(piece: bytes) -> bytes:
    """One chunk of a streamed body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
