"""Commands: what a client says. Import them from `messages`."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from rtbridge.errors import ProtocolError
from rtbridge.protocol import data as _data
from rtbridge.protocol import fields as _fields
from rtbridge.protocol.channels import check_channel
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.fields import RANDOM_ID, Fields
from rtbridge.protocol.positions import MAX_OFFSET, Position

VERSION = 1
"""The version of the protocol that this code speaks."""
_HELLO = ("id", "version", "instance", "token")
_SUBSCRIBE = ("id", "channel", "position", "snapshot")
_CALL = ("id", "call_id", "name", "params")


@dataclass(frozen=True, slots=True)
class Hello:
    """Opens every connection and every poll.

    Attributes:
        id: the command's id, as for all commands below: an integer from 1, None where it is optional and left
            out.
        version: of the protocol.
        instance: random id of the page load or process, the same on every transport.
        token: the newest token the client was given.
        client: name and version of the client, for logs.
    """

    id: int
    version: int
    instance: str
    token: str | None = None
    client: str | None = None

    def to_wire(self) -> dict[str, object]:
        """The command as a map of plain values."""
        return _present(
            type="hello",
            id=self.id,
            version=self.version,
            instance=self.instance,
            token=self.token,
            client=self.client,
        )


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Asks for what comes after `position` (None: from now on), after the `recent` newest publications.

    With `snapshot`, who has no position, or one that is behind a gap, is given the channel's state first, where
    the channel has such.
    """

    id: int | None
    channel: str
    position: Position | None = None
    recent: int | None = None
    presence: dict[str, object] | None = None
    """What this tab tells of itself to who follows the channel's presence; None: nothing but that it is there."""
    snapshot: bool = False

    def to_wire(self) -> dict[str, object]:
        """The command as a map of plain values."""
        return _present(
            type="subscribe",
            id=self.id,
            channel=self.channel,
            position=None if self.position is None else str(self.position),
            recent=self.recent,
            presence=self.presence,
            snapshot=self.snapshot or None,
        )


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Ends a subscription."""

    id: int | None
    channel: str

    def to_wire(self) -> dict[str, object]:
        """The command as a map of plain values."""
        return _present(type="unsubscribe", id=self.id, channel=self.channel)


@dataclass(frozen=True, slots=True)
class Call:
    """Asks the application to do something.

    Attributes:
        call_id: the same for every retry of the same call: that is what makes it run at most once.
        name: of the declared call.
        params: its arguments, bytes as `bytes`.
    """

    id: int
    call_id: str
    name: str
    params: dict[str, object] = field(default_factory=dict)

    def to_wire(self) -> dict[str, object]:
        """The command as a map of plain values and bytes."""
        return _present(type="call", id=self.id, call_id=self.call_id, name=self.name, params=self.params)


@dataclass(frozen=True, slots=True)
class SetPresence:
    """Changes what this tab tells of itself in a channel that it is subscribed to here."""

    id: int | None
    channel: str
    data: dict[str, object]

    def to_wire(self) -> dict[str, object]:
        """The command as a map of plain values and bytes."""
        return _present(type="presence", id=self.id, channel=self.channel, data=self.data)


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers what the server asked of this client in `~me`.

    Attributes:
        ask_id: of the question.
        data: the answer, canonical JSON; None where it failed.
        code: an `ErrorCode` where it failed, else None.
        message: why it failed.
    """

    id: int | None
    ask_id: str
    data: bytes | None = None
    code: int | None = None
    message: str | None = None

    def to_wire(self) -> dict[str, object]:
        """The command as a map of plain values and bytes."""
        wire = _present(type="answer", id=self.id, ask_id=self.ask_id, code=self.code, message=self.message)
        if self.data is not None:
            wire["data"] = _data.decode(self.data)
        return wire


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a pong."""

    id: int

    def to_wire(self) -> dict[str, object]:
        """The command as a map of plain values."""
        return {"type": "ping", "id": self.id}


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a `ping` push."""

    def to_wire(self) -> dict[str, object]:
        """The command as a map of plain values."""
        return {"type": "pong"}


@dataclass(frozen=True, slots=True)
class Bye:
    """Ends the session for good."""

    def to_wire(self) -> dict[str, object]:
        """The command as a map of plain values."""
        return {"type": "bye"}


Command: TypeAlias = Hello | Subscribe | Unsubscribe | Call | SetPresence | Answer | Ping | Pong | Bye


def parse_command(obj: object) -> Command:
    """Read one decoded command.

    Raises:
        ProtocolError: with the code of the page and, where one could be read, the `command_id`.
    """
    if isinstance(obj, dict):
        kind = obj.get("type")
        usual = _USUAL.get(kind) if type(kind) is str else None
        command = None if usual is None else usual(obj)
        if command is not None:
            return command
    return _parse(obj)


def _usual_hello(obj: dict[str, object]) -> Hello | None:
    """A hello as every client writes it; None for any other, which `_parse` then takes apart field by field.

    Each poll has one, and those who come back after an outage bring thousands at once.
    """
    command_id, version, instance, token = map(obj.get, _HELLO)
    if not (
        type(command_id) is int
        and 1 <= command_id <= MAX_OFFSET
        and type(version) is int
        and version == VERSION
        and type(instance) is str
        and RANDOM_ID.fullmatch(instance) is not None
        and (type(token) is str or (token is None and "token" not in obj))
    ):
        return None
    client = obj.get("client")
    if client is None:
        return None if "client" in obj else Hello(command_id, version, instance, token)
    if type(client) is not str or len(client) > 64:
        return None
    return Hello(command_id, version, instance, token, client)


def _usual_subscribe(obj: dict[str, object]) -> Subscribe | None:
    """A subscribe as most are; see `_usual_hello`."""
    if "recent" in obj or "presence" in obj:
        return None
    command_id, channel, position, snapshot = map(obj.get, _SUBSCRIBE)
    if not (
        type(channel) is str
        and (
            (type(command_id) is int and 1 <= command_id <= MAX_OFFSET)
            or (command_id is None and "id" not in obj)
        )
        and (type(position) is str or (position is None and "position" not in obj))
        and (snapshot is True or snapshot is False or (snapshot is None and "snapshot" not in obj))
    ):
        return None
    try:
        return Subscribe(
            command_id,
            check_channel(channel),
            None if position is None else Position.parse(position),
            None,
            None,
            snapshot is True,
        )
    except ProtocolError:
        return None


def _usual_call(obj: dict[str, object]) -> Call | None:
    """A call as most are; see `_usual_hello`."""
    command_id, call_id, name, params = map(obj.get, _CALL)
    if not (
        type(command_id) is int
        and 1 <= command_id <= MAX_OFFSET
        and type(call_id) is str
        and RANDOM_ID.fullmatch(call_id) is not None
        and type(name) is str
        and 1 <= len(name) <= 200
        and name.isascii()
        and type(params) is dict
    ):
        return None
    return Call(command_id, call_id, name, params)


def _parse(obj: object) -> Command:
    fields = Fields(obj)
    fields.command_id = fields.optional("id", _fields.command_id)
    kind = fields.required("type", _fields.text)
    parser = _PARSERS.get(kind)
    if parser is None:
        raise fields.error("unknown command", ErrorCode.UNKNOWN_COMMAND)
    return parser(fields)


def _hello(fields: Fields) -> Command:
    command_id = fields.required("id", _fields.command_id)
    version = fields.required("version", _fields.integer)
    # Before anything else: another version may well have other fields.
    if version != VERSION:
        raise fields.error(f"this server speaks version {VERSION}", ErrorCode.UNSUPPORTED_VERSION)
    return Hello(
        command_id,
        version,
        fields.required("instance", _fields.random_id),
        fields.optional("token", _fields.text),
        fields.optional("client", _fields.short_text),
    )


def _subscribe(fields: Fields) -> Command:
    if "position" in fields and "recent" in fields:
        raise fields.error("recent goes without position only")
    return Subscribe(
        fields.command_id,
        fields.required("channel", _fields.channel),
        fields.optional("position", _fields.position),
        fields.optional("recent", _fields.count),
        fields.optional("presence", _fields.mapping),
        fields.optional("snapshot", _fields.boolean) or False,
    )


def _unsubscribe(fields: Fields) -> Command:
    return Unsubscribe(fields.command_id, fields.required("channel", _fields.channel))


def _call(fields: Fields) -> Command:
    params = fields.optional("params", _fields.mapping)
    return Call(
        fields.required("id", _fields.command_id),
        fields.required("call_id", _fields.random_id),
        fields.required("name", _fields.name),
        {} if params is None else params,
    )


def _set_presence(fields: Fields) -> Command:
    return SetPresence(
        fields.command_id,
        fields.required("channel", _fields.channel),
        fields.required("data", _fields.mapping),
    )


def _answer(fields: Fields) -> Command:
    ask_id = fields.required("ask_id", _fields.random_id)
    if "data" in fields:
        return Answer(fields.command_id, ask_id, fields.required("data", _fields.canonical))
    return Answer(
        fields.command_id,
        ask_id,
        code=fields.required("code", _fields.count),
        message=fields.required("message", _fields.text),
    )


def _ping(fields: Fields) -> Command:
    return Ping(fields.required("id", _fields.command_id))


def _pong(fields: Fields) -> Command:
    return Pong()


def _bye(fields: Fields) -> Command:
    return Bye()


def _present(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


_PARSERS = MappingProxyType(
    {
        "hello": _hello,
        "subscribe": _subscribe,
        "unsubscribe": _unsubscribe,
        "call": _call,
        "presence": _set_presence,
        "answer": _answer,
        "ping": _ping,
        "pong": _pong,
        "bye": _bye,
    }
)
_USUAL = MappingProxyType({"hello": _usual_hello, "subscribe": _usual_subscribe, "call": _usual_call})
