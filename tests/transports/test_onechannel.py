"""One channel by GET, on a fake loop: answers, waiting, streams, and nothing left behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rtbridge.bus.contract import History
from rtbridge.config import Limits
from rtbridge.errors import BusError, BusUnavailable
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.positions import Position
from rtbridge.transports.onechannel import ChannelPoll, ChannelStream, Question
from support.carrier import StubCarrier
from support.house import House
from support.readers import readers


def make_house(limits: Limits | None = None) -> House:
    house = House(limits)
    house.channel("news", public=True, keep=History(1000, ttl=3600))
    house.channel("typing", public=True, keep="volatile")
    return house


@pytest.fixture
def house() -> House:
    return make_house()


def question(
    house: House, after: Position | None = None, recent: int = 20, wait: float = 0.0, channel: str = "news"
) -> Question:
    found = house.registry.channel_for(channel)
    assert found is not None
    return Question(channel, found[0], after, recent, wait)


def poll(house: House, asked: Question) -> tuple[ChannelPoll, StubCarrier]:
    carrier = StubCarrier(house.loop)
    made = ChannelPoll(house.services, asked, JSON, carrier)
    made.start()
    house.loop.run()
    return made, carrier


def data(carrier: StubCarrier) -> list[Any]:
    return [each["data"] for each in json.loads(carrier.answer.body)["publications"]]


# ---- polls


def test_a_poll_answers_from_the_tail(house: House) -> None:
    start = house.publish("news", 0)
    house.publish("news", 1)
    _, carrier = poll(house, question(house, after=start))
    assert data(carrier) == [1]
    assert (carrier.answer.position, carrier.answer.recovered) == (Position(start.epoch, 2), True)


def test_a_poll_asks_the_bus_for_what_has_left_the_tail(house: House) -> None:
    start = house.publish("news", 0)
    count = house.limits.tail_prime + 50
    for value in range(1, count):
        house.publish("news", value)
    assert data(poll(house, question(house, after=start))[1]) == list(range(1, count))
    assert data(poll(house, question(house, recent=count))[1]) == list(range(count))


def test_a_parked_poll_ends_with_its_time_and_leaves_nothing(house: House) -> None:
    start = house.publish("news", 0)
    _, carrier = poll(house, question(house, after=start, wait=25.0))
    assert readers(house.fanout) == 1
    house.loop.advance(24.9)
    assert carrier.answers == []
    house.loop.advance(0.2)
    assert (data(carrier), carrier.answer.position, readers(house.fanout)) == ([], start, 0)


def test_a_parked_poll_is_answered_once(house: House) -> None:
    start = house.publish("news", 0)
    _, carrier = poll(house, question(house, after=start, wait=25.0))
    for value in range(3):
        house.publish("news", value)
    house.loop.run()
    house.publish("news", 3)
    house.loop.advance(60)
    assert data(carrier) == [0, 1, 2]
    assert readers(house.fanout) == 0


def test_hurrying_answers_with_what_there_is(house: House) -> None:
    made, carrier = poll(house, question(house, wait=25.0))
    made.hurry()
    house.loop.run()
    assert data(carrier) == []


def test_aborting_leaves_nothing(house: House) -> None:
    made, carrier = poll(house, question(house, wait=25.0))
    made.abort()
    made.abort()
    house.publish("news", 1)
    house.loop.advance(60)
    assert (carrier.answers, readers(house.fanout), house.loop.errors) == ([None], 0, [])


def test_a_volatile_channel_moves_on_without_a_gap(house: House) -> None:
    start = house.publish("typing", 0)
    _, carrier = poll(house, question(house, after=start, wait=25.0, channel="typing"))
    house.publish("typing", 1)
    house.loop.run()
    assert data(carrier) == [1]


def test_the_bus_out_of_reach_is_an_error(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BusUnavailable("it is away")

    monkeypatch.setattr(house.bus, "read", fail)
    _, carrier = poll(house, question(house))
    assert isinstance(carrier.answer, BusError) and readers(house.fanout) == 0


# ---- streams


class Reader:
    """Reads a stream of one channel; while it does not `take`, it is slow."""

    def __init__(self, house: House, asked: Question, **options: float) -> None:
        self.house = house
        self.carrier = StubCarrier(house.loop)
        self.stream = ChannelStream(house.services, asked, self.carrier, **options)
        self.stream.start()
        house.loop.run()

    def take(self) -> list[str] | None:
        """The events of the next piece; [] while there is none, None at the end."""
        self.stream.ready()
        self.house.loop.run()
        return self.came()

    def came(self) -> list[str] | None:
        pieces = self.carrier.take()
        if pieces == [None]:
            return None
        return b"".join(pieces).decode().split("\n\n")[:-1]


def test_a_stream_begins_with_its_position(house: House) -> None:
    start = house.publish("news", 0)
    reader = Reader(house, question(house, after=start))
    assert reader.take() == [f"id: {start}"]
    assert reader.take() == []
    house.publish("news", 1)
    house.loop.run()
    assert reader.came() == [f"id: {start.epoch}.2\ndata: 1"]


def test_nothing_is_gathered_for_a_slow_reader(house: House) -> None:
    start = house.publish("news", "start")
    reader = Reader(house, question(house, after=start))
    reader.take()
    for value in range(300):
        house.publish("news", value)
        house.loop.run()
    house.loop.advance(100)
    assert (reader.carrier.answers, reader.stream._pieces) == ([], [])
    got: list[str] = []
    while len(got) < 300:
        events = reader.take()
        assert events
        got += [event.rpartition("data: ")[2] for event in events if "data: " in event]
    assert got == [str(value) for value in range(300)]


def test_who_falls_off_the_log_is_told() -> None:
    house = make_house(Limits(tail_publications=5))
    house.channel("short", public=True, keep=History(5, ttl=3600))
    start = house.publish("short", "start")
    reader = Reader(house, question(house, after=start, channel="short"))
    reader.take()
    for value in range(20):
        house.publish("short", value)
        house.loop.run()
    events = reader.take()
    assert events is not None and [event.split("\n")[0] for event in events] == ["event: gap"]
    house.publish("short", "after it")
    house.loop.run()
    assert [event.rpartition("data: ")[2] for event in reader.take() or []] == ['"after it"']


def test_a_waiting_reader_gets_comments(house: House) -> None:
    reader = Reader(house, question(house))
    reader.take()
    reader.take()
    house.loop.advance(house.limits.ping_interval)
    assert reader.came() == [":"]


def test_a_stream_has_its_time(house: House) -> None:
    reader = Reader(house, question(house), life=60.0)
    reader.take()
    assert reader.take() == []
    house.loop.advance(59)
    while reader.carrier.answers:
        assert reader.came() is not None
        reader.take()
    house.loop.advance(2)
    assert reader.came() is None
    assert readers(house.fanout) == 0


@pytest.mark.parametrize("waits", [True, False])
def test_a_client_that_leaves_ends_it_whether_it_waits_or_is_written_to(house: House, waits: bool) -> None:
    reader = Reader(house, question(house))
    reader.take()
    if waits:
        reader.take()
    reader.stream.hang_up()
    assert readers(house.fanout) == 0
    house.publish("news", 1)
    house.loop.run()
    assert (reader.came() if waits else reader.take()) is None


def test_the_bus_out_of_reach_is_waited_for_once_it_began(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = house.publish("news", "start")
    count = house.limits.tail_prime + 10
    for value in range(count):
        house.publish("news", value)
    with monkeypatch.context() as patched:
        reader = Reader(house, question(house))
        reader.take()
        reader.take()
        read = house.bus.read

        def fail(*_: object) -> None:
            raise BusUnavailable("it is away")

        patched.setattr(house.bus, "read", fail)
        assert reader.stream._place is not None
        reader.stream._place.position = start  # as one that was slow for long
        reader.stream.news("news")
        house.loop.run()
        assert reader.came() == []
        patched.setattr(house.bus, "read", read)
        house.loop.advance(1.1)
        events = reader.came()
    assert events is not None and len(events) == count


def test_the_bus_out_of_reach_at_first_is_an_error(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BusUnavailable("it is away")

    monkeypatch.setattr(house.bus, "read", fail)
    reader = Reader(house, question(house))
    assert isinstance(reader.carrier.answer, BusError)
