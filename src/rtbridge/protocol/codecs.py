"""Codecs: messages to bytes and bytes to decoded values, as JSON or MessagePack.

Think of encoding as splicing. The data of a publication is canonical JSON already; `publication()` wraps it
once per codec, and the same fragment goes into every push, poll and answer that carries the publication.
Decoding trusts nothing: whatever the bytes, it is a value of bounded depth or a ProtocolError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache, lru_cache
from json.encoder import encode_basestring
from typing import Protocol

from rtbridge.protocol import data as _data
from rtbridge.protocol.messages import Canonical, Command, HelloReply, Result, ServerMessage
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication


class Codec(Protocol):
    """One way to write messages. Stateless: share it freely."""

    @property
    def name(self) -> str:
        """`json` or `msgpack`, as in the query of a WebSocket URL."""

    @property
    def content_type(self) -> str:
        """Its media type over HTTP."""

    def __hash__(self) -> int:
        """Codecs are values: what is made for one may be remembered for it."""

    def encode(self, message: ServerMessage) -> bytes:
        """A whole server message."""

    def encode_command(self, command: Command) -> bytes:
        """A whole command; DataError when its params cannot travel."""

    def encode_map(self, value: dict[str, object]) -> bytes:
        """Any other map of plain values, such as the body of an HTTP error."""

    def decode(self, raw: bytes) -> object:
        """The value of bytes from anybody, bytes as `bytes`.

        Raises:
            ProtocolError: BAD_MESSAGE for whatever is odd; see `rtbridge.protocol.data.loads`.
        """

    def publication(self, publication: Publication) -> bytes:
        """The fragment of one publication: `{"offset": …, "data": …, "cause": …}`."""

    def publications(
        self, channel: str, position: Position, fragments: Sequence[bytes], more: bool = False
    ) -> bytes:
        """A whole `publications` push of fragments."""

    def channel_answer(
        self,
        channel: str,
        position: Position,
        fragments: Sequence[bytes],
        recovered: bool | None = None,
        more: bool = False,
        snapshot: bytes | None = None,
    ) -> bytes:
        """The answer to a GET of one channel; only a `recovered` of False is written.

        `snapshot` is canonical JSON.
        """

    def join_poll(self, messages: Sequence[bytes], interval: float | None = None) -> bytes:
        """The answer to a poll, of messages encoded already. `interval` is seconds."""

    def join_commands(self, commands: Sequence[bytes], wait: float | None = None) -> bytes:
        """The body of a poll, of commands encoded already. `wait` is seconds."""


class JsonCodec:
    """JSON, compact, UTF-8."""

    name = "json"
    content_type = "application/json"

    def encode(self, message: ServerMessage) -> bytes:
        """See `Codec`."""
        if isinstance(message, HelloReply):
            return _hello(message)
        if isinstance(message, Result):
            return _result(message)
        return self.encode_map(message.to_wire())

    def encode_command(self, command: Command) -> bytes:
        """See `Codec`."""
        return _data.encode_wire(command.to_wire(), None, _data.MAX_DEPTH)

    def encode_map(self, value: dict[str, object]) -> bytes:
        """See `Codec`."""
        return b"{" + b",".join([_key(key) + self._value(item) for key, item in value.items()]) + b"}"

    def decode(self, raw: bytes) -> object:
        """See `Codec`."""
        return _data.loads(raw)

    def publication(self, publication: Publication) -> bytes:
        """See `Codec`."""
        if publication.cause is None:
            return b'{"offset":%d,"data":%b}' % (publication.offset, publication.data)
        return b'{"offset":%d,"data":%b,"cause":%b}' % (
            publication.offset,
            publication.data,
            _dumps(publication.cause),
        )

    def publications(
        self, channel: str, position: Position, fragments: Sequence[bytes], more: bool = False
    ) -> bytes:
        """See `Codec`."""
        return b'{"type":"publications","channel":%b,"position":"%b","publications":[%b]%b}' % (
            _dumps(channel),
            str(position).encode(),
            b",".join(fragments),
            b',"more":true' if more else b"",
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
        return b'{"channel":%b,"position":"%b"%b%b,"publications":[%b]%b}' % (
            _dumps(channel),
            str(position).encode(),
            b',"recovered":false' if recovered is False else b"",
            b"" if snapshot is None else b',"snapshot":' + snapshot,
            b",".join(fragments),
            b',"more":true' if more else b"",
        )

    def join_poll(self, messages: Sequence[bytes], interval: float | None = None) -> bytes:
        """See `Codec`."""
        pause = b"" if interval is None else b',"interval":' + _dumps(interval)
        return b'{"messages":[%b]%b}' % (b",".join(messages), pause)

    def join_commands(self, commands: Sequence[bytes], wait: float | None = None) -> bytes:
        """See `Codec`."""
        head = b"" if wait is None else b'"wait":' + _dumps(wait) + b","
        return b'{%b"commands":[%b]}' % (head, b",".join(commands))

    def _value(self, value: object) -> bytes:
        if isinstance(value, Canonical):
            return value.json
        if isinstance(value, tuple):
            return b"[" + b",".join(map(self.publication, value)) + b"]"
        return _dumps(value)


JSON: Codec = JsonCodec()
"""The codec that every client and server has."""

_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _dumps(value: object) -> bytes:
    # "replace": a lone surrogate in, say, the text of an exception must not turn its report into another
    # exception.
    if type(value) is str:  # as the encoder would, without the time it takes to make one
        return encode_basestring(value).encode("utf-8", "replace")
    if type(value) is int:
        return b"%d" % value
    if type(value) is bool:
        return b"true" if value else b"false"
    if type(value) is float and math.isfinite(value):
        return repr(value).encode()
    if type(value) is list:
        return b"[%b]" % b",".join(map(_dumps, value))
    if value is None:
        return b"null"
    return _encode_json(value).encode("utf-8", "replace")


def _hello(message: HelloReply) -> bytes:
    """As `encode_map` writes it, with the part that is the same for all written once: each poll has one."""
    return b'{"type":"hello","id":%d,"version":%d,"client_id":%b,"resumed":%b%b,"expires_in":%b%b' % (
        message.id,
        message.version,
        _dumps(message.client_id),
        b"true" if message.resumed else b"false",
        b"" if message.token is None else b',"token":' + _dumps(message.token),
        _dumps(message.expires_in),
        _terms(message.transport, message.offers, message.ping, message.wait, message.interval),
    )


def _result(message: Result) -> bytes:
    """As `encode_map` writes it; clients that publish wait for one after the other."""
    positions = [b"%b:%b" % (_dumps(channel), _dumps(at)) for channel, at in message.positions.items()]
    return b'{"type":"result","id":%d,"call_id":%b,"data":%b,"positions":{%b}}' % (
        message.id,
        _dumps(message.call_id),
        message.data,
        b",".join(positions),
    )


@lru_cache(maxsize=100)
def _terms(transport: str, offers: tuple[str, ...], ping: float, wait: float, interval: float) -> bytes:
    fields = {
        "transport": transport,
        "offers": list(offers),
        "ping": ping,
        "wait": wait,
        "interval": interval,
    }
    return b"".join([b"," + _key(key) + _dumps(value) for key, value in fields.items()]) + b"}"


@lru_cache(maxsize=100)  # there are not many: they are the fields of messages
def _key(key: str) -> bytes:
    return _dumps(key) + b":"


@cache
def msgpack_codec() -> Codec | None:
    """The MessagePack codec; None when the package `msgpack` is not installed."""
    try:
        from rtbridge.protocol.packed import MSGPACK
    except ImportError:
        return None
    return MSGPACK


def codec_named(name: str) -> Codec | None:
    """The codec `json` or `msgpack`; None for any other name, or where it is not installed."""
    if name == "json":
        return JSON
    return msgpack_codec() if name == "msgpack" else None


def codec_for_content_type(content_type: str | None) -> Codec | None:
    """The codec of a Content-Type header, whatever its parameters; None where there is none for it.

    >>> codec_for_content_type("application/json; charset=utf-8").name
    'json'
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        return JSON
    return msgpack_codec() if media_type == "application/msgpack" else None
