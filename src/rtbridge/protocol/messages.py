"""All messages of the protocol, and how a client reads the server's.

A message is a frozen value. Those of clients are in `commands`, those of servers in `replies`; this module is
the one to import from, and holds `parse_server_message`, the counterpart of `parse_command`.
"""

from __future__ import annotations

from types import MappingProxyType

from rtbridge.errors import DataError
from rtbridge.protocol import data as _data
from rtbridge.protocol import fields as _fields
from rtbridge.protocol.commands import (
    VERSION,
    Answer,
    Bye,
    Call,
    Command,
    Hello,
    Ping,
    Pong,
    SetPresence,
    Subscribe,
    Unsubscribe,
    parse_command,
)
from rtbridge.protocol.fields import Fields
from rtbridge.protocol.publications import Publication
from rtbridge.protocol.replies import (
    Canonical,
    DisconnectPush,
    Done,
    ErrorReply,
    FollowLimit,
    GapPush,
    HelloReply,
    PingPush,
    PongReply,
    Publications,
    Push,
    Reply,
    Result,
    ServerMessage,
    SnapshotPush,
    Subscribed,
    TokenPush,
    Unsubscribed,
    UnsubscribedPush,
)

__all__ = [
    "VERSION",
    "Answer",
    "Bye",
    "Call",
    "Canonical",
    "Command",
    "DisconnectPush",
    "Done",
    "ErrorReply",
    "FollowLimit",
    "GapPush",
    "Hello",
    "HelloReply",
    "Ping",
    "PingPush",
    "Pong",
    "PongReply",
    "Publications",
    "Push",
    "Reply",
    "Result",
    "ServerMessage",
    "SetPresence",
    "SnapshotPush",
    "Subscribe",
    "Subscribed",
    "TokenPush",
    "Unsubscribe",
    "Unsubscribed",
    "UnsubscribedPush",
    "parse_command",
    "parse_data",
    "parse_error_fields",
    "parse_publications",
    "parse_server_message",
]


def parse_server_message(obj: object) -> ServerMessage | None:
    """Read one decoded message of a server.

    Returns:
        The message; None for a type this code does not know, which a client must ignore.

    Raises:
        ProtocolError: when it has not the form of its type.
    """
    fields = Fields(obj)
    parser = _PARSERS.get(fields.required("type", _fields.text))
    return None if parser is None else parser(fields)


def parse_publications(value: object) -> tuple[Publication, ...]:
    """An array of publications, their data canonical again; ValueError or ProtocolError when malformed."""
    return tuple(_publication(Fields(item)) for item in _fields.array(value))


def parse_error_fields(value: object) -> tuple[tuple[str, str], ...]:
    """The `fields` of an error: pairs of field path and reason."""
    items = (Fields(item) for item in _fields.array(value))
    return tuple(
        (item.required("field", _fields.text), item.required("reason", _fields.text)) for item in items
    )


def _publication(fields: Fields) -> Publication:
    return Publication(
        fields.required("offset", _fields.command_id),
        fields.required("data", parse_data),
        fields.optional("cause", _fields.text),
    )


def parse_data(value: object) -> bytes:
    """Decoded data, canonical again; ValueError when it cannot be."""
    try:
        return _data.encode_wire(value, None, _data.MAX_DEPTH)
    except DataError as error:
        raise ValueError(str(error)) from None


def _hello(fields: Fields) -> ServerMessage:
    return HelloReply(
        id=fields.required("id", _fields.command_id),
        version=fields.required("version", _fields.integer),
        client_id=fields.required("client_id", _fields.text),
        resumed=fields.required("resumed", _fields.boolean),
        token=fields.optional("token", _fields.text),
        expires_in=fields.required("expires_in", _fields.number),
        transport=fields.required("transport", _fields.text),
        offers=fields.required("offers", _fields.texts),
        ping=fields.required("ping", _fields.number),
        wait=fields.required("wait", _fields.number),
        interval=fields.required("interval", _fields.number),
    )


def _subscribed(fields: Fields) -> ServerMessage:
    return Subscribed(
        id=fields.required("id", _fields.command_id),
        channel=fields.required("channel", _fields.channel),
        keep=fields.required("keep", _fields.text),
        position=fields.required("position", _fields.position),
        recovered=fields.optional("recovered", _fields.boolean),
        publications=fields.required("publications", parse_publications),
        more=fields.optional("more", _fields.boolean) or False,
        limit=fields.optional("limit", _limit),
        snapshot=fields.optional("snapshot", _fields.boolean) or False,
        fetch_after=fields.optional("fetch_after", _fields.number),
    )


def _limit(value: object) -> FollowLimit:
    fields = Fields(_fields.mapping(value))
    return FollowLimit(
        fields.required("transport", _fields.text),
        fields.required("every", _fields.number),
        fields.required("public", _fields.boolean),
    )


def _unsubscribed(fields: Fields) -> ServerMessage:
    channel = fields.required("channel", _fields.channel)
    if "id" in fields:
        return Unsubscribed(fields.required("id", _fields.command_id), channel)
    return UnsubscribedPush(
        channel,
        fields.required("code", _fields.integer),
        fields.required("message", _fields.text),
        fields.optional("retry_after", _fields.number),
    )


def _result(fields: Fields) -> ServerMessage:
    return Result(
        id=fields.required("id", _fields.command_id),
        call_id=fields.required("call_id", _fields.text),
        data=fields.required("data", parse_data),
        positions=fields.required("positions", _positions),
    )


def _positions(value: object) -> dict[str, str]:
    return {
        _fields.channel(name): str(_fields.position(item)) for name, item in _fields.mapping(value).items()
    }


def _done(fields: Fields) -> ServerMessage:
    return Done(fields.required("id", _fields.command_id))


def _pong(fields: Fields) -> ServerMessage:
    return PongReply(fields.required("id", _fields.command_id))


def _error(fields: Fields) -> ServerMessage:
    return ErrorReply(
        id=fields.optional("id", _fields.command_id),
        code=fields.required("code", _fields.integer),
        message=fields.required("message", _fields.text),
        fields=fields.optional("fields", parse_error_fields) or (),
        retry_after=fields.optional("retry_after", _fields.number),
        data=fields.optional("data", parse_data),
    )


def _publications(fields: Fields) -> ServerMessage:
    return Publications(
        channel=fields.required("channel", _fields.channel),
        position=fields.required("position", _fields.position),
        publications=fields.required("publications", parse_publications),
        more=fields.optional("more", _fields.boolean) or False,
    )


def _gap(fields: Fields) -> ServerMessage:
    return GapPush(
        fields.required("channel", _fields.channel),
        fields.required("position", _fields.position),
        fields.optional("fetch_after", _fields.number),
    )


def _snapshot(fields: Fields) -> ServerMessage:
    return SnapshotPush(
        fields.required("channel", _fields.channel),
        fields.required("position", _fields.position),
        fields.required("data", parse_data),
        fields.optional("recovered", _fields.boolean),
    )


def _token(fields: Fields) -> ServerMessage:
    return TokenPush(fields.required("token", _fields.text), fields.required("expires_in", _fields.number))


def _ping(fields: Fields) -> ServerMessage:
    return PingPush()


def _disconnect(fields: Fields) -> ServerMessage:
    return DisconnectPush(
        fields.required("code", _fields.integer),
        fields.required("message", _fields.text),
        fields.optional("retry_after", _fields.number),
    )


_PARSERS = MappingProxyType(
    {
        "hello": _hello,
        "subscribed": _subscribed,
        "unsubscribed": _unsubscribed,
        "result": _result,
        "done": _done,
        "pong": _pong,
        "error": _error,
        "publications": _publications,
        "gap": _gap,
        "snapshot": _snapshot,
        "token": _token,
        "ping": _ping,
        "disconnect": _disconnect,
    }
)
