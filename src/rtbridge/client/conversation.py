"""What the core keeps notes of: channels, calls, and what each connection was told of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from rtbridge.client.errors import CallError
from rtbridge.protocol import messages as m
from rtbridge.protocol.merge import Cursor
from rtbridge.protocol.positions import Position


class State(Enum):
    """How a channel stands on one connection."""

    ASKED = auto()
    ON = auto()
    """Pushed here."""
    APART = auto()
    """Not pushed here: to be followed by GET."""


@dataclass(slots=True, eq=False)
class Channel:
    """What we follow.

    Attributes:
        recent: how many of the newest to begin with, while there is no position.
        snapshot: whether to be given the state first, and in place of gaps.
        presence: what we tell of ourselves there.
        held: its reader is behind; nothing is taken for it until `Core.release`.
        limit: how it has to be followed apart, as the newest answer said.
        not_before: the server refused it for now.
    """

    name: str
    cursor: Cursor
    recent: int | None = None
    snapshot: bool = False
    presence: dict[str, object] | None = None
    held: bool = False
    limit: m.FollowLimit | None = None
    not_before: float = 0.0


@dataclass(slots=True)
class PendingCall:
    """A call without an answer. `sent_as` is the client id under which it left, `where` the connection it waits on."""

    call_id: str
    name: str
    params: dict[str, object]
    deadline: float
    sent_as: str | None = None
    where: Conversation | None = None
    not_before: float = 0.0
    last_error: CallError | None = None


@dataclass(slots=True)
class Standing:
    """How a channel stands on one connection, since the `subscribe` command with this id.

    Attributes:
        after: where this connection stands: what it asked to come after, and then what it was given up to. Another
            connection may have brought the channel's cursor further.
    """

    channel: Channel
    command_id: int
    state: State = State.ASKED
    told: dict[str, object] | None = None
    after: Position | None = None


@dataclass(slots=True, eq=False)
class Conversation:
    """What one link said.

    Attributes:
        greeted: its hello was answered.
        hello_as: the client id we had when it said its hello.
        standing: by channel; those that were never asked for here are not in it.
        cancelled: channels that the server still pushes here, and should not.
        asked: commands without a reply, by id.
    """

    greeted: bool = False
    hello_as: str | None = None
    standing: dict[str, Standing] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    asked: dict[int, m.Command] = field(default_factory=dict)
    last_id: int = 0

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def drop(self, channel: str) -> None:
        """Follow a channel here no more, or from anew."""
        standing = self.standing.pop(channel)
        if standing.state is not State.APART:
            self.cancelled.append(channel)

    def pushed(self, channel: Channel | None) -> bool:
        """Whether the server pushes a channel here, on behalf of what follows it now."""
        standing = self.standing.get(channel.name) if channel is not None else None
        return standing is not None and standing.channel is channel and standing.state is State.ON
