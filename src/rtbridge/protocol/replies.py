"""Server messages: replies (answers to a command, by its id) and pushes. Import them from `messages`.

`to_wire()` gives a message as a map in which canonical data is marked as `Canonical` and publications stay
`Publication`s: the codecs splice those instead of encoding them once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from rtbridge.protocol import data as _data
from rtbridge.protocol.codes import disconnect_reason, error_reason
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication


class Canonical(NamedTuple):
    """Marks canonical JSON in the values of `to_wire()`."""

    json: bytes


@dataclass(frozen=True, slots=True)
class HelloReply:
    """Answers `hello`; `docs/reference/protocol.md` says what each field means. Times are seconds.

    Attributes:
        token: None where the one that was sent still says everything.
    """

    id: int
    version: int
    client_id: str
    resumed: bool
    token: str | None
    expires_in: float
    transport: str
    offers: tuple[str, ...]
    ping: float
    wait: float
    interval: float

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        return {
            "type": "hello",
            "id": self.id,
            "version": self.version,
            "client_id": self.client_id,
            "resumed": self.resumed,
            **({} if self.token is None else {"token": self.token}),
            "expires_in": self.expires_in,
            "transport": self.transport,
            "offers": list(self.offers),
            "ping": self.ping,
            "wait": self.wait,
            "interval": self.interval,
        }


@dataclass(frozen=True, slots=True)
class FollowLimit:
    """Why a channel is not pushed here, and how to follow it instead.

    Attributes:
        transport: `shortpoll`, `longpoll` or `eventstream`.
        every: seconds between short polls.
        public: whether the answers are the same for everybody, and so perhaps cached.
    """

    transport: str
    every: float
    public: bool

    def to_wire(self) -> dict[str, object]:
        """The limit as a map."""
        return {"transport": self.transport, "every": self.every, "public": self.public}


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Answers `subscribe`.

    Attributes:
        keep: `history`, `latest`, `volatile` or `private`.
        position: after the last publication here.
        recovered: None where no position was sent; False for a gap.
        more: cut for size.
        limit: where nothing will be pushed for this channel.
        snapshot: a `SnapshotPush` follows, and until then the client's cursor stays where it is. With a limit:
            it is to be had by GET.
        fetch_after: with a gap, seconds to wait before fetching state anew.
    """

    id: int
    channel: str
    keep: str
    position: Position
    recovered: bool | None = None
    publications: tuple[Publication, ...] = ()
    more: bool = False
    limit: FollowLimit | None = None
    snapshot: bool = False
    fetch_after: float | None = None

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        wire: dict[str, object] = {
            "type": "subscribed",
            "id": self.id,
            "channel": self.channel,
            "keep": self.keep,
            "position": str(self.position),
        }
        if self.recovered is not None:
            wire["recovered"] = self.recovered
        wire["publications"] = self.publications
        if self.more:
            wire["more"] = True
        if self.limit is not None:
            wire["limit"] = self.limit.to_wire()
        if self.snapshot:
            wire["snapshot"] = True
        if self.fetch_after is not None:
            wire["fetch_after"] = self.fetch_after
        return wire


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """Answers `unsubscribe`."""

    id: int
    channel: str

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        return {"type": "unsubscribed", "id": self.id, "channel": self.channel}


@dataclass(frozen=True, slots=True)
class Result:
    """Answers `call`.

    Attributes:
        data: what the call returned, canonical JSON.
        positions: per channel the last position that the call published.
    """

    id: int
    call_id: str
    data: bytes
    positions: dict[str, str]

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        return {
            "type": "result",
            "id": self.id,
            "call_id": self.call_id,
            "data": Canonical(self.data),
            "positions": self.positions,
        }


@dataclass(frozen=True, slots=True)
class Done:
    """Answers `presence` and `answer`."""

    id: int

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        return {"type": "done", "id": self.id}


@dataclass(frozen=True, slots=True)
class PongReply:
    """Answers `ping`."""

    id: int

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        return {"type": "pong", "id": self.id}


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """Answers any command that failed.

    Attributes:
        id: None where the command had none or none could be read.
        code: an `ErrorCode`, or the number of one that this code does not know.
        fields: pairs of field path and reason, for INVALID.
        retry_after: seconds.
        data: the application's own, canonical JSON, for REFUSED.
    """

    id: int | None
    code: int
    message: str
    fields: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None
    data: bytes | None = None

    @property
    def reason(self) -> str:
        """The code in words."""
        return error_reason(self.code)

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        wire: dict[str, object] = {"type": "error"}
        if self.id is not None:
            wire["id"] = self.id
        wire |= {"code": int(self.code), "reason": self.reason, "message": self.message}
        if self.fields:
            wire["fields"] = [{"field": field, "reason": reason} for field, reason in self.fields]
        if self.retry_after is not None:
            wire["retry_after"] = self.retry_after
        if self.data is not None:
            wire["data"] = Canonical(self.data)
        return wire


@dataclass(frozen=True, slots=True)
class Publications:
    """Pushes publications, in order; `position` is after the last; `more`: cut for size, poll again.

    In `~me` there may be none: then the cursor only moves on.
    """

    channel: str
    position: Position
    publications: tuple[Publication, ...]
    more: bool = False

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        wire: dict[str, object] = {
            "type": "publications",
            "channel": self.channel,
            "position": str(self.position),
            "publications": self.publications,
        }
        if self.more:
            wire["more"] = True
        return wire


@dataclass(frozen=True, slots=True)
class GapPush:
    """Between the client's cursor and `position` something was lost to this client.

    Attributes:
        fetch_after: seconds to wait before fetching state anew, where everybody has to do that now.
    """

    channel: str
    position: Position
    fetch_after: float | None = None

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        wire: dict[str, object] = {"type": "gap", "channel": self.channel, "position": str(self.position)}
        if self.fetch_after is not None:
            wire["fetch_after"] = self.fetch_after
        return wire


@dataclass(frozen=True, slots=True)
class SnapshotPush:
    """The state of a channel, with everything up to `position` in it, and perhaps some of what comes next.

    Attributes:
        data: the state, canonical JSON.
        recovered: False where it stands in for what was lost to this client; else None.
    """

    channel: str
    position: Position
    data: bytes
    recovered: bool | None = None

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        wire: dict[str, object] = {
            "type": "snapshot",
            "channel": self.channel,
            "position": str(self.position),
        }
        if self.recovered is not None:
            wire["recovered"] = self.recovered
        wire["data"] = Canonical(self.data)
        return wire

    def value(self) -> object:
        """The data as a Python value, tagged bytes as `bytes`."""
        return _data.decode(self.data)


@dataclass(frozen=True, slots=True)
class UnsubscribedPush:
    """The server ended the subscription; `code` is an `ErrorCode`, `retry_after` is seconds."""

    channel: str
    code: int
    message: str
    retry_after: float | None = None

    @property
    def reason(self) -> str:
        """The code in words."""
        return error_reason(self.code)

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        wire: dict[str, object] = {
            "type": "unsubscribed",
            "channel": self.channel,
            "code": int(self.code),
            "reason": self.reason,
            "message": self.message,
        }
        if self.retry_after is not None:
            wire["retry_after"] = self.retry_after
        return wire


@dataclass(frozen=True, slots=True)
class TokenPush:
    """Replaces the client's token; `expires_in` is seconds."""

    token: str
    expires_in: float

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        return {"type": "token", "token": self.token, "expires_in": self.expires_in}


@dataclass(frozen=True, slots=True)
class PingPush:
    """Asks for a sign of life."""

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        return {"type": "ping"}


@dataclass(frozen=True, slots=True)
class DisconnectPush:
    """Ends a poll or stream; `code` is a `DisconnectCode`, `retry_after` is seconds."""

    code: int
    message: str
    retry_after: float | None = None

    @property
    def reason(self) -> str:
        """The code in words."""
        return disconnect_reason(self.code)

    def to_wire(self) -> dict[str, object]:
        """The message as a map."""
        wire: dict[str, object] = {
            "type": "disconnect",
            "code": int(self.code),
            "reason": self.reason,
            "message": self.message,
        }
        if self.retry_after is not None:
            wire["retry_after"] = self.retry_after
        return wire


Reply: TypeAlias = HelloReply | Subscribed | Unsubscribed | Result | Done | PongReply | ErrorReply
Push: TypeAlias = (
    Publications | GapPush | SnapshotPush | UnsubscribedPush | TokenPush | PingPush | DisconnectPush
)
ServerMessage: TypeAlias = Reply | Push
