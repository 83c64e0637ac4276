"""A server in a few lines, for tests of the client's core: logs, sessions and calls as the protocol page has them.

It is a model, not rtbridge: what it does wrong, or at a bad moment, is up to the test. Messages go in and out as
values.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.polls import ChannelAnswer
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication

PAGE = 3
OFFERS = ("websocket", "eventstream", "longpoll", "shortpoll")


@dataclass
class Log:
    """A channel: its entries are the offsets after `last - len(entries)`."""

    name: str
    keep: str = "history"
    apart: bool = False
    snapshot: bool = False
    """Whether it has one: the text of the position it was taken at."""
    epochs: int = 1
    last: int = 0
    entries: list[Publication] = field(default_factory=list)

    @property
    def position(self) -> Position:
        return Position(f"{self.name}-{self.epochs}", self.last)

    @property
    def state(self) -> bytes:
        return f'"{self.position}"'.encode()

    def publish(self, cause: str | None = None) -> Position:
        self.last += 1
        data = f'"{self.position}"'.encode()
        entry = Publication(self.last, data, cause)
        self.entries = [entry] if self.keep == "latest" else [*self.entries, entry]
        return self.position

    def forget(self) -> None:
        self.epochs, self.last, self.entries = self.epochs + 1, 0, []

    def after(self, position: Position) -> tuple[tuple[Publication, ...], bool] | None:
        """What came after a position and whether there is more; None for a gap."""
        if self.keep != "history":
            fresh = self.entries if position != self.position else []
            return tuple(fresh), False
        if position.epoch != self.position.epoch or position.offset > self.last:
            return None
        fresh = [entry for entry in self.entries if entry.offset > position.offset]
        if len(fresh) != self.last - position.offset:
            return None
        return tuple(fresh[:PAGE]), len(fresh) > PAGE


@dataclass
class ModelServer:
    logs: dict[str, Log]
    known: set[str] = field(default_factory=set)
    """Client ids whose tokens are good."""
    sessions: int = 0
    replies: dict[tuple[str, str], int] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    """How often each call ran."""

    def forget_sessions(self) -> None:
        """From now on no token is good."""
        self.known.clear()

    def run(self, client_id: str, call: m.Call) -> m.Result:
        key = (client_id, call.call_id)
        if key not in self.replies:
            self.runs[call.call_id] += 1
            self.replies[key] = sum(self.runs.values())
        return m.Result(call.id, call.call_id, str(self.replies[key]).encode(), {})

    def get(self, name: str, after: Position | None) -> ChannelAnswer:
        """Answer to GET channels/NAME?after=…&snapshot=1"""
        log = self.logs[name]
        found = log.after(after) if after is not None else ((), False)
        if log.snapshot and (found is None or after is None):
            recovered = None if after is None else False
            return ChannelAnswer(name, log.position, (), recovered, snapshot=log.state)
        if found is None:
            return ChannelAnswer(name, log.position, (), False)
        publications, more = found
        position = log.position
        if publications:
            position = replace(position, offset=publications[-1].offset)
        return ChannelAnswer(name, position, publications, None, more)


class ModelSession:
    """One connection, or one poll, of a client."""

    def __init__(self, server: ModelServer, transport: str) -> None:
        self.server = server
        self.transport = transport
        self.client_id = ""
        self.followed: dict[str, Position] = {}
        self.wants_state: set[str] = set()
        self.making: dict[str, tuple[Position, bytes, bool]] = {}
        """Snapshots on their way: the pinned position, the state, whether there is a gap."""

    def handle(self, command: m.Command) -> list[m.ServerMessage]:
        match command:
            case m.Hello():
                return [self._hello(command)]
            case m.Subscribe():
                return self._subscribe(command)
            case m.Unsubscribe(command_id, channel):
                self.making.pop(channel, None)
                if self.followed.pop(channel, None) is None:
                    return [m.ErrorReply(command_id, ErrorCode.NOT_SUBSCRIBED, "")]
                return [m.Unsubscribed(command_id, channel)] if command_id else []
            case m.Call():
                return [self.server.run(self.client_id, command)]
            case _:
                return []

    def pushes(self) -> list[m.ServerMessage]:
        """What came after each position."""
        found: list[m.ServerMessage] = []
        for name, (position, state, gap) in self.making.items():
            self.followed[name] = position
            found.append(m.SnapshotPush(name, position, state, False if gap else None))
        self.making.clear()
        for name, position in self.followed.items():
            log = self.server.logs[name]
            if position == log.position:
                continue
            page = log.after(position)
            if page is None and log.snapshot and name in self.wants_state:
                self.making[name] = (log.position, log.state, True)
                continue
            if page is None:
                self.followed[name] = log.position
                found.append(m.GapPush(name, log.position))
                continue
            publications, more = page
            if publications:
                self.followed[name] = replace(log.position, offset=publications[-1].offset)
                found.append(m.Publications(name, self.followed[name], publications, more))
            else:
                self.followed[name] = log.position
        return found

    def _hello(self, command: m.Hello) -> m.HelloReply:
        server = self.server
        resumed = command.token in server.known
        if not resumed:
            server.sessions += 1
            server.known.add(f"client-{server.sessions}")
        self.client_id = (command.token or "") if resumed else f"client-{server.sessions}"
        return m.HelloReply(
            command.id, 1, self.client_id, resumed, self.client_id, 300, self.transport, OFFERS, 25, 25, 5
        )

    def _subscribe(self, command: m.Subscribe) -> list[m.ServerMessage]:
        name = command.channel
        log = self.server.logs.get(name)
        if log is None:
            code = ErrorCode.NO_SUCH_CHANNEL
            return [m.ErrorReply(command.id, code, "") if command.id else m.UnsubscribedPush(name, code, "")]
        if name in self.followed:
            return [m.ErrorReply(command.id, ErrorCode.ALREADY_SUBSCRIBED, "")]
        start = command.position or log.position
        wanted = command.snapshot and log.snapshot
        if wanted:
            self.wants_state.add(name)
        if wanted and (command.position is None or log.after(start) is None):
            return self._begin_with_state(command, log)
        if command.recent and log.keep == "history":
            start = replace(log.position, offset=log.last - min(command.recent, len(log.entries)))
        if log.apart:
            limit = m.FollowLimit("shortpoll", 5.0, False)
            return [m.Subscribed(command.id, name, log.keep, start, None, limit=limit)] if command.id else []
        self.followed[name] = start
        if command.id is None:
            return []
        page = log.after(start)
        if page is None:
            self.followed[name] = log.position
            return [m.Subscribed(command.id, name, log.keep, log.position, False)]
        publications, more = page
        position = replace(log.position, offset=publications[-1].offset) if publications else start
        if log.keep != "history" and not publications:
            position = log.position
        self.followed[name] = position
        recovered = None if command.position is None else True
        return [m.Subscribed(command.id, name, log.keep, position, recovered, publications, more)]

    def _begin_with_state(self, command: m.Subscribe, log: Log) -> list[m.ServerMessage]:
        gap = command.position is not None
        limit = m.FollowLimit("shortpoll", 5.0, False) if log.apart else None
        if limit is None:
            self.followed[log.name] = log.position
            self.making[log.name] = (log.position, log.state, gap)
        if command.id is None:
            return []
        recovered = False if gap else None
        return [
            m.Subscribed(command.id, log.name, log.keep, log.position, recovered, limit=limit, snapshot=True)
        ]
