"""WebSocket over a pair of real sockets on a fake loop: what leaves, what waits, and how it ends."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from rtbridge.bus.contract import History
from rtbridge.config import Limits
from rtbridge.protocol import frames
from rtbridge.protocol.codecs import JSON, Codec, msgpack_codec
from rtbridge.transports.websocket import _PAUSE_AT, WebSocket
from support.carrier import StubCarrier
from support.fakeloop import FakeWatch
from support.house import House
from support.needs import missing
from support.readers import readers

HELLO = {"type": "hello", "id": 1, "version": 1, "instance": "instance-1"}
Message = dict[str, Any]
Event = frames.FrameEvent


class Peer:
    """The browser's end. While it does not read, nothing leaves the pair's small buffers."""

    def __init__(self, house: House, codec: Codec = JSON, early: bytes = b"") -> None:
        self.house = house
        self.codec = codec
        ours, self.sock = socket.socketpair()
        ours.setblocking(False)
        self.sock.setblocking(False)
        self.carrier = StubCarrier(house.loop)
        self.server = WebSocket(house.services, {}, codec, self.carrier, ours, early)
        self.ours = ours
        self._parser = frames.FrameParser(role="client", max_message=2**24, max_fragments=100)
        self.ended = False  # the server's end of the stream was read

    def raw(self, data: bytes) -> None:
        self.sock.setblocking(True)
        self.sock.settimeout(5)
        self.sock.sendall(data)
        self.sock.setblocking(False)
        self.settle()

    def send(self, *messages: object) -> list[Message]:
        for message in messages:
            self.raw(frames.frame(frames.Opcode.TEXT, json.dumps(message).encode(), mask=b"mask"))
        return self.messages()

    def hello(self, **fields: Any) -> Message:
        (reply,) = self.send({**HELLO, **fields})
        return reply

    def settle(self) -> None:
        """Let everything happen that can: callbacks, and readiness of our socket."""
        self.house.loop.run()
        while self.house.loop.poll_sockets():
            before = (self.server._unsent, self.server._session.waiting)
            self.house.loop.run()
            if (self.server._unsent, self.server._session.waiting) == before and not self._readable():
                break
        self.house.loop.run()

    def _readable(self) -> bool:
        try:
            return bool(self.ours.fileno() >= 0 and self.ours.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def events(self) -> list[Event]:
        """What has come, read to the end of it."""
        found: list[Event] = []
        while True:
            self.settle()
            try:
                data = self.sock.recv(65_536)
            except BlockingIOError:
                return found
            except ConnectionResetError:
                data = b""
            if not data:
                self.ended = True
                return found
            found += self._parser.feed(data)

    def messages(self) -> list[Message]:
        """The messages that have come; any other frame is an error."""
        events = self.events()
        assert all(isinstance(event, frames.TextMessage) for event in events), events
        return [json.loads(event.data) for event in events if isinstance(event, frames.TextMessage)]

    def close_code(self) -> int | None:
        """The code of the close frame that has come, other messages passed over; None without one."""
        codes = [event.code for event in self.events() if isinstance(event, frames.CloseFrame)]
        return codes[0] if codes else None

    def answer_close(self, code: int = 1000) -> None:
        self.raw(frames.close_frame(code, "", mask=b"mask"))


def make_house(**limits: Any) -> House:
    house = House(Limits(**limits))
    house.channel("news", public=True, keep=History(1000, ttl=3600))
    house.call("echo", lambda ctx, value=None: value)
    return house


@pytest.fixture
def house() -> Iterator[House]:
    house = make_house(send_buffer=1)  # the system makes the least of it that it knows
    yield house
    assert house.loop.errors == []


@pytest.fixture
def peer(house: House) -> Peer:
    return Peer(house)


def subscribe(**fields: Any) -> Message:
    return {"type": "subscribe", "id": 2, "channel": "news", **fields}


def ended(peer: Peer) -> bool:
    """Whether nothing of the connection is left."""
    peer.events()
    server = peer.server
    return (
        peer.ended
        and peer.carrier.answers == [None]
        and readers(peer.house.fanout) == 0
        and peer.house.loop.watches == []
        and server._spoke is None
        and peer.house.metrics.snapshot()["connections_websocket"] == 0
    )


# ---- talking


def test_messages_both_ways(house: House, peer: Peer) -> None:
    assert peer.hello()["transport"] == "websocket"
    assert peer.send(subscribe())[0]["type"] == "subscribed"
    house.publish("news", "live")
    (push,) = peer.messages()
    assert push["publications"] == [{"offset": 1, "data": "live"}]


def test_an_array_of_commands_is_answered_in_order(peer: Peer) -> None:
    peer.hello()
    replies = peer.send([{"type": "ping", "id": number} for number in (5, 6, 7)])
    assert [reply["id"] for reply in replies] == [5, 6, 7]


def test_what_came_with_the_handshake_is_not_lost(house: House) -> None:
    early = frames.frame(frames.Opcode.TEXT, json.dumps(HELLO).encode(), mask=b"mask")
    (reply,) = Peer(house, early=early).messages()
    assert reply["type"] == "hello"


def test_a_ping_frame_is_answered(peer: Peer) -> None:
    peer.raw(frames.frame(frames.Opcode.PING, b"are you there", mask=b"mask"))
    (pong,) = peer.events()
    assert isinstance(pong, frames.PongFrame) and pong.data == b"are you there"


def test_of_many_pings_the_last_is_answered_when_there_is_room(peer: Peer) -> None:
    peer.raw(b"".join(frames.frame(frames.Opcode.PING, b"%d" % n, mask=b"mask") for n in range(100)))
    assert [event.data for event in peer.events() if isinstance(event, frames.PongFrame)][-1] == b"99"


def test_msgpack(house: House) -> None:
    codec = msgpack_codec()
    if codec is None:
        missing("msgpack is not installed")
    import msgpack

    peer = Peer(house, codec)
    peer.raw(frames.frame(frames.Opcode.BINARY, msgpack.packb(HELLO), mask=b"mask"))
    (event,) = peer.events()
    assert isinstance(event, frames.BinaryMessage)
    assert codec.decode(event.data)["type"] == "hello"  # type: ignore[index]


# ---- a slow reader


def block(house: House, peer: Peer) -> int:
    """Publish until the peer's buffers are full; returns how many publications there are."""
    peer.hello()
    peer.send(subscribe())
    for count in range(1, 500):
        house.publish("news", "x" * 20_000)
        peer.settle()
        if peer.server._unsent:
            return count
    raise AssertionError("its buffers have no end")


def test_what_a_slow_reader_does_not_take_is_one_part_of_one_piece(house: House, peer: Peer) -> None:
    count = block(house, peer)
    kept = len(peer.server._unsent)
    assert 0 < kept < 65_536 + 30_000
    for _ in range(50):
        house.publish("news", "x" * 20_000)
        peer.settle()
    assert len(peer.server._unsent) == kept
    assert peer.server._session.unsent == 0
    got = [each["offset"] for push in peer.messages() for each in push["publications"]]
    assert got == list(range(1, count + 51))
    assert peer.server._unsent == b""
    assert [watch.write for watch in house.loop.watches] == [False]


def test_who_takes_nothing_at_all_is_given_up(house: House, peer: Peer) -> None:
    block(house, peer)
    house.loop.advance(house.limits.send_timeout - 1)
    assert peer.carrier.answers == []
    house.loop.advance(1.1)
    assert peer.carrier.answers == [None]
    assert ended(peer)


def test_who_takes_a_little_now_and_then_is_slow_but_there(house: House, peer: Peer) -> None:
    block(house, peer)
    for _ in range(300):
        house.publish("news", "x" * 20_000)
    for _ in range(4):
        house.loop.advance(house.limits.send_timeout * 0.6)
        peer.raw(frames.frame(frames.Opcode.PONG, b"", mask=b"mask"))
        unsent = peer.server._unsent
        while peer.server._unsent is unsent:  # until a little more left
            assert peer.sock.recv(4_096)
            peer.settle()
    assert peer.carrier.answers == []
    peer.server.abandon()


# ---- many commands


def test_reading_pauses_while_many_commands_wait(house: House) -> None:
    """The carrier runs one call after the other; while it is not let, what the peer sends stays in its buffers."""
    ran: list[int] = []
    house.call("count", lambda ctx, number: ran.append(number))
    peer = Peer(house)
    peer.hello()
    (watch,) = house.loop.watches

    def call(number: int) -> bytes:
        command = {
            "type": "call", "id": number + 10, "call_id": f"call-id-{number}", "name": "count",
            "params": {"number": number},
        }  # fmt: skip
        return frames.frame(frames.Opcode.TEXT, json.dumps(command).encode(), mask=b"mask")

    for number in range(_PAUSE_AT + 1):
        assert watch.read
        peer.sock.sendall(call(number))
        house.loop.poll_sockets()
        house.loop.run_calls()  # not the jobs
    assert not watch.read
    peer.sock.sendall(call(_PAUSE_AT + 1))
    assert not house.loop.poll_sockets()
    peer.settle()
    assert watch.read
    assert len(peer.messages()) == _PAUSE_AT + 2
    assert ran == list(range(_PAUSE_AT + 2))


def test_more_commands_than_may_wait_are_a_flood() -> None:
    peer = Peer(make_house(max_commands=10))
    peer.hello()
    peer.raw(frames.frame(frames.Opcode.TEXT, json.dumps([{"type": "ping"}] * 11).encode(), mask=b"mask"))
    assert peer.close_code() == 4301


# ---- time


def test_who_says_no_hello_is_closed(house: House, peer: Peer) -> None:
    house.loop.advance(house.limits.hello_timeout - 0.1)
    assert peer.events() == []
    house.loop.advance(0.2)
    assert peer.close_code() == 4002
    peer.answer_close()
    assert ended(peer)


def test_a_hello_that_is_being_authenticated_is_not_late(house: House, peer: Peer) -> None:
    peer.sock.sendall(frames.frame(frames.Opcode.TEXT, json.dumps(HELLO).encode(), mask=b"mask"))
    house.loop.poll_sockets()
    house.loop.run_calls()
    jobs, house.loop.jobs = house.loop.jobs, type(house.loop.jobs)()
    house.loop.advance(house.limits.hello_timeout + 1)
    house.loop.jobs.extend(jobs)
    (reply,) = peer.messages()
    assert reply["type"] == "hello"


def test_who_answers_no_ping_is_closed(house: House, peer: Peer) -> None:
    peer.hello()
    codes = []
    for _ in range(4):
        house.loop.advance(house.limits.ping_interval)
        codes.append([event.code for event in peer.events() if isinstance(event, frames.CloseFrame)])
    assert [code for some in codes for code in some] == [4001]


@pytest.mark.parametrize("pong", [
    frames.frame(frames.Opcode.TEXT, b'{"type":"pong"}', mask=b"mask"),
    frames.frame(frames.Opcode.PONG, b"", mask=b"mask"),
    frames.frame(frames.Opcode.TEXT, b'{"type":"ping","id":3}', mask=b"mask"),
])  # fmt: skip
def test_whatever_is_heard_is_a_sign_of_life(house: House, peer: Peer, pong: bytes) -> None:
    peer.hello()
    house.loop.advance(house.limits.hello_timeout)
    for _ in range(10):
        house.loop.advance(house.limits.ping_interval)
        assert {"type": "ping"} in peer.messages()
        peer.raw(pong)
        peer.messages()
    assert peer.carrier.answers == []


# ---- the end


def test_the_peer_closes(house: House, peer: Peer) -> None:
    peer.hello()
    peer.send(subscribe())
    peer.answer_close(1001)
    assert peer.close_code() == 1001
    assert ended(peer)


def test_the_peer_is_gone(house: House, peer: Peer) -> None:
    peer.hello()
    peer.send(subscribe())
    peer.sock.close()
    peer.settle()
    assert peer.carrier.answers == [None]
    assert (readers(house.fanout), house.loop.watches) == (0, [])


def test_we_close_and_the_peer_answers(house: House, peer: Peer) -> None:
    peer.hello()
    peer.send(subscribe())
    peer.raw(frames.frame(frames.Opcode.TEXT, b'{"type":"bye"}', mask=b"mask"))
    assert peer.close_code() == 4303
    assert readers(house.fanout) == 0
    assert peer.carrier.answers == []  # it waits for the peer's close frame
    peer.answer_close(4303)
    assert ended(peer)


def test_we_close_and_the_peer_does_not_answer(house: House, peer: Peer) -> None:
    peer.hello()
    peer.raw(frames.frame(frames.Opcode.TEXT, b'{"type":"bye"}', mask=b"mask"))
    house.loop.advance(house.limits.close_timeout + 0.1)
    assert ended(peer)


def test_after_our_close_frame_nothing_is_carried_out(house: House) -> None:
    ran: list[int] = []
    house.call("count", lambda ctx: ran.append(1))
    peer = Peer(house)
    peer.hello()
    command = {"type": "call", "id": 9, "call_id": "call-id-1", "name": "count"}
    peer.raw(
        b"".join(
            frames.frame(frames.Opcode.TEXT, json.dumps(each).encode(), mask=b"mask")
            for each in ({"type": "bye"}, command)
        )
    )
    assert peer.close_code() == 4303
    assert ran == []
    peer.answer_close()
    assert ended(peer)


BROKEN = [
    (frames.frame(frames.Opcode.BINARY, b"x", mask=b"mask"), 1003),
    (frames.frame(frames.Opcode.TEXT, b"\xff", mask=b"mask"), 1007),
    (frames.frame(frames.Opcode.TEXT, b"x"), 1002),  # not masked
    (b"\xff\xff\xff\xff", 1002),
    (frames.frame(frames.Opcode.TEXT, b"x" * 70_000, mask=b"mask"), 1009),
    (frames.frame(frames.Opcode.TEXT, b"{", mask=b"mask"), 4300),
]


@pytest.mark.parametrize("data, code", BROKEN)
def test_what_is_broken_gets_its_code(house: House, peer: Peer, data: bytes, code: int) -> None:
    peer.hello()
    peer.raw(data)
    assert peer.close_code() == code
    peer.sock.close()
    peer.settle()
    assert peer.carrier.answers == [None]
    assert (readers(house.fanout), house.loop.watches) == (0, [])


def test_what_was_ready_leaves_before_the_end(house: House, peer: Peer) -> None:
    peer.hello()
    peer.send(subscribe())
    peer.raw(
        b"".join(
            frames.frame(frames.Opcode.TEXT, json.dumps(each).encode(), mask=b"mask")
            for each in ({"type": "ping", "id": 5}, {"type": "bye"})
        )
    )
    pong, close = peer.events()
    assert isinstance(pong, frames.TextMessage) and json.loads(pong.data)["type"] == "pong"
    assert isinstance(close, frames.CloseFrame) and close.code == 4303


def test_a_newer_socket_replaces_the_older(house: House, peer: Peer) -> None:
    token = peer.hello()["token"]
    newer = Peer(house)
    newer.hello(token=token)
    assert peer.close_code() == 4005
    assert newer.carrier.answers == []
    newer.server.abandon()
    peer.server.abandon()


def test_the_watch_is_closed_before_the_socket(
    house: House, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_open: list[bool] = []
    close = FakeWatch.close

    def closing(watch: FakeWatch) -> None:
        was_open.append(watch.sock.fileno() >= 0)
        close(watch)

    monkeypatch.setattr(FakeWatch, "close", closing)
    peer.server.abandon()
    peer.server.abandon()
    assert was_open == [True]
    assert peer.ours.fileno() == -1


@pytest.mark.parametrize("broken", ["flush", "_read", "_ping"])
def test_an_error_in_a_callback_ends_this_connection_only(
    house: House, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    other, peer = Peer(house), Peer(house)
    for each in (other, peer):
        each.hello(instance=f"instance-{id(each)}")
        each.send(subscribe())
    _break(peer, broken)
    house.publish("news", "to both")
    peer.settle()
    if broken == "_read":
        peer.raw(frames.frame(frames.Opcode.TEXT, b'{"type":"ping","id":3}', mask=b"mask"))
    elif broken == "_ping":
        house.loop.advance(house.limits.hello_timeout + house.limits.ping_interval + 1)
    assert peer.carrier.answers == [None]
    assert "a connection failed" in caplog.text
    assert other.messages()[0]["publications"][0]["data"] == "to both"
    assert other.carrier.answers == []
    other.server.abandon()


def _break(peer: Peer, where: str) -> None:
    """Make one of the connection's parts fail as no part should."""
    if where == "flush":
        peer.server.wire = None  # type: ignore[assignment]
    elif where == "_read":
        peer.server._codec = None  # type: ignore[assignment]
    else:
        peer.server._heard = None  # type: ignore[assignment]
