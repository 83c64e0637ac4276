"""The core against a model of the server, with everything going wrong in every order that Hypothesis can think of.

Several connections at once, each cut at any moment; sockets, whose messages arrive one by one, and polls, whose
answers are lost or arrive late; logs that are trimmed or forgotten; sessions that the server forgets; readers that
fall behind. What must hold: each publication comes out once and in order, or a gap is told; each call runs at most
once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rtbridge.client import events as e
from rtbridge.client.core import Conversation, Core, PendingCall
from rtbridge.client.errors import CallError
from rtbridge.protocol import messages as m
from rtbridge.protocol.positions import Position
from support.model_server import Log, ModelServer, ModelSession

CHANNELS = ("a", "b", "ticker", "apart", "state", "state-apart")
STATES = ("state", "state-apart")
channels = st.sampled_from(CHANNELS)
picks = st.integers(0, 5)


@dataclass
class Wire:
    """A connection of the client: what it said, the server's end of it, and what is on its way."""

    kind: str
    conversation: Conversation
    session: ModelSession
    coming: deque[m.ServerMessage] = field(default_factory=deque)


@dataclass
class Reader:
    """The application's end of a feed; knows what it may be given next."""

    name: str
    since: Position
    """Where the log was when it was asked for from now on."""
    last: Position | None
    seen: set[tuple[str, int]] = field(default_factory=set)
    gaps: int = 0


class CoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = ModelServer({name: Log(name) for name in CHANNELS})
        self.server.logs["ticker"].keep = "latest"
        self.server.logs["apart"].apart = self.server.logs["state-apart"].apart = True
        for name in STATES:
            self.server.logs[name].snapshot = True
        self.core = Core("instance-1", "test")
        self.wires: list[Wire] = []
        self.readers: dict[str, Reader] = {}
        self.answers: dict[str, object] = {}
        self.now = 0.0
        self.calls = 0

    # -- the application ----------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.follow("a", None)
        self.connect("websocket")

    @rule(name=channels, recent=st.none() | st.integers(0, 5))
    def follow(self, name: str, recent: int | None) -> None:
        if name not in self.readers:
            since = self.server.logs[name].position
            self.readers[name] = Reader(name, Position(since.epoch, 0) if recent else since, None)
            self.core.follow(name, None, recent, snapshot=name in STATES)

    @rule(name=channels, back=st.integers(0, 5))
    def follow_from(self, name: str, back: int) -> None:
        if name not in self.readers:
            position = self.server.logs[name].position
            position = Position(position.epoch, max(0, position.offset - back))
            self.readers[name] = Reader(name, position, position)  # it may still be told of a gap
            self.core.follow(name, position, None, snapshot=name in STATES)

    @rule(name=channels)
    def unfollow(self, name: str) -> None:
        self.readers.pop(name, None)
        self.core.unfollow(name)

    @rule(name=channels)
    def hold(self, name: str) -> None:
        self.core.hold(name)

    @rule(name=channels)
    def release(self, name: str) -> None:
        self.core.release(name)

    @rule()
    def call(self) -> None:
        self.calls += 1
        call_id = f"call-{self.calls:04}"
        self.core.calls[call_id] = PendingCall(call_id, "count", {}, deadline=1e9)
        self.answers[call_id] = None

    # -- the server ---------------------------------------------------------------------------------------

    @rule(name=channels, count=st.integers(1, 4))
    def publish(self, name: str, count: int) -> None:
        for _ in range(count):
            self.server.logs[name].publish()

    @rule(name=channels, left=st.integers(0, 2))
    def trim(self, name: str, left: int) -> None:
        log = self.server.logs[name]
        if log.keep == "history":
            log.entries = log.entries[len(log.entries) - min(left, len(log.entries)) :]

    @rule(name=channels)
    def forget(self, name: str) -> None:
        # Two epochs of a `latest` channel cannot be told apart by age: while the log is lost in the very moment of a
        # switch, a value that is late on the older connection may come after a newer one. Not modelled.
        if name != "ticker" or len(self.wires) < 2:
            self.server.logs[name].forget()

    @rule()
    def restart_with_another_secret(self) -> None:
        """No token is good any more, and no connection survives it."""
        self.server.forget_sessions()
        for wire in self.wires:
            self.core.end(wire.conversation)
        self.wires.clear()

    # -- connections --------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.wires) < 3)
    @rule(kind=st.sampled_from(["websocket", "poll"]))
    def connect(self, kind: str) -> None:
        conversation = Conversation()
        wire = Wire(kind, conversation, ModelSession(self.server, kind))
        self.wires.append(wire)
        if kind == "websocket":
            # More than our sockets do, which wait for the hello's reply: the core has to know better by itself.
            self._say(wire, [self.core.hello(conversation), *self.core.changes(conversation, self.now)])

    @precondition(lambda self: self.wires)
    @rule(pick=picks)
    def cut(self, pick: int) -> None:
        """All that is on its way is lost; the client notices."""
        wire = self.wires.pop(pick % len(self.wires))
        self.core.end(wire.conversation)

    @precondition(lambda self: self.wires)
    @rule(pick=picks, times=st.integers(1, 5))
    def go_on(self, pick: int, times: int) -> None:
        wire = self.wires[pick % len(self.wires)]
        for _ in range(times):
            if wire in self.wires:
                self._go_on(wire)

    @rule(name=channels, pick=picks, times=st.integers(1, 8))
    def publish_and_go_on(self, name: str, pick: int, times: int) -> None:
        """What happens most, so that it does happen."""
        self.follow(name, None)
        if not self.wires:
            self.connect("websocket")
        self.publish(name, 1 + times % 3)
        self.go_on(pick, times)

    @precondition(lambda self: any(wire.kind == "poll" for wire in self.wires))
    @rule(pick=picks, lose=st.booleans())
    def lane(self, pick: int, lose: bool) -> None:
        """Calls beside a poll."""
        polls = [wire for wire in self.wires if wire.kind == "poll"]
        wire = polls[pick % len(polls)]
        if not wire.conversation.greeted:
            return
        lane = Wire("lane", Conversation(greeted=True), ModelSession(self.server, "shortpoll"))
        calls = self.core.send_calls(lane.conversation, self.now, 2)
        if not calls:
            return
        self._say(lane, [self.core.hello(lane.conversation), *calls])
        if not lose:
            for message in lane.coming:
                self._hear(lane, message)
        elif wire in self.wires:
            self.wires.remove(wire)  # a lost answer ends the link
            self.core.end(wire.conversation)
        self.core.end(lane.conversation)

    @rule(name=st.sampled_from(["apart", "state-apart"]), lose=st.booleans())
    def ask_apart(self, name: str, lose: bool) -> None:
        channel = self.core.channels.get(name)
        if channel is not None and channel.limit is not None and not channel.held:
            after = channel.cursor.position
            answer = self.server.get(name, after)
            if not lose:
                self._take(self.core.receive_apart(name, answer, after))

    def _go_on(self, wire: Wire) -> None:
        """One step of a connection: hear what is next, or say and ask what is new."""
        if wire.coming:
            self._hear(wire, wire.coming.popleft())
        elif wire.kind == "poll":
            wire.session = ModelSession(self.server, "longpoll")
            self._say(wire, self.core.poll(wire.conversation, self.now))
            wire.coming += wire.session.pushes()
        else:
            self._say(wire, self.core.changes(wire.conversation, self.now))
            wire.coming += wire.session.pushes()

    def _say(self, wire: Wire, commands: list[m.Command]) -> None:
        for command in commands:
            wire.coming += wire.session.handle(command)

    def _hear(self, wire: Wire, message: m.ServerMessage) -> None:
        for event in self.core.receive(wire.conversation, message, self.now):
            if isinstance(event, e.Over):
                self.core.end(wire.conversation)
                if wire in self.wires:
                    self.wires.remove(wire)
                wire.coming.clear()
            else:
                self._take([event])

    # -- what must hold -----------------------------------------------------------------------------------

    def _take(self, events: list[e.Event]) -> None:
        for event in events:
            if isinstance(event, e.CallOver):
                assert self.answers[event.call_id] is None, "one answer"
                self.answers[event.call_id] = event.answer
            elif isinstance(event, e.Confirmed):
                reader = self.readers[event.channel]
                if reader.last is None:
                    reader.last = event.position
            elif isinstance(event, e.SnapshotFound):
                self._begin_with(self.readers[event.channel], event)
            elif isinstance(event, e.GapFound):
                assert event.channel not in STATES, "a snapshot stands in for it"
                reader = self.readers[event.channel]
                reader.last = event.position
                reader.gaps += 1
            elif isinstance(event, e.Delivered):
                self._deliver(self.readers[event.channel], event)

    def _begin_with(self, reader: Reader, event: e.SnapshotFound) -> None:
        assert event.data == f'"{event.position}"'.encode(), "the state at its position"
        assert reader.name in STATES
        assert event.gap or reader.last is None, "at first, or in place of a gap"
        reader.last = event.position

    def _deliver(self, reader: Reader, event: e.Delivered) -> None:
        for publication in event.publications:
            place = (event.epoch, publication.offset)
            assert publication.value() == f"{event.epoch}.{publication.offset}", "what was published there"
            if reader.name != "ticker":
                assert place not in reader.seen, "once"
                older = event.epoch == reader.since.epoch and publication.offset <= reader.since.offset
                assert not older, "from now on"
                if reader.last is not None:
                    assert event.epoch == reader.last.epoch, "another log only after a gap"
                    assert publication.offset == reader.last.offset + 1, "in order, and nothing left out"
            elif reader.last is not None and reader.last.epoch == event.epoch:
                assert publication.offset > reader.last.offset, "never an older value"
            reader.seen.add(place)
            reader.last = Position(*place)

    @invariant()
    def calls_run_at_most_once(self) -> None:
        assert all(count == 1 for count in self.server.runs.values())

    @invariant()
    def the_cursor_is_what_was_delivered(self) -> None:
        for name, reader in self.readers.items():
            cursor = self.core.channels[name].cursor
            if reader.last is not None and cursor.keep == "history" and name != "ticker":
                assert cursor.position == reader.last

    def teardown(self) -> None:
        """When the storm is over, everything arrives."""
        for name in CHANNELS:
            self.core.release(name)
        for _ in range(300):
            if not self.wires:
                self.connect("websocket")
            for wire in list(self.wires):
                self._go_on(wire)
            self.ask_apart("apart", False)
            self.ask_apart("state-apart", False)
        for name, reader in self.readers.items():
            log = self.server.logs[name]
            if log.keep == "history":
                assert reader.last == log.position
            if log.keep == "history" or log.entries:
                assert self.core.channels[name].cursor.position == log.position
        if not any(wire.kind == "websocket" for wire in self.wires):
            return  # polls carry no calls; see `lane`
        for call_id, answer in self.answers.items():
            assert isinstance(answer, bytes | CallError)
            if isinstance(answer, CallError):
                assert answer.code == 300 and call_id not in self.core.calls
            else:
                assert self.server.runs[call_id] == 1


TestCore = CoreMachine.TestCase
TestCore.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, report_multiple_bugs=False
)
