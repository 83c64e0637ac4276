"""Every transport keeps the transport contract: four by POST, three by GET."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from contracts.transport_contract import GAP, ChannelContract, Follower, Open, TransportContract
from rtbridge.errors import ProtocolError
from rtbridge.protocol import frames
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.positions import Position
from rtbridge.session.access import no_such_channel
from rtbridge.session.snapshots import wish_for
from rtbridge.transports.eventstream import EventStream
from rtbridge.transports.longpoll import LongPoll
from rtbridge.transports.onechannel import ChannelAnswer, ChannelPoll, ChannelStream, Question
from rtbridge.transports.shortpoll import ShortPoll
from rtbridge.transports.websocket import WebSocket
from support.carrier import StubCarrier
from support.house import House

HELLO = {"type": "hello", "id": 1, "version": 1, "instance": "instance-1"}


class Messages(Follower):
    """Those that carry messages: what they have to say is in commands."""

    def __init__(self, house: House, cursor: Mapping[str, str | None]) -> None:
        super().__init__(house, cursor)
        self.calls: list[dict[str, Any]] = []

    def call(self, call_id: str, name: str, **params: Any) -> None:
        self.calls.append({"type": "call", "id": 9, "call_id": call_id, "name": name, "params": params})

    def unsubscribe(self, channel: str) -> None:
        del self.cursor[channel]

    def commands(self) -> list[object]:
        wanted = [
            {"type": "subscribe", "channel": channel, "snapshot": True}
            | ({"position": position} if position else {})
            for channel, position in self.cursor.items()
            if channel not in self.refused
        ]
        calls, self.calls = self.calls, []
        return [HELLO, *wanted, *calls]


class ByPolling(Messages):
    """Each look is a poll, and another one while an answer says `more`."""

    waits = False
    poll: ShortPoll | None = None

    def begin(self, carrier: StubCarrier) -> ShortPoll:
        poll = ShortPoll(self.house.services, {}, JSON, carrier)
        poll.start(self.commands())
        return poll

    def look(self) -> None:
        more = True
        while more:
            carrier = StubCarrier(self.house.loop)
            self.begin(carrier)
            self.house.loop.run()
            messages = json.loads(carrier.answer)["messages"]
            more = any(message.get("more") for message in messages)
            for message in messages:
                self.take(message)

    def close(self) -> None:
        if self.poll is not None:
            self.poll.abort()


class ByLongPolling(ByPolling):
    """One poll is always parked; it begins again as soon as it is answered."""

    waits = True

    def __init__(self, house: House, cursor: Mapping[str, str | None]) -> None:
        super().__init__(house, cursor)
        self.park()

    def park(self) -> None:
        self.carrier = StubCarrier(self.house.loop)
        self.poll = LongPoll(self.house.services, {}, JSON, self.carrier, 25.0)
        self.poll.start(self.commands())

    def call(self, call_id: str, name: str, **params: Any) -> None:
        super().call(call_id, name, **params)
        self.begin_again()

    def unsubscribe(self, channel: str) -> None:
        super().unsubscribe(channel)
        self.begin_again()

    def begin_again(self) -> None:
        self.house.loop.run()
        if self.poll is not None:
            self.poll.abort()
        self.park()

    def look(self) -> None:
        self.house.loop.run()
        while self.carrier.answers:
            for message in json.loads(self.carrier.answer)["messages"]:
                self.take(message)
            self.park()
            self.house.loop.run()


class ByEventStream(Messages):
    """One stream; what else there is to say begins a new one and closes the old."""

    def __init__(self, house: House, cursor: Mapping[str, str | None]) -> None:
        super().__init__(house, cursor)
        self.stream: EventStream | None = None
        self.begin()

    def begin(self) -> None:
        if self.stream is not None:
            self.stream.close()
        self.carrier = StubCarrier(self.house.loop)
        self.stream = EventStream(self.house.services, {}, JSON, self.carrier)
        self.stream.start(self.commands())

    def call(self, call_id: str, name: str, **params: Any) -> None:
        super().call(call_id, name, **params)
        self.begin()

    def unsubscribe(self, channel: str) -> None:
        super().unsubscribe(channel)
        self.begin()

    def look(self) -> None:
        assert self.stream is not None
        while True:
            self.stream.ready()
            self.house.loop.run()
            pieces = self.carrier.take()
            if not pieces:
                return
            for event in b"".join(pieces).split(b"\n\n"):
                if event:
                    self.take(json.loads(event.removeprefix(b"data: ")))

    def close(self) -> None:
        assert self.stream is not None
        self.stream.close()


class ByWebSocket(Messages):
    """A pair of real sockets."""

    def __init__(self, house: House, cursor: Mapping[str, str | None]) -> None:
        super().__init__(house, cursor)
        ours, self.sock = socket.socketpair()
        ours.setblocking(False)
        self.sock.setblocking(False)
        self.parser = frames.FrameParser(role="client", max_message=2**24, max_fragments=100)
        self.server = WebSocket(house.services, {}, JSON, StubCarrier(house.loop), ours)
        self.send(self.commands())

    def send(self, commands: object) -> None:
        self.sock.sendall(frames.frame(frames.Opcode.TEXT, json.dumps(commands).encode(), mask=b"mask"))

    def call(self, call_id: str, name: str, **params: Any) -> None:
        super().call(call_id, name, **params)
        self.send(self.calls)

    def unsubscribe(self, channel: str) -> None:
        super().unsubscribe(channel)
        self.send({"type": "unsubscribe", "channel": channel})

    def look(self) -> None:
        quiet = False
        while not quiet:
            self.house.loop.poll_sockets()
            self.house.loop.run()
            try:
                data = self.sock.recv(65_536)
            except BlockingIOError:
                quiet = not self.house.loop.poll_sockets()
                continue
            for event in self.parser.feed(data):
                assert isinstance(event, frames.TextMessage)
                self.take(json.loads(event.data))

    def close(self) -> None:
        self.sock.close()
        self.house.loop.poll_sockets()
        self.house.loop.run()


# ---- by GET


class ByGet(Follower):
    """One channel, without a session. Whether it may be read is settled first, as the endpoint does it."""

    def __init__(self, house: House, cursor: Mapping[str, str | None]) -> None:
        super().__init__(house, cursor)
        ((self.channel, _),) = cursor.items()
        self.permitted = self.is_permitted()
        self.begin()

    def is_permitted(self) -> bool:
        services = self.house.services
        found = services.registry.channel_for(self.channel)
        try:
            if found is None:
                raise no_such_channel(self.channel)
            identity, _ = services.access.identify(None, {})
            context = services.access.context(identity, {}, "shortpoll")
            services.access.permit(identity, found[0], self.channel, found[1], context)
        except ProtocolError as error:
            self.refused[self.channel] = error.code
            return False
        return True

    def question(self, wait: float = 0.0) -> Question:
        found = self.house.registry.channel_for(self.channel)
        assert found is not None
        position = self.cursor[self.channel]
        after = Position.parse(position) if position else None
        wish = wish_for(self.channel, *found, None, lambda: pytest.fail("shared"))
        return Question(self.channel, found[0], after, 20, wait, wish)

    def begin(self) -> None: ...

    def take_answer(self, answer: ChannelAnswer) -> bool:
        """Take it; whether it says `more`."""
        body = json.loads(answer.body)
        self.take(body)
        return bool(body.get("more"))

    def close(self) -> None: ...


class ByGetting(ByGet):
    waits = False

    def look(self) -> None:
        self.house.loop.run()
        while self.permitted:
            carrier = StubCarrier(self.house.loop)
            ChannelPoll(self.house.services, self.question(), JSON, carrier).start()
            self.house.loop.run()
            if not self.take_answer(carrier.answer):
                return


class ByLongGetting(ByGet):
    poll: ChannelPoll | None = None

    def begin(self) -> None:
        if self.permitted:
            self.carrier = StubCarrier(self.house.loop)
            self.poll = ChannelPoll(self.house.services, self.question(25.0), JSON, self.carrier)
            self.poll.start()

    def look(self) -> None:
        self.house.loop.run()
        while self.permitted and self.carrier.answers:
            self.take_answer(self.carrier.answer)
            self.begin()
            self.house.loop.run()

    def close(self) -> None:
        if self.poll is not None:
            self.poll.abort()


class ByGettingEvents(ByGet):
    stream: ChannelStream | None = None

    def begin(self) -> None:
        if self.permitted:
            self.carrier = StubCarrier(self.house.loop)
            self.stream = ChannelStream(self.house.services, self.question(), self.carrier)
            self.stream.start()

    def look(self) -> None:
        while self.stream is not None:
            self.stream.ready()
            self.house.loop.run()
            pieces = self.carrier.take()
            if not pieces:
                return
            for event in b"".join(pieces).decode().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in event.split("\n") if line and line[0] != ":")
                if fields.get("event") == "snapshot":
                    mark = GAP if self.cursor[self.channel] else "now"
                    self.seen[self.channel].append((mark, json.loads(fields["data"])))
                    self.cursor[self.channel] = fields["id"]
                elif fields.get("event") == "gap":
                    self.seen[self.channel].append(GAP)
                elif "data" in fields:
                    self.seen[self.channel].append(json.loads(fields["data"]))

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()


@pytest.mark.parametrize("transport", [ByPolling, ByLongPolling, ByEventStream, ByWebSocket])
class TestTransports(TransportContract):
    @pytest.fixture
    def open(self, transport: type[Follower]) -> Open:
        return transport


@pytest.mark.parametrize("transport", [ByGetting, ByLongGetting, ByGettingEvents])
class TestTransportsOfOneChannel(ChannelContract):
    @pytest.fixture
    def open(self, transport: type[Follower]) -> Open:
        return transport
