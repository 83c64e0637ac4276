"""Answers that are the same for everybody, on a fanout and a poll that the test moves by hand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from rtbridge.config import Limits
from rtbridge.metrics import Metrics
from rtbridge.protocol.positions import Position
from rtbridge.server import shared
from rtbridge.server.connection import Connection
from rtbridge.server.shared import Questions
from rtbridge.server.wire import Writer
from rtbridge.transports.onechannel import ChannelAnswer
from rtbridge.wsgi.http import Response
from rtbridge.wsgi.later import Common, Parked
from support.fakeloop import FakeLoop

HERE = Position("epoch", 3)


class Fanout:
    """One channel, always here. Counts who reads it."""

    def __init__(self) -> None:
        self.joined: list[object] = []

    def tail(self, channel: str) -> Any:
        return self

    def position(self) -> Position:
        return HERE

    def join(self, channel: str, reader: object) -> None:
        self.joined.append(reader)

    def leave(self, channel: str, reader: object) -> None:
        self.joined.remove(reader)


class Desk:
    writer = Writer()

    def spawn(self, job: Any) -> None:
        raise AssertionError("nothing here blocks")

    def failure(self, error: Exception) -> Response:
        raise error


class Reactor:
    """What a connection needs around it."""

    closing = False

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.limits = Limits()

    def request(self, connection: Connection, head: bytes, received: bytes, start: int) -> int:
        connection.take(start)
        return 0

    def strange(self, connection: Connection) -> None: ...
    def late(self, connection: Connection) -> None: ...
    def gone(self, connection: Connection) -> None: ...


class World:
    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.fanout = Fanout()
        self.reactor = Reactor(loop)
        self.questions = Questions(Desk(), self.fanout, Metrics(), loop)  # type: ignore[arg-type]
        self.asked: list[Any] = []
        self.clients: list[socket.socket] = []

    def ask(self, line: bytes, wait: float = 25.0) -> Connection:
        """A client sends this request line; its answer has to be waited for."""
        client, ours = socket.socketpair()
        self.clients.append(client)
        ours.setblocking(False)
        connection = Connection(self.reactor, ours, b"", False)
        connection.take(0)
        if not self.questions.ask(connection, line):
            common = Common("news", wait, self.asked.append)  # type: ignore[arg-type]
            parked = Parked(self.asked.append, self.response, None, common)  # type: ignore[arg-type]
            self.questions.learn(connection, line, parked, common, [])
        return connection

    def response(self, answer: object) -> Response:
        return Response(200, [], b"{}")

    def nothing_new(self) -> None:
        """What was asked is answered: there is no news."""
        self.asked.pop().finish(ChannelAnswer(HERE, b"{}", True))


@pytest.fixture
def world() -> Iterator[World]:
    loop = FakeLoop()
    world = World(loop)
    yield world
    for client in world.clients:
        client.close()
    assert loop.errors == []


def test_who_leaves_while_the_answer_is_made_is_not_waited_for(world: World) -> None:
    connection = world.ask(b"GET /rt/channels/news?wait=25 HTTP/1.1")
    connection.close()
    world.nothing_new()
    assert world.questions._parked() == 0
    assert world.fanout.joined == [], "the channel would be watched for nobody, for ever"


def test_others_wait_on_when_one_leaves(world: World) -> None:
    line = b"GET /rt/channels/news?wait=25 HTTP/1.1"
    staying, leaving = world.ask(line), world.ask(line)
    leaving.close()
    world.nothing_new()
    assert world.questions._parked() == 1
    assert staying.deadline == world.loop.now() + 25
    staying.close()
    assert world.fanout.joined == []


def test_questions_that_are_all_waited_for_are_not_looked_through_each_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    class Counted(type(world.questions._questions)):  # type: ignore[misc]
        def items(self) -> Any:
            nonlocal looks
            looks += len(self)
            return super().items()

    monkeypatch.setattr(shared, "_QUESTIONS", 10)
    world.questions = Questions(Desk(), world.fanout, Metrics(), world.loop)  # type: ignore[arg-type]
    world.questions._questions = Counted()
    connections = []
    for number in range(200):
        connections.append(world.ask(b"GET /rt/channels/news?after=e.%d&wait=25 HTTP/1.1" % number))
        world.nothing_new()
    assert looks < 1_000
    for connection in connections:
        connection.close()
    for number in range(500):
        world.ask(b"GET /rt/channels/news?after=f.%d HTTP/1.1" % number, wait=0.0).close()
        world.nothing_new()
    assert len(world.questions._questions) <= 20, "what nobody waits for is forgotten again"
