"""Live groups: who stands in one, who leaves it and comes back, and that nobody misses or gets anything twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rtbridge.bus.contract import History
from rtbridge.config import Limits
from rtbridge.protocol.codecs import JSON
from rtbridge.session import live
from rtbridge.session.live import LOST, WORTH
from rtbridge.session.outlet import Wire
from rtbridge.session.session import Session
from support.house import House
from support.readers import readers

WIRE = Wire("test/live", JSON, lambda message: message + b"\n")
Message = dict[str, Any]


class Socket:
    """A sink that takes as many bytes as it has room for; None is any number."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.broken = False
        self.taken = b""
        self.sends = 0

    def send(self, data: bytes | memoryview, /) -> int:
        self.sends += 1
        if self.broken:
            raise ConnectionResetError
        size = len(data) if self.room is None else min(self.room, len(data))
        if not size and data:
            raise BlockingIOError
        self.room = None if self.room is None else self.room - size
        self.taken += bytes(data[:size])
        return size


class Client:
    """A live outlet over a `Socket`, as WebSocket is one, with its peer's eyes."""

    transport = "websocket"
    wire = WIRE
    weight = 1

    def __init__(self, house: House, name: str) -> None:
        self.house = house
        self.sock = Socket()
        self.session = Session(house.services, self, {})
        self.unsent: bytes = b""
        self.ended = False
        self._due = False
        self.send({"type": "hello", "id": 1, "version": 1, "instance": f"instance-{name}"})

    def due(self) -> None:
        if not self._due and not self.unsent and not self.ended:
            self._due = True
            self.house.services.flusher.add(self)

    def flush(self) -> None:
        self._due = False
        if self.unsent or self.ended:
            return
        pieces = self.session.collect(65_536)
        if pieces and not self._put(b"".join(pieces)):
            return
        if self.session.more:
            self.due()
        else:
            self.session.settle(self.sock)

    def _put(self, data: bytes) -> bool:
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = LOST
        if sent == len(data):
            return True
        self.hold(data, sent)
        return False

    def hold(self, data: bytes, sent: int) -> None:
        if sent == LOST:
            self.abandon()
            return
        self.unsent = data[sent:]
        self.session.rest()

    def drain(self, room: int | None) -> None:
        """The peer reads, so that there is room."""
        self.sock.room = room
        if self.unsent:
            data, self.unsent = self.unsent, b""
            if self._put(data):
                self.session.wake()
                self.flush()
        self.house.loop.run()

    def abandon(self) -> None:
        self.ended = True
        self.session.close()

    def run(self, job: Callable[[], None]) -> None:
        self.house.loop.spawn(job)

    def finish(self, code: int, message: str, retry_after: float | None) -> None:
        self.ended = True

    def send(self, *commands: Message) -> list[Message]:
        self.session.receive(commands)
        return self.read()

    def subscribe(self, channel: str, **fields: Any) -> Message:
        messages = self.send({"type": "subscribe", "id": 2, "channel": channel, **fields})
        (reply,) = [each for each in messages if each["type"] == "subscribed"]
        return reply

    def read(self) -> list[Message]:
        """The whole messages that came since the last look."""
        self.house.loop.run()
        *lines, self.sock.taken = self.sock.taken.split(b"\n")
        return [json.loads(line) for line in lines]

    def got(self, channel: str) -> list[int]:
        """The offsets in the pushes that came since the last look."""
        pushes = [
            each for each in self.read() if each["type"] == "publications" and each["channel"] == channel
        ]
        return [publication["offset"] for push in pushes for publication in push["publications"]]


def make_house(**limits: Any) -> House:
    house = House(Limits(**limits))
    house.channel("news", public=True, keep=History(1000, ttl=3600))
    house.channel("sport", public=True, keep=History(1000, ttl=3600))
    house.channel("price", public=True, keep="latest")
    house.channel("typing", public=True, keep="volatile")
    return house


@pytest.fixture
def house() -> House:
    return make_house()


def crowd(house: House, count: int = WORTH + 2, channel: str = "news") -> list[Client]:
    """Clients that stand together: they joined, heard something each, and have caught up."""
    clients = [Client(house, str(number)) for number in range(count)]
    for client in clients:
        client.subscribe(channel)
    house.publish(channel, "first")
    for client in clients:
        assert client.got(channel) == [1]
    return clients


def groups(house: House) -> list[int]:
    return [len(group.members) for several in house.services.live._groups.values() for group in several]


def readers_told(house: House, channel: str = "news") -> int:
    return len(house.fanout._channels[channel].readers)


def test_the_many_are_one_reader(house: House) -> None:
    clients = crowd(house)
    assert groups(house) == [len(clients)]
    assert readers_told(house) == 1
    for _ in range(3):
        house.publish("news", "more")
    before = [client.sock.sends for client in clients]
    assert [client.got("news") for client in clients] == [[2, 3, 4]] * len(clients)
    assert [client.sock.sends - was for client, was in zip(clients, before, strict=True)] == [1] * len(
        clients
    )
    assert house.metrics.snapshot()["deliveries"] == 4 * len(clients)


def test_who_comes_back_gets_what_is_his_and_is_encoded_once(house: House) -> None:
    for number in range(4):
        house.publish("news", f"news {number}")
        house.publish("sport", f"sport {number}")
    epochs = {
        name: Client(house, name).subscribe(name)["position"].partition(".")[0] for name in ("news", "sport")
    }
    clients = [Client(house, f"back-{number}") for number in range(12)]
    encoded = house.services.encoder

    def expected(channel: str, after: int, newest: int) -> list[tuple[int, str]]:
        return [(number + 1, f"{channel} {number}") for number in range(after, newest)]

    for round_, newest in enumerate([4, 5]):
        for number, client in enumerate(clients):
            channel, after, command_id = ("news", "sport")[number // 6], number % 2, number % 3 + 2
            if round_:
                client.send({"type": "unsubscribe", "id": 9, "channel": channel})
            position = f"{epochs[channel]}.{after}"
            replies = client.send(
                {"type": "subscribe", "id": command_id, "channel": channel, "position": position}
            )
            (reply,) = [each for each in replies if each["type"] == "subscribed"]
            assert (reply["id"], reply["channel"], reply["recovered"]) == (command_id, channel, True)
            assert reply["position"] == f"{epochs[channel]}.{newest}"
            assert [(each["offset"], each["data"]) for each in reply["publications"]] == expected(
                channel, after, newest
            )
        assert len(encoded._replies) == 1
        house.publish("news", "news 4")
        house.publish("sport", "sport 4")
        for client in clients:
            client.read()


def test_those_who_come_back_from_the_same_place_share_the_reply(house: House) -> None:
    for number in range(3):
        house.publish("news", number)
    epoch = Client(house, "first").subscribe("news")["position"].partition(".")[0]
    made = []
    for name in ("ada", "bob"):
        reply = Client(house, name).subscribe("news", position=f"{epoch}.0")
        assert len(reply["publications"]) == 3
        made.append(house.services.encoder._replies[WIRE.name][2])
    assert made[0] is made[1]


def test_a_few_stand_alone(house: House) -> None:
    crowd(house, WORTH - 1)
    assert groups(house) == [] and readers_told(house) == WORTH - 1


@pytest.mark.parametrize("room", [0, 1, 40])
def test_who_does_not_take_it_all_leaves_and_comes_back(house: House, room: int) -> None:
    slow, *others = crowd(house)
    slow.sock.room = room
    house.publish("news", "too much")
    assert all(client.got("news") == [2] for client in others)
    assert groups(house) == [len(others)]
    for _ in range(5):
        house.publish("news", "meanwhile")
    sends = slow.sock.sends
    assert all(client.got("news") == [3, 4, 5, 6, 7] for client in others)
    assert slow.sock.sends == sends, "who is full is not even tried"
    slow.drain(None)
    assert slow.got("news") == [2, 3, 4, 5, 6, 7]
    assert groups(house) == [len(others) + 1]
    house.publish("news", "together again")
    assert [client.got("news") for client in (slow, *others)] == [[8]] * (len(others) + 1)


def test_a_full_socket_leaves_the_groups_of_all_its_channels(house: House) -> None:
    slow, *others = crowd(house)
    for client in (slow, *others):
        client.subscribe("sport")
    house.publish("sport", "kick-off")
    for client in (slow, *others):
        client.read()
    assert groups(house) == [len(others) + 1] * 2
    slow.sock.room = 0
    house.publish("news", "too much")
    house.loop.run()
    house.publish("sport", "goal")
    house.loop.run()
    assert groups(house) == [len(others)] * 2
    slow.drain(None)
    pushes = [(push["channel"], push["publications"][0]["offset"]) for push in slow.read()]
    assert sorted(pushes) == [("news", 2), ("sport", 2)]


def test_a_broken_socket_ends_alone(house: House) -> None:
    broken, *others = crowd(house)
    broken.sock.broken = True
    house.publish("news", "on")
    assert all(client.got("news") == [2] for client in others)
    assert broken.ended and groups(house) == [len(others)]


def test_who_unsubscribes_gets_nothing_any_more(house: House) -> None:
    leaver, *others = crowd(house)
    house.publish("news", "just before")
    (reply,) = [
        each
        for each in leaver.send({"type": "unsubscribe", "id": 9, "channel": "news"})
        if each.get("id") == 9
    ]
    assert reply["type"] == "unsubscribed"
    house.publish("news", "after")
    assert leaver.got("news") == []
    assert all(client.got("news") == [2, 3] for client in others)


def test_when_all_have_left_nothing_is_kept(house: House) -> None:
    clients = crowd(house)
    house.publish("news", "unflushed")
    for client in clients:
        client.session.close()
    house.loop.run()
    assert house.services.live._groups == {}
    assert readers(house.fanout) == 0


def test_a_group_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SIZE", 3)
    clients = crowd(house, 8)
    house.publish("news", "second")
    assert all(client.got("news") == [2] for client in clients)
    assert sorted(groups(house)) == [2, 3, 3]


def test_a_newcomer_waits_for_the_group_to_be_where_it_is(house: House) -> None:
    clients = crowd(house)
    newcomer = Client(house, "new")
    newcomer.subscribe("news")
    house.publish("news", "second")
    assert [client.got("news") for client in (*clients, newcomer)] == [[2]] * (len(clients) + 1)
    assert groups(house) == [len(clients) + 1]


def test_what_the_tail_no_longer_holds_is_read_by_each_alone() -> None:
    house = make_house(tail_publications=3)
    clients = crowd(house)
    tail = house.fanout.tail("news")
    assert tail is not None
    for _ in range(10):
        house.publish("news", "a burst")
    assert [client.got("news") for client in clients] == [list(range(2, 12))] * len(clients)


def test_a_large_burst_leaves_in_pieces(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST", 5_000)
    clients = crowd(house)
    for _ in range(10):
        house.publish("news", "x" * 2_000)
    assert [client.got("news") for client in clients] == [list(range(2, 12))] * len(clients)
    assert groups(house) == [len(clients)]


@pytest.mark.parametrize("channel", ["price", "typing"])
def test_channels_that_keep_less(house: House, channel: str) -> None:
    clients = crowd(house, channel=channel)
    assert groups(house) == [len(clients)]
    house.publish(channel, "second")
    house.publish(channel, "third")
    expected = [3] if channel == "price" else [2, 3]
    assert [client.got(channel) for client in clients] == [expected] * len(clients)


class Crowd(RuleBasedStateMachine):
    """Any number of sockets that take what they like: each has every publication once, or hears of a gap."""

    def __init__(self) -> None:
        super().__init__()
        self.house = make_house(tail_publications=4, page_publications=3)
        self.house.channel("short", public=True, keep=History(5, ttl=3600))
        self.published = {"news": 0, "short": 0}
        self.clients: list[Client] = []
        self.at: dict[tuple[int, str], int] = {}
        self.slow: set[int] = set()

    def _read(self, number: int) -> None:
        for message in self.clients[number].read():
            channel = message.get("channel")
            if message["type"] == "subscribed" or message["type"] == "gap":
                self.at[number, channel] = int(message["position"].rpartition(".")[2])
            elif message["type"] == "unsubscribed":
                del self.at[number, channel]
            elif message["type"] == "publications":
                offsets = [each["offset"] for each in message["publications"]]
                at = self.at[number, channel]
                assert offsets == list(range(at + 1, at + 1 + len(offsets))), (at, offsets)
                self.at[number, channel] = offsets[-1]

    def _pick(self, number: int) -> int | None:
        return number % len(self.clients) if self.clients else None

    @rule(channels=st.sampled_from([("news",), ("short",), ("news", "short")]))
    def come(self, channels: tuple[str, ...]) -> None:
        if len(self.clients) < 9:
            client = Client(self.house, str(len(self.clients)))
            self.clients.append(client)
            for channel in channels:
                client.session.receive([{"type": "subscribe", "id": 2, "channel": channel}])
            self._read(len(self.clients) - 1)

    @rule(channel=st.sampled_from(["news", "short"]), count=st.integers(1, 8), turns=st.booleans())
    def publish(self, channel: str, count: int, turns: bool) -> None:
        for _ in range(count):
            self.published[channel] += 1
            self.house.publish(channel, self.published[channel])
            if turns:
                self.house.loop.run()
        self.house.loop.run()

    @rule(number=st.integers(0, 20), room=st.integers(0, 200))
    def fill(self, number: int, room: int) -> None:
        picked = self._pick(number)
        if picked is not None:
            self.slow.add(picked)
            self.clients[picked].sock.room = room

    @rule(number=st.integers(0, 20), room=st.none() | st.integers(1, 300))
    def drain(self, number: int, room: int | None) -> None:
        picked = self._pick(number)
        if picked is not None:
            self.clients[picked].drain(room)
            self._read(picked)
            if room is None:
                self.slow.discard(picked)
            else:
                self.slow.add(picked)

    @rule(number=st.integers(0, 20), channel=st.sampled_from(["news", "short"]))
    def unsubscribe(self, number: int, channel: str) -> None:
        picked = self._pick(number)
        if picked is not None and picked not in self.slow and (picked, channel) in self.at:
            self.clients[picked].session.receive([{"type": "unsubscribe", "id": 3, "channel": channel}])
            self._read(picked)
            assert (picked, channel) not in self.at

    @rule(number=st.integers(0, 20))
    def ask_something(self, number: int) -> None:
        picked = self._pick(number)
        if picked is not None:
            self.clients[picked].session.receive([{"type": "ping", "id": 4}])
            self.house.loop.run()

    @invariant()
    def who_is_not_slow_has_everything(self) -> None:
        for (number, channel), at in list(self.at.items()):
            if number not in self.slow:
                self._read(number)
                at = self.at[number, channel]
                assert at == self.published[channel], (number, channel)

    def teardown(self) -> None:
        for number, client in enumerate(self.clients):
            client.drain(None)
            self._read(number)
        for (_, channel), at in self.at.items():
            assert at == self.published[channel]
        for client in self.clients:
            client.abandon()
        assert readers(self.house.fanout) == 0 and self.house.services.live._groups == {}
        assert self.house.loop.errors == []


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
