"""Connections that hold no stack, on a loop whose time the test makes and on real socket pairs."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator

import pytest

from rtbridge.config import Limits
from rtbridge.server.connection import Connection, State
from support.fakeloop import FakeLoop


class House:
    """Answers `GET /now` at once, parks `GET /wait`, gives everything else away."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.limits = Limits()
        self.closing = False
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.given_away: list[tuple[socket.socket, bytes]] = []
        self.ended: list[Connection] = []
        self.late_ones: list[Connection] = []
        self.parked = Parked()

    def request(self, connection: Connection, head: bytes, received: bytes, start: int) -> int:
        path = head.split()[1]
        size = start + int(head.partition(b"Length: ")[2] or b"0")
        if path not in (b"/now", b"/wait"):
            self.strange(connection)
            return 0
        if size > len(received):
            return size
        self.heads.append(head)
        self.bodies.append(received[start:size])
        connection.take(size)
        if path == b"/now":
            connection.answer(b"<%d>" % len(self.heads), close=b"close" in head)
        else:
            connection.begin(self.parked)
        return 0

    def strange(self, connection: Connection) -> None:
        self.given_away.append(connection.detach())

    def late(self, connection: Connection) -> None:
        self.late_ones.append(connection)
        connection.answer(b"<late>", close=True)

    def gone(self, connection: Connection) -> None:
        self.ended.append(connection)


class Parked:
    """An exchange that notes what it is told, and answers when it is hurried."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def left(self, connection: Connection) -> None:
        self.told.append("left")
        connection.answer(b"<early>")

    def sent(self, connection: Connection) -> None:
        self.told.append("sent")

    def hurry(self, connection: Connection) -> None:
        self.told.append("hurry")
        connection.answer(b"<hurried>")


class Client:
    def __init__(self, house: House, loop: FakeLoop) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        theirs.setblocking(False)
        self.theirs = theirs
        self.loop = loop
        self.connection = Connection(house, theirs, b"", False)

    def send(self, data: bytes) -> bytes:
        self.sock.send(data)
        return self.read()

    def read(self) -> bytes:
        """What came; `EOF` at its end if the connection ended."""
        found = b""
        while True:
            more = self.loop.poll_sockets()
            self.loop.run()
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                if more:
                    continue
                return found
            except ConnectionResetError:
                return found + b"RST"
            if not data:
                return found + b"EOF"
            found += data


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    loop = FakeLoop()
    yield loop
    assert loop.errors == []


@pytest.fixture
def house(loop: FakeLoop) -> House:
    return House(loop)


@pytest.fixture
def client(house: House, loop: FakeLoop) -> Iterator[Client]:
    client = Client(house, loop)
    yield client
    client.sock.close()
    client.connection.close()
    for sock, _ in house.given_away:
        sock.close()


NOW = b"GET /now HTTP/1.1\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\n\r\n"


def test_one_after_the_other(client: Client) -> None:
    assert client.send(NOW) == b"<1>"
    assert client.send(NOW) == b"<2>"


def test_pipelined(client: Client, house: House) -> None:
    assert client.send(NOW * 500) == b"".join(b"<%d>" % n for n in range(1, 501))


def test_byte_by_byte(client: Client, house: House) -> None:
    for byte in NOW[:-1]:
        assert client.send(bytes([byte])) == b""
    assert client.send(NOW[-1:]) == b"<1>"
    assert house.heads == [NOW[:-4]]


def test_a_body_in_pieces(client: Client, house: House) -> None:
    assert client.send(b"POST /now HTTP/1.1\r\nLength: 10\r\n\r\n0123") == b""
    assert client.send(b"45678") == b""
    assert client.send(b"9" + NOW) == b"<1><2>"
    assert house.bodies == [b"0123456789", b""]


def test_bytes_after_a_close_are_not_answered(client: Client) -> None:
    assert client.send(b"GET /now HTTP/1.1\r\nclose\r\n\r\n" + NOW) == b"<1>EOF"


def test_given_away_with_all_that_came(client: Client, house: House) -> None:
    client.send(b"GET /page HTTP/1.1\r\n\r\nand more")
    assert house.given_away == [(client.theirs, b"GET /page HTTP/1.1\r\n\r\nand more")]
    assert client.connection.state is State.GONE
    assert client.loop.watches == []


def test_a_head_without_end_is_given_away(client: Client, house: House) -> None:
    for _ in range(20):
        client.send(b"GET /" + b"x" * 8_000)
    assert len(house.given_away) == 1
    assert len(house.given_away[0][1]) > 65_536


def test_parked_and_answered(client: Client, house: House) -> None:
    assert client.send(WAIT) == b""
    assert client.connection.exchange is house.parked
    client.connection.answer(b"<news>")
    assert client.read() == b"<news>"
    assert client.send(NOW) == b"<2>"


def test_what_is_pipelined_behind_a_parked_request_waits_for_its_turn(client: Client, house: House) -> None:
    client.send(WAIT + NOW)
    assert client.send(NOW) == b""
    client.connection.answer(b"<news>")
    assert client.read() == b"<news><2><3>"


def test_what_is_read_ahead_is_bounded(client: Client, house: House) -> None:
    client.send(WAIT)
    sent = 0
    for _ in range(2_000):
        try:
            sent += client.sock.send(NOW * 50)
        except BlockingIOError:
            break
        client.read()
    assert len(client.connection._received) <= 16_384 + 65_536
    assert sent > 100_000  # and the client is the one who has to wait
    client.connection.answer(b"<news>")
    answers = client.read()
    assert answers.startswith(b"<news><2><3>")
    client.sock.shutdown(socket.SHUT_WR)
    answers += client.read()
    assert answers.count(b"<") == len(house.heads)


def test_a_client_that_leaves_while_parked_is_noticed(client: Client, house: House) -> None:
    client.send(WAIT)
    client.sock.close()
    client.loop.poll_sockets()
    client.loop.run()
    assert house.parked.told == ["left"]
    assert house.ended == [client.connection]


def test_a_client_that_only_ended_its_sending_is_answered(client: Client, house: House) -> None:
    client.send(WAIT)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.read() == b"<early>EOF"


def test_a_client_that_ended_its_sending_may_read_on(client: Client, house: House) -> None:
    client.send(WAIT)
    client.connection.answer(b"x" * 10_000_000)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.read() == b"x" * 10_000_000 + b"EOF"


def test_a_client_that_reads_nothing_is_given_up(client: Client, house: House, loop: FakeLoop) -> None:
    client.send(WAIT)
    client.connection.answer(b"x" * 10_000_000)
    assert client.connection.deadline == loop.now() + house.limits.send_timeout
    client.connection.expire()
    assert house.ended == [client.connection]


def test_a_large_answer_arrives_whole_and_then_the_next_is_taken(client: Client, house: House) -> None:
    client.send(WAIT)
    client.connection.answer(b"x" * 10_000_000)
    client.sock.send(NOW)
    assert client.read() == b"x" * 10_000_000 + b"<2>"
    assert client.connection.deadline == client.loop.now() + house.limits.keep_alive


def test_the_exchange_is_told_when_a_piece_has_left(client: Client, house: House) -> None:
    client.send(WAIT)
    assert client.connection.send(b"small")
    assert not client.connection.send(b"x" * 10_000_000)
    assert house.parked.told == []
    assert client.read() == b"small" + b"x" * 10_000_000
    assert house.parked.told == ["sent"]
    assert client.connection.deadline == math.inf


def test_deadlines(client: Client, house: House, loop: FakeLoop) -> None:
    limits, connection = house.limits, client.connection
    assert connection.deadline == loop.now() + limits.keep_alive
    client.send(b"POST /now HTTP/1.1\r\n")
    first = loop.now()
    assert connection.deadline == first + limits.head_timeout
    loop.advance(3)
    client.send(b"Length: 2\r\n\r\n1")
    assert connection.deadline == loop.now() + limits.body_timeout
    assert client.send(b"2") == b"<1>"
    assert connection.deadline == loop.now() + limits.keep_alive


def test_a_slow_head_is_given_up_however_it_drips(client: Client, house: House, loop: FakeLoop) -> None:
    client.send(b"G")
    deadline = client.connection.deadline
    for byte in b"ET /now":
        loop.advance(1)
        client.send(bytes([byte]))
    assert client.connection.deadline == deadline
    client.connection.expire()
    assert client.read() == b"EOF"


def test_a_slow_body_is_told(client: Client, house: House) -> None:
    client.send(b"POST /now HTTP/1.1\r\nLength: 2\r\n\r\n1")
    client.connection.expire()
    assert client.read() == b"<late>EOF"


def test_who_is_parked_too_long_is_hurried(client: Client, house: House) -> None:
    client.send(WAIT)
    client.connection.expire()
    assert client.read() == b"<hurried>"
    assert client.send(NOW) == b"<2>"


def test_the_last_answer_of_a_stopping_server(client: Client, house: House) -> None:
    client.send(WAIT)
    house.closing = True
    client.connection.no_more()
    assert client.read() == b""
    client.connection.answer(b"<last>")
    assert client.read() == b"<last>EOF"


def test_no_more(client: Client, house: House, loop: FakeLoop) -> None:
    client.connection.no_more()
    assert client.connection.deadline < loop.now() + 1  # it has only just come
    assert client.send(NOW) == b"<1>"
    client.connection.no_more()
    assert client.read() == b"EOF"


def test_an_error_of_the_house_ends_one_connection(house: House, loop: FakeLoop) -> None:
    one, other = Client(house, loop), Client(house, loop)
    assert one.send(b"GET\r\n\r\n").endswith(b"EOF")
    assert other.send(NOW) == b"<1>"
    for client in (one, other):
        client.sock.close()
        client.connection.close()


def test_the_last_words_are_read_although_the_client_went_on_sending(client: Client) -> None:
    """Closing over unread bytes would reset the connection, and the answer could be lost with it."""
    client.sock.send(b"GET /now HTTP/1.1\r\nclose\r\n\r\n" + b"x" * 50_000)
    client.loop.poll_sockets()
    client.loop.run()
    client.sock.send(b"y" * 50_000)
    assert client.read() == b"<1>EOF"
