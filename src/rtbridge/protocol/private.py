"""What travels in `~me`, the channel that every session may follow and that holds only what is meant for it.

Its offsets count the publications of a mailbox that many share, so that most of them are somebody else's and never
come: a client must not mind holes. What comes is one of four letters, by its `type`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from rtbridge.protocol import data as _data
from rtbridge.protocol import fields as _fields
from rtbridge.protocol.fields import Fields
from rtbridge.protocol.positions import Position

PRIVATE = "~me"
"""The name of the private channel, the same for everybody."""
RESERVED = "~"
"""Names that begin with it are the library's own."""


@dataclass(frozen=True, slots=True)
class Note:
    """The application's own data for this client, or for its user (all their clients).

    Attributes:
        to: `client` or `user`.
        data: canonical JSON.
    """

    to: str
    data: bytes

    def to_value(self) -> dict[str, object]:
        """The letter as plain values."""
        return {"type": "data", "to": self.to, "data": _data.decode(self.data)}


@dataclass(frozen=True, slots=True)
class Invitation:
    """The server wants the client to subscribe to a channel, from `position` where that is given."""

    channel: str
    position: Position | None = None

    def to_value(self) -> dict[str, object]:
        """The letter as plain values."""
        value: dict[str, object] = {"type": "subscribe", "channel": self.channel}
        if self.position is not None:
            value["position"] = str(self.position)
        return value


@dataclass(frozen=True, slots=True)
class Dismissal:
    """The server wants the client to unsubscribe from a channel."""

    channel: str

    def to_value(self) -> dict[str, object]:
        """The letter as plain values."""
        return {"type": "unsubscribe", "channel": self.channel}


@dataclass(frozen=True, slots=True)
class Question:
    """The server asks; the client answers with an `answer` command.

    Attributes:
        ask_id: to answer to.
        params: by name, bytes as `bytes`.
        until: unix seconds after which nobody waits for the answer; the server does not deliver it later.
    """

    ask_id: str
    name: str
    until: float
    params: dict[str, object] = field(default_factory=dict)

    def to_value(self) -> dict[str, object]:
        """The letter as plain values."""
        return {
            "type": "call",
            "ask_id": self.ask_id,
            "name": self.name,
            "params": self.params,
            "until": self.until,
        }


Letter: TypeAlias = Note | Invitation | Dismissal | Question


def parse_letter(value: object) -> Letter | None:
    """Read the decoded data of a publication in `~me`.

    Returns:
        The letter; None for a type this code does not know, which a client must ignore.

    Raises:
        ProtocolError: when it has not the form of its type.
    """
    fields = Fields(value)
    parser = _PARSERS.get(fields.required("type", _fields.text))
    return None if parser is None else parser(fields)


def _note(fields: Fields) -> Letter:
    return Note(fields.required("to", _fields.text), fields.required("data", _fields.canonical))


def _invitation(fields: Fields) -> Letter:
    return Invitation(
        fields.required("channel", _fields.channel), fields.optional("position", _fields.position)
    )


def _dismissal(fields: Fields) -> Letter:
    return Dismissal(fields.required("channel", _fields.channel))


def _question(fields: Fields) -> Letter:
    params = fields.optional("params", _fields.mapping)
    return Question(
        fields.required("ask_id", _fields.random_id),
        fields.required("name", _fields.name),
        fields.required("until", _fields.number),
        {} if params is None else params,
    )


_PARSERS = MappingProxyType(
    {"data": _note, "subscribe": _invitation, "unsubscribe": _dismissal, "call": _question}
)
