"""The life of a connection (or of one poll) as a table: what may follow what.

Every command and every ending is an event. What the table does not hold for a command is the client's
mistake; endings are in it for every state, because a connection may break at any moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.messages import Bye, Command, Hello


class State(Enum):
    """Where a connection is."""

    OPENING = "opening"
    """Nothing was said; only `hello` may be."""
    OPEN = "open"
    """Commands are carried out."""
    ENDING = "ending"
    """What is owed still goes out; nothing more is taken in."""
    ENDED = "ended"
    """Over."""

    __hash__ = object.__hash__  # an Enum's own is not in C, and each command looks into the table


class Event(Enum):
    """What happens to it."""

    HELLO = "hello"
    COMMAND = "command"
    """Any command but `hello` and `bye`."""
    BYE = "bye"
    CLOSE = "close"
    """The connection is gone, by whichever side."""
    FAILED = "failed"
    """This side gives up: the reason still has to be told."""

    __hash__ = object.__hash__


TABLE: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.OPENING, Event.HELLO): State.OPEN,
        (State.OPENING, Event.CLOSE): State.ENDED,
        (State.OPENING, Event.FAILED): State.ENDING,
        (State.OPEN, Event.COMMAND): State.OPEN,
        (State.OPEN, Event.BYE): State.ENDING,
        (State.OPEN, Event.CLOSE): State.ENDED,
        (State.OPEN, Event.FAILED): State.ENDING,
        (State.ENDING, Event.CLOSE): State.ENDED,
        (State.ENDING, Event.FAILED): State.ENDING,
        (State.ENDED, Event.CLOSE): State.ENDED,
        (State.ENDED, Event.FAILED): State.ENDED,
    }
)
"""The state after an event. A pair that is not here is a command out of turn."""


def event_of(command: Command) -> Event:
    """The event that a command is."""
    if isinstance(command, Hello):
        return Event.HELLO
    return Event.BYE if isinstance(command, Bye) else Event.COMMAND


def advance(state: State, event: Event) -> State:
    """The state after `event`.

    Raises:
        ProtocolError: HELLO_EXPECTED for a command out of turn; the state stays what it was.
    """
    following = TABLE.get((state, event))
    if following is not None:
        return following
    if state is State.OPENING:
        why = "the first command must be hello"
    elif state is State.OPEN:
        why = "hello was said already"
    else:
        why = "this session has ended; begin another with hello on a new connection"
    raise ProtocolError(ErrorCode.HELLO_EXPECTED, why)
