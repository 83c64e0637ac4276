"""The maps that carry messages over plain HTTP: polls, their answers, one channel by GET, errors.

They are written by `Codec.join_commands`, `join_poll`, `channel_answer` and `encode_map(error_body(…))`; here
they are read.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtbridge.protocol import fields as _fields
from rtbridge.protocol.codes import error_reason
from rtbridge.protocol.fields import Fields
from rtbridge.protocol.messages import (
    ErrorReply,
    ServerMessage,
    parse_data,
    parse_error_fields,
    parse_publications,
    parse_server_message,
)
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication


@dataclass(frozen=True, slots=True)
class PollRequest:
    """The body of a poll.

    Attributes:
        wait: seconds the answer may be held, 0 for a short poll; not yet cut to the server's own limit.
        commands: decoded, for `parse_command` one by one: a bad one has an error reply of its own.
    """

    wait: float
    commands: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class PollAnswer:
    """The answer to a poll.

    Attributes:
        messages: without those of types this code does not know.
        interval: seconds to pause, where the server could not park the poll.
    """

    messages: tuple[ServerMessage, ...]
    interval: float | None = None


@dataclass(frozen=True, slots=True)
class ChannelAnswer:
    """The answer to a GET of one channel; `recovered` is False for a gap, else None.

    `snapshot` is the channel's state as of `position`, canonical JSON; then there are no publications.
    """

    channel: str
    position: Position
    publications: tuple[Publication, ...]
    recovered: bool | None = None
    more: bool = False
    snapshot: bytes | None = None


def parse_poll_request(obj: object) -> PollRequest:
    """Read the decoded body of a poll; ProtocolError BAD_MESSAGE when it is none."""
    fields = Fields(obj)
    wait = fields.optional("wait", _fields.number)
    if wait is not None and wait < 0:
        raise fields.error("wait: negative")
    return PollRequest(wait or 0, tuple(fields.required("commands", _fields.array)))


def parse_poll_answer(obj: object) -> PollAnswer:
    """Read the decoded answer to a poll; ProtocolError when it is none."""
    fields = Fields(obj)
    messages = [parse_server_message(item) for item in fields.required("messages", _fields.array)]
    return PollAnswer(
        tuple(message for message in messages if message is not None),
        fields.optional("interval", _fields.number),
    )


def parse_channel_answer(obj: object) -> ChannelAnswer:
    """Read the decoded answer to a GET of one channel; ProtocolError when it is none."""
    fields = Fields(obj)
    return ChannelAnswer(
        fields.required("channel", _fields.channel),
        fields.required("position", _fields.position),
        fields.required("publications", parse_publications),
        fields.optional("recovered", _fields.boolean),
        fields.optional("more", _fields.boolean) or False,
        fields.optional("snapshot", parse_data),
    )


def error_body(code: int, message: str, retry_after: float | None = None) -> dict[str, object]:
    """The body of an HTTP request that failed as a whole, for `Codec.encode_map`; `retry_after` is seconds."""
    error: dict[str, object] = {"code": int(code), "reason": error_reason(code), "message": message}
    if retry_after is not None:
        error["retry_after"] = retry_after
    return {"error": error}


def parse_error_body(obj: object) -> ErrorReply:
    """Read the decoded body of an HTTP error as an ErrorReply without id; ProtocolError when it is none."""
    error = Fields(Fields(obj).required("error", _fields.mapping))
    return ErrorReply(
        None,
        error.required("code", _fields.integer),
        error.required("message", _fields.text),
        error.optional("fields", parse_error_fields) or (),
        error.optional("retry_after", _fields.number),
    )
