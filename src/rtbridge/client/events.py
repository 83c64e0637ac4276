"""What the core finds in the server's messages, for those around it to act on. Frozen values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from rtbridge.client.errors import CallError
from rtbridge.protocol.codes import ErrorCode, NextStep, disconnect_reason, next_step, remedy
from rtbridge.protocol.messages import DisconnectPush, ErrorReply, HelloReply
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication

# A refusal that any other transport would meet as well.
_HOPELESS = frozenset({ErrorCode.UNSUPPORTED_VERSION, ErrorCode.FORBIDDEN_ORIGIN})


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ended, and what follows from it.

    Attributes:
        step: as `rtbridge.protocol.codes.next_step` has it.
        message: for people.
        code: the disconnect code or error code, where there was one.
        retry_after: seconds to stay away, where the server said so.
        reached: False where not even a TCP connection came about, which says nothing about the transport.
    """

    step: NextStep
    message: str
    code: int | None = None
    retry_after: float | None = None
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Greeted:
    """A hello was answered: the connection works."""

    terms: HelloReply


@dataclass(frozen=True, slots=True)
class Pinged:
    """The server wants a sign of life."""


@dataclass(frozen=True, slots=True)
class Over:
    """The connection is to be given up."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class Later:
    """There will be something to say in `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A channel is followed from `position`."""

    channel: str
    position: Position


@dataclass(frozen=True, slots=True)
class Delivered:
    """New publications of a channel, in order, each of them once."""

    channel: str
    epoch: str
    publications: tuple[Publication, ...]


@dataclass(frozen=True, slots=True)
class GapFound:
    """Something before `position` is lost to us."""

    channel: str
    position: Position


@dataclass(frozen=True, slots=True)
class SnapshotFound:
    """The state of a channel as of `position`, canonical JSON; with `gap` in place of what is lost to us."""

    channel: str
    position: Position
    data: bytes
    gap: bool


@dataclass(frozen=True, slots=True)
class FeedOver:
    """The server will not let us follow a channel; `code` is an error code."""

    channel: str
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class CallOver:
    """A call has its answer: canonical JSON, or an error."""

    call_id: str
    answer: bytes | CallError


Event: TypeAlias = (
    Greeted | Pinged | Over | Later | Confirmed | Delivered | GapFound | SnapshotFound | FeedOver | CallOver
)


def ending_of_close(code: int | None, message: str, retry_after: float | None = None) -> Ending:
    """What follows from a close frame or a `disconnect` push."""
    if code is None:
        return Ending("resume", message or "the server closed the connection", None, retry_after)
    text = f"{code} {disconnect_reason(code)}" + (f": {message}" if message else "")
    return Ending(next_step(code), text, code, retry_after)


def ending_of_push(push: DisconnectPush) -> Ending:
    """What follows from a `disconnect` push."""
    return ending_of_close(push.code, push.message, push.retry_after)


def ending_of_error(error: ErrorReply) -> Ending:
    """What follows from a refused hello, or from an HTTP request that failed as a whole."""
    step: NextStep = "resume"
    if error.code in _HOPELESS:
        step = "stop"
    elif error.code == ErrorCode.TRANSPORT_UNAVAILABLE or remedy(error.code) == "mend":
        step = "lower"
    return Ending(step, f"{error.code} {error.reason}: {error.message}", error.code, error.retry_after)
