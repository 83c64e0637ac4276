"""The MessagePack codec. Needs the package `msgpack`; ask `codecs.msgpack_codec()` for it.

The library decodes fast but allocates what a header announces before it has seen it, nests 1,024 deep and
knows types that JSON does not. So `check_shape` walks the headers first, in one loop without a stack of its
own: what it lets through holds only JSON's types and bytes, in range, at most 64 deep, and announces no more
elements than there are bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgpack

from rtbridge.protocol import data as _data
from rtbridge.protocol.messages import Canonical, Command, ServerMessage
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication

if TYPE_CHECKING:
    from rtbridge.protocol.codecs import Codec

# Bytes of the length that follows these types (bin and str), of the count that follows those (array and map),
# and of the body of types of one size. What is in no table (ext, timestamps, 0xc1) is refused.
_LENGTH_BYTES = MappingProxyType({0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4})
_COUNT_BYTES = MappingProxyType({0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4})
_BODY_BYTES = MappingProxyType(
    {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8}
    | {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
)
_LEAF = -1


class MsgpackCodec:
    """MessagePack."""

    name = "msgpack"
    content_type = "application/msgpack"

    def encode(self, message: ServerMessage) -> bytes:
        """See `Codec`."""
        return self.encode_map(message.to_wire())

    def encode_command(self, command: Command) -> bytes:
        """See `Codec`."""
        # By way of JSON, so that what is refused there is refused here, in the same words.
        return _pack(_data.loads(_data.encode_wire(command.to_wire(), None, _data.MAX_DEPTH)))

    def encode_map(self, value: dict[str, object]) -> bytes:
        """See `Codec`."""
        return _map(*[part for key, item in value.items() for part in (_pack(key), self._value(item))])

    def decode(self, raw: bytes) -> object:
        """See `Codec`."""
        try:
            check_shape(raw, _data.MAX_DEPTH)
            value: object = msgpack.unpackb(
                raw, raw=False, strict_map_key=True, object_pairs_hook=_object, unicode_errors="strict"
            )
        except UnicodeError:
            raise _data.bad_message("a string is not UTF-8") from None
        except ValueError as error:
            raise _data.bad_message(f"not MessagePack: {error}") from None
        return value

    def publication(self, publication: Publication) -> bytes:
        """See `Codec`."""
        parts = [b"\xa6offset", _pack(publication.offset), b"\xa4data", _pack(publication.value())]
        if publication.cause is not None:
            parts += [b"\xa5cause", _pack(publication.cause)]
        return _map(*parts)

    def publications(
        self, channel: str, position: Position, fragments: Sequence[bytes], more: bool = False
    ) -> bytes:
        """See `Codec`."""
        return _map(
            *(b"\xa4type", b"\xacpublications"),
            *(b"\xa7channel", _pack(channel), b"\xa8position", _pack(str(position))),
            *(b"\xacpublications", _array(fragments)),
            *((b"\xa4more", b"\xc3") if more else ()),
        )

    def channel_answer(
        self,
        channel: str,
        position: Position,
        fragments: Sequence[bytes],
        recovered: bool | None = None,
        more: bool = False,
        snapshot: bytes | None = None,
    ) -> bytes:
        """See `Codec`."""
        return _map(
            *(b"\xa7channel", _pack(channel), b"\xa8position", _pack(str(position))),
            *((b"\xa9recovered", b"\xc2") if recovered is False else ()),
            *(() if snapshot is None else (b"\xa8snapshot", _pack(_data.decode(snapshot)))),
            *(b"\xacpublications", _array(fragments)),
            *((b"\xa4more", b"\xc3") if more else ()),
        )

    def join_poll(self, messages: Sequence[bytes], interval: float | None = None) -> bytes:
        """See `Codec`."""
        pause = () if interval is None else (b"\xa8interval", _pack(interval))
        return _map(b"\xa8messages", _array(messages), *pause)

    def join_commands(self, commands: Sequence[bytes], wait: float | None = None) -> bytes:
        """See `Codec`."""
        head = () if wait is None else (b"\xa4wait", _pack(wait))
        return _map(*head, b"\xa8commands", _array(commands))

    def _value(self, value: object) -> bytes:
        if isinstance(value, Canonical):
            return _pack(_data.decode(value.json))
        if isinstance(value, tuple):
            return _array([self.publication(item) for item in value])
        return _pack(value)


MSGPACK: Codec = MsgpackCodec()
"""The codec for clients that want bytes without base64."""


def check_shape(raw: bytes, max_depth: int) -> None:
    """Raise ValueError unless `raw` is one whole value of allowed types, at most `max_depth` containers deep.

    Keys and UTF-8 are left to the decoder, which need not be afraid of anything any more.
    """
    at, end = 0, len(raw)
    expected = 1  # values announced and not yet seen; each takes a byte at least
    left = 1  # of these, in the innermost open container
    outer: list[int] = []  # the same for each container around it
    while expected:
        while not left:
            left = outer.pop()
        if end - at < expected:
            raise ValueError("cut short, or announcing more than there is")
        at, count = _token(raw, at)
        left -= 1
        expected -= 1
        if count != _LEAF:
            outer.append(left)
            left = count
            expected += count
            if len(outer) > max_depth:
                raise ValueError("nested too deep")
    if at != end:
        raise ValueError("bytes are missing at the end, or too many")


def _token(raw: bytes, at: int) -> tuple[int, int]:
    """Where the token at `at` ends (perhaps past the end), and how many values it announces, or `_LEAF`."""
    first = raw[at]
    at += 1
    if first < 0x80 or first >= 0xE0:
        return at, _LEAF
    if first < 0x90:
        return at, 2 * (first & 0x0F)
    if first < 0xA0:
        return at, first & 0x0F
    if first < 0xC0:
        return at + (first & 0x1F), _LEAF
    if size := _LENGTH_BYTES.get(first):
        return at + size + int.from_bytes(raw[at : at + size], "big"), _LEAF
    if size := _COUNT_BYTES.get(first):
        count = int.from_bytes(raw[at : at + size], "big")
        return at + size, 2 * count if first >= 0xDE else count
    body = _BODY_BYTES.get(first)
    if body is None:
        raise ValueError("a type that JSON does not have")
    if body >= 4:
        _check_number(first, raw[at : at + body])
    return at + body, _LEAF


def _check_number(first: int, body: bytes) -> None:
    if first == 0xCF or first == 0xD3:
        if body == b"\x80" + bytes(7) or (first == 0xCF and body[:1] >= b"\x80"):
            raise ValueError("an integer out of range")
    elif first == 0xCB and len(body) == 8:
        if not math.isfinite(struct.unpack(">d", body)[0]):
            raise ValueError("NaN or infinity")
    elif first == 0xCA and len(body) == 4 and not math.isfinite(struct.unpack(">f", body)[0]):
        raise ValueError("NaN or infinity")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    for key, _ in pairs:
        if type(key) is not str:
            raise ValueError("a key is not a string")
    return _data.object_of(pairs)


def _pack(value: object) -> bytes:
    return bytes(msgpack.packb(value, use_bin_type=True, unicode_errors="replace"))


def _map(*parts: bytes) -> bytes:
    """A map of keys and values encoded already, in turn."""
    count = len(parts) // 2
    head = bytes([0x80 | count]) if count < 16 else struct.pack(">BI", 0xDF, count)
    return head + b"".join(parts)


def _array(items: Sequence[bytes]) -> bytes:
    """An array of values encoded already."""
    count = len(items)
    if count < 16:
        head = bytes([0x90 | count])
    elif count < 0x10000:
        head = struct.pack(">BH", 0xDC, count)
    else:
        head = struct.pack(">BI", 0xDD, count)
    return head + b"".join(items)
