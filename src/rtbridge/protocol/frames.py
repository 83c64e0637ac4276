"""WebSocket frames, strictly by RFC 6455: bytes in, events out.

Think of two parts. `FrameParser` is what every connection keeps: a few words of memory, and a loop for messages of
one frame that lie whole in what was read, as nearly all do. An `_Assembly` exists only while a frame or a
fragmented message is unfinished; it checks each thing as soon as it can be known, and never holds more than a
head and what that head was allowed to announce. Both take what is there by slices, so the work is linear in
the bytes however they are cut.
"""

from __future__ import annotations

import codecs
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias

from rtbridge.errors import FrameError
from rtbridge.protocol.masking import unmask

__all__ = [
    "OPCODES",
    "BinaryMessage",
    "BrokenFrame",
    "CloseFrame",
    "FrameEvent",
    "FrameParser",
    "Opcode",
    "PingFrame",
    "PongFrame",
    "TextMessage",
    "close_frame",
    "frame",
    "text_frame",
    "unmask",
]

PROTOCOL_ERROR = 1002
INVALID_TEXT = 1007
TOO_BIG = 1009


class Opcode(IntEnum):
    """RFC 6455, section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


OPCODES = frozenset(Opcode)
"""All opcodes that are not reserved."""


@dataclass(frozen=True, slots=True)
class TextMessage:
    """A whole text message; `data` is valid UTF-8."""

    data: bytes


@dataclass(frozen=True, slots=True)
class BinaryMessage:
    """A whole binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PingFrame:
    """A ping, to be answered by a pong with the same data (RFC 6455, section 5.5.2)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PongFrame:
    """A pong, asked for or not."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """The peer closes; nothing after it is read.

    `code` is None for a close without one (RFC 6455, section 7.1.5).
    """

    code: int | None
    reason: str


FrameEvent: TypeAlias = TextMessage | BinaryMessage | PingFrame | PongFrame | CloseFrame


class BrokenFrame(FrameError):
    """A `FrameError` with the `events` that were whole before the frame that broke the rules."""

    def __init__(self, code: int, message: str, events: tuple[FrameEvent, ...] = ()) -> None:
        super().__init__(code, message)
        self.events = events


# ---- writing


def frame(opcode: int, payload: bytes, *, mask: bytes | None = None, fin: bool = True) -> bytes:
    """One frame (RFC 6455, section 5.2).

    Args:
        opcode: an `Opcode`.
        payload: at most 125 bytes for a control frame; that is the caller's to see to.
        mask: four random bytes; a client must give them, a server must not (section 5.1).
        fin: False for a fragment that is not the last.
    """
    size = len(payload)
    first = 0x80 | opcode if fin else opcode
    masked = 0 if mask is None else 0x80
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 0x10000:
        head = struct.pack(">BBH", first, masked | 126, size)
    else:
        head = struct.pack(">BBQ", first, masked | 127, size)
    return head + payload if mask is None else head + mask + unmask(payload, mask)


def text_frame(payload: bytes, *, mask: bytes | None = None) -> bytes:
    """A whole text message in one frame; `payload` is UTF-8."""
    return frame(Opcode.TEXT, payload, mask=mask)


def close_frame(code: int | None, reason: str = "", *, mask: bytes | None = None) -> bytes:
    """A close frame (RFC 6455, section 5.5.1); the reason is cut to 123 bytes on a character boundary."""
    if code is None:
        return frame(Opcode.CLOSE, b"", mask=mask)
    text = reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore")
    return frame(Opcode.CLOSE, struct.pack(">H", code) + text.encode(), mask=mask)


# ---- reading


class FrameParser:
    """The incremental parser of one connection.

    Args:
        role: whose parser this is. A `server` demands masked frames, a `client` refuses them (RFC 6455,
            section 5.1).
        max_message: bytes of one message, all its fragments together.
        max_fragments: frames of one message; empty ones count too, they cost as much.
    """

    __slots__ = ("_assembly", "_closed", "_failure", "_key_size", "_max_fragments", "_max_message")

    def __init__(
        self, *, role: Literal["server", "client"], max_message: int, max_fragments: int = 1024
    ) -> None:
        self._key_size = 4 if role == "server" else 0
        self._max_message = max_message
        self._max_fragments = max_fragments
        self._assembly: _Assembly | None = None
        self._closed = False
        self._failure: FrameError | None = None

    @property
    def unfinished(self) -> bool:
        """Whether it must be kept for what comes next: else a new one would do as well."""
        return self._assembly is not None or self._closed or self._failure is not None

    def feed(self, data: bytes) -> list[FrameEvent]:
        """What `data` completes, in order. After a close frame everything is ignored.

        Raises:
            BrokenFrame: a FrameError, whose code is 1002 where a frame broke the protocol, 1007 for text that
                is not UTF-8, 1009 over a limit. The parser is dead then and raises the same for whatever
                follows.
        """
        if self._failure is not None:
            raise BrokenFrame(self._failure.code, self._failure.message)
        events: list[FrameEvent] = []
        try:
            self._read(bytes(data), events)
        except FrameError as error:
            self._failure = error
            self._assembly = None
            raise BrokenFrame(error.code, error.message, tuple(events)) from None
        return events

    def _read(self, data: bytes, events: list[FrameEvent]) -> None:
        at, end = 0, len(data)
        while at < end and not self._closed:
            if self._assembly is None:
                at = self._whole_frames(data, at, events)
                if at == end:
                    return
                self._assembly = _Assembly(self._key_size, self._max_message, self._max_fragments)
            at = self._assembly.take(data, at, events)
            if self._assembly.closed:
                self._closed = True
                self._assembly = None
            elif self._assembly.idle:
                self._assembly = None

    def _whole_frames(self, data: bytes, at: int, events: list[FrameEvent]) -> int:
        """Read unfragmented messages below 64 KiB that lie whole in `data`, up to anything else."""
        key_size = self._key_size
        masked = 0x80 if key_size else 0
        limit = self._max_message
        end = len(data)
        while end - at >= 2 + key_size:
            first = data[at]
            size = data[at + 1] ^ masked  # beyond 127 where the mask bit is wrong
            start = at + 2
            if size == 126:
                start += 2
                size = int.from_bytes(data[at + 2 : start], "big")
                if size < 126:
                    break
            elif size > 126:
                break
            key, start = start, start + key_size
            stop = start + size
            if (first != 0x81 and first != 0x82) or size > limit or stop > end:
                break
            payload = unmask(data[start:stop], data[key:start]) if key_size else data[start:stop]
            if first == 0x82:
                events.append(BinaryMessage(payload))
            else:
                _check_text(payload)
                events.append(TextMessage(payload))
            at = stop
        return at


class _Assembly:
    """One message (or control frame) in the making."""

    __slots__ = (
        "_control",
        "_decoder",
        "_fragments",
        "_head",
        "_key",
        "_key_size",
        "_left",
        "_max_fragments",
        "_max_message",
        "_message",
        "_message_opcode",
        "_payload_seen",
        "_start",
        "closed",
    )

    def __init__(self, key_size: int, max_message: int, max_fragments: int) -> None:
        self._key_size = key_size
        self._max_message = max_message
        self._max_fragments = max_fragments
        self.closed = False
        # The frame: its head while that is not whole, then its first byte, key and what is left of the
        # payload.
        self._head = bytearray()
        self._start = 0
        self._key = b""
        self._left: int | None = None
        self._payload_seen = 0
        self._control = bytearray()
        # The message, which control frames may interrupt.
        self._message_opcode: int | None = None
        self._message = bytearray()
        self._fragments = 0
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def idle(self) -> bool:
        """Nothing is unfinished."""
        return self._message_opcode is None and self._left is None and not self._head

    def take(self, data: bytes, at: int, events: list[FrameEvent]) -> int:
        """Read on in the current frame, to its end at most. Returns where reading stopped."""
        if self._left is None:
            at = self._take_head(data, at)
        if self._left:
            chunk = data[at : at + self._left]
            at += len(chunk)
            self._left -= len(chunk)
            self._take_payload(chunk)
        if self._left == 0:
            self._left = None
            self._finish_frame(events)
        return at

    def _take_head(self, data: bytes, at: int) -> int:
        head = self._head
        if len(head) < 2:
            at = self._fill_head(data, at, 2)
            if len(head) < 2:
                return at
            self._check_start(head[0], head[1])
        size = 2 + {126: 2, 127: 8}.get(head[1] & 0x7F, 0) + self._key_size
        at = self._fill_head(data, at, size)
        if len(head) == size:
            self._begin_payload(head)
            head.clear()
        return at

    def _fill_head(self, data: bytes, at: int, size: int) -> int:
        chunk = data[at : at + size - len(self._head)]
        self._head += chunk
        return at + len(chunk)

    def _check_start(self, first: int, second: int) -> None:
        """What the first two bytes can be refused for (RFC 6455, sections 5.1, 5.2, 5.4 and 5.5)."""
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode not in OPCODES:
            raise FrameError(PROTOCOL_ERROR, f"opcode {opcode} is reserved")
        if bool(second & 0x80) != bool(self._key_size):
            raise FrameError(
                PROTOCOL_ERROR,
                "a client must mask its frames" if self._key_size else "a server must not mask",
            )
        if opcode >= Opcode.CLOSE:
            if not first & 0x80:
                raise FrameError(PROTOCOL_ERROR, "a control frame is fragmented")
            if second & 0x7F > 125:
                raise FrameError(PROTOCOL_ERROR, "a control frame is longer than 125 bytes")
        elif opcode == Opcode.CONTINUATION and self._message_opcode is None:
            raise FrameError(PROTOCOL_ERROR, "a continuation of nothing")
        elif opcode != Opcode.CONTINUATION and self._message_opcode is not None:
            raise FrameError(PROTOCOL_ERROR, "a new message inside a fragmented one")

    def _begin_payload(self, head: bytearray) -> None:
        length = _length(head)
        self._start = head[0]
        self._key = bytes(head[len(head) - self._key_size :])
        self._left = length
        self._payload_seen = 0
        opcode = head[0] & 0x0F
        if opcode >= Opcode.CLOSE:
            return
        if len(self._message) + length > self._max_message:
            raise FrameError(TOO_BIG, f"a message over {self._max_message} bytes")
        self._fragments += 1
        if self._fragments > self._max_fragments:
            raise FrameError(TOO_BIG, f"a message in more than {self._max_fragments} fragments")
        if opcode != Opcode.CONTINUATION:
            self._message_opcode = opcode
            if opcode == Opcode.TEXT:
                self._decoder = codecs.getincrementaldecoder("utf-8")()

    def _take_payload(self, chunk: bytes) -> None:
        if self._key_size:
            turn = self._payload_seen % 4
            self._payload_seen += len(chunk)
            chunk = unmask(chunk, self._key[turn:] + self._key[:turn])
        if self._start & 0x0F >= Opcode.CLOSE:
            self._control += chunk
            return
        self._message += chunk
        if self._decoder is not None:
            self._check_text_so_far(chunk, False)

    def _finish_frame(self, events: list[FrameEvent]) -> None:
        if self._start & 0x0F >= Opcode.CLOSE:
            events.append(self._control_event(self._start & 0x0F, bytes(self._control)))
            self._control.clear()
        elif self._start & 0x80:
            if self._decoder is not None:
                self._check_text_so_far(b"", True)
                events.append(TextMessage(bytes(self._message)))
            else:
                events.append(BinaryMessage(bytes(self._message)))
            self._message_opcode = None
            self._message = bytearray()
            self._fragments = 0
            self._decoder = None

    def _control_event(self, opcode: int, payload: bytes) -> FrameEvent:
        if opcode == Opcode.PING:
            return PingFrame(payload)
        if opcode == Opcode.PONG:
            return PongFrame(payload)
        self.closed = True
        return _close_event(payload)

    def _check_text_so_far(self, chunk: bytes, final: bool) -> None:
        assert self._decoder is not None
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            raise FrameError(INVALID_TEXT, "text that is not UTF-8") from None


def _length(head: bytearray) -> int:
    """The payload length of a whole head, which must be in its shortest form (RFC 6455, section 5.2)."""
    short = head[1] & 0x7F
    if short < 126:
        return short
    stop, least = (4, 126) if short == 126 else (10, 0x10000)
    length = int.from_bytes(head[2:stop], "big")
    if not least <= length < 2**63:
        raise FrameError(PROTOCOL_ERROR, "a length that is not in its shortest form, or over 63 bits")
    return length


def _check_text(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_TEXT, "text that is not UTF-8") from None


def _close_event(payload: bytes) -> CloseFrame:
    """RFC 6455, sections 5.5.1 and 7.4; 1012 to 1014 are registered with IANA since."""
    if not payload:
        return CloseFrame(None, "")
    if len(payload) == 1:
        raise FrameError(PROTOCOL_ERROR, "a close code of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise FrameError(PROTOCOL_ERROR, f"{code} is not a close code that may be sent")
    _check_text(payload[2:])
    return CloseFrame(code, payload[2:].decode())
