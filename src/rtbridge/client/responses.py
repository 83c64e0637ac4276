"""HTTP/1.1 responses, bytes in and events out: as much of RFC 9112 as a client needs that sends no odd requests.

The standard library's `http.client` reads from blocking files. A client that waits for several answers at once in one
thread needs a parser that takes what there is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from rtbridge.errors import RtbridgeError

MAX_HEAD = 65_536
"""Bytes of a response's head, or of a chunk's size line."""

_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")


class BadResponse(RtbridgeError):
    """What came is no HTTP response, or it was cut off."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers, names in lower case. `persistent`: by these, the connection stays open afterwards."""

    status: int
    headers: dict[str, str]
    persistent: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a response. `reusable`: the connection may carry another request."""

    reusable: bool


ResponseEvent: TypeAlias = Head | Part | Done


class ResponseParser:
    """Parses one response; make a new one for the next."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._reading = "head"  # head, size, chunk, chunk end, trailers, counted, to the end, done
        self._left = 0
        self._reusable = True

    @property
    def begun(self) -> bool:
        """Anything at all arrived."""
        return self._reading != "head" or bool(self._buffer)

    def feed(self, data: bytes) -> list[ResponseEvent]:
        """Take what arrived.

        Raises:
            BadResponse: it is no response.
        """
        self._buffer += data
        events: list[ResponseEvent] = []
        while self._reading != "done" and self._step(events):
            pass
        return events

    def eof(self) -> list[ResponseEvent]:
        """The connection ended.

        Raises:
            BadResponse: in the middle.
        """
        if self._reading == "to the end":
            self._reading = "done"
            return [Done(False)]
        if self._reading != "done":
            raise BadResponse("the connection ended within an answer" if self.begun else "no answer came")
        return []

    def _step(self, events: list[ResponseEvent]) -> bool:
        """Go one step on; False when more bytes are needed."""
        match self._reading:
            case "head":
                return self._head(events)
            case "size":
                return self._size()
            case "trailers":
                return self._trailers(events)
            case "chunk end":
                return self._chunk_end()
            case _:
                return self._body(events)

    def _head(self, events: list[ResponseEvent]) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadResponse("the head of the answer is too long")
            return False
        head = _parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        if 100 <= head.status < 200 and head.status != 101:
            return True  # an interim answer; the final one follows
        events.append(head)
        self._expect_body(head, events)
        return True

    def _expect_body(self, head: Head, events: list[ResponseEvent]) -> None:
        headers = head.headers
        self._reusable = head.persistent
        length = headers.get("content-length")
        if head.status in (101, 204, 304):
            self._done(events)
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._reading = "size"
        elif length is None:
            self._reading, self._reusable = "to the end", False
        elif not length.isdecimal():
            raise BadResponse("the answer has a malformed Content-Length")
        elif int(length) == 0:
            self._done(events)
        else:
            self._left = int(length)
            self._reading = "counted"

    def _body(self, events: list[ResponseEvent]) -> bool:
        if not self._buffer:
            return False
        if self._reading == "to the end":
            events.append(Part(bytes(self._buffer)))
            self._buffer.clear()
            return False
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: len(piece)]
        self._left -= len(piece)
        events.append(Part(piece))
        if not self._left:
            if self._reading == "chunk":
                self._reading = "chunk end"
            else:
                self._done(events)
        return True

    def _size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BadResponse("the answer has a malformed chunk")
        self._left = int(match[1], 16)
        self._reading = "chunk" if self._left else "trailers"
        return True

    def _chunk_end(self) -> bool:
        line = self._line()
        if line:
            raise BadResponse("the answer has a malformed chunk")
        if line is not None:
            self._reading = "size"
        return line is not None

    def _trailers(self, events: list[ResponseEvent]) -> bool:
        line = self._line()
        if line == b"":
            self._done(events)
        return line is not None

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadResponse("the answer has a malformed chunk")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _done(self, events: list[ResponseEvent]) -> None:
        self._reading = "done"
        events.append(Done(self._reusable and not self._buffer))


def _parse_head(raw: bytes) -> Head:
    first, *lines = raw.decode("latin-1").split("\r\n")
    match = _STATUS.fullmatch(first)
    if match is None:
        raise BadResponse("the answer is not HTTP")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadResponse("the answer has a malformed header")
        name = name.lower()
        known = headers.get(name)
        headers[name] = value.strip() if known is None else f"{known}, {value.strip()}"
    options = headers.get("connection", "").lower()
    return Head(
        int(match[2]), headers, "close" not in options and (match[1] == "1" or "keep-alive" in options)
    )
