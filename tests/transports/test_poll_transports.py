"""Short poll, long poll and event stream by POST: when they answer, when they expire, what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rtbridge.bus.contract import History
from rtbridge.config import Limits
from rtbridge.protocol.codecs import JSON
from rtbridge.transports.eventstream import EventStream
from rtbridge.transports.longpoll import LongPoll
from rtbridge.transports.shortpoll import ShortPoll
from support.carrier import StubCarrier
from support.house import House
from support.readers import readers

HELLO = {"type": "hello", "id": 1, "version": 1, "instance": "instance-1"}
Message = dict[str, Any]


def make_house(limits: Limits | None = None) -> House:
    house = House(limits)
    house.channel("news", public=True, keep=History(1000, ttl=3600))
    house.channel("photos", public=True, keep=History(1000, ttl=3600))
    house.call("add", lambda ctx, a, b: a + b)
    return house


@pytest.fixture
def house() -> House:
    return make_house()


def subscribe(channel: str = "news", **fields: Any) -> Message:
    return {"type": "subscribe", "channel": channel, **fields}


def call(**params: Any) -> Message:
    return {"type": "call", "id": 9, "call_id": "call-id-1", "name": "add", "params": params}


def short_poll(house: House, *commands: Message, interval: float | None = None) -> Any:
    carrier = StubCarrier(house.loop)
    ShortPoll(house.services, {}, JSON, carrier, interval).start([HELLO, *commands])
    house.loop.run()
    return json.loads(carrier.answer)


def long_poll(house: House, *commands: object, wait: float = 25.0) -> tuple[LongPoll, StubCarrier]:
    carrier = StubCarrier(house.loop)
    poll = LongPoll(house.services, {}, JSON, carrier, wait)
    poll.start(commands)
    house.loop.run()
    return poll, carrier


def types(answer: bytes) -> list[str]:
    return [message["type"] for message in json.loads(answer)["messages"]]


# ---- short poll


def test_a_short_poll_answers_at_once(house: House) -> None:
    position = house.publish("news", 1)
    answer = short_poll(house, subscribe(position=str(position)))
    assert [message["type"] for message in answer["messages"]] == ["hello"]
    assert "interval" not in answer
    assert readers(house.fanout) == 0


def test_a_short_poll_waits_for_what_was_asked(house: House) -> None:
    """For the reply of a call, that is, which runs on the carrier; not for news."""
    carrier = StubCarrier(house.loop)
    ShortPoll(house.services, {}, JSON, carrier).start([HELLO, call(a=1, b=2)])
    house.loop.run_calls()
    assert carrier.answers == []
    house.loop.run()
    assert types(carrier.answer) == ["hello", "result"]


def test_the_advised_interval_is_in_the_answer(house: House) -> None:
    assert short_poll(house, interval=5.0)["interval"] == 5.0


def test_a_short_poll_catches_up_from_below_the_tail(house: House) -> None:
    """The first publications have left the tail; the page from the bus comes in this very answer."""
    start = house.publish("news", 0)
    count = house.limits.tail_prime + 50
    for value in range(1, count):
        house.publish("news", value)
    answer = short_poll(house, subscribe(position=str(start)))
    got = [
        each["data"] for m in answer["messages"] if m["type"] == "publications" for each in m["publications"]
    ]
    assert got == list(range(1, count))


def test_what_does_not_fit_one_answer_is_asked_for_at_once() -> None:
    house = make_house(Limits(page_bytes=1_000))
    starts = {channel: house.publish(channel, "start") for channel in ("news", "photos")}
    for channel in starts:
        for _ in range(30):
            house.publish(channel, "x" * 100)
    cursors = {channel: str(position) for channel, position in starts.items()}
    got = dict.fromkeys(cursors, 0)
    for _ in range(40):
        commands = [subscribe(channel, position=position) for channel, position in cursors.items()]
        answer = short_poll(house, *commands, interval=5.0)
        for message in answer["messages"]:
            if message["type"] == "publications":
                cursors[message["channel"]] = message["position"]
                got[message["channel"]] += len(message["publications"])
        if answer["interval"] > 0:
            break
    assert got == {"news": 30, "photos": 30}


def test_bye_in_a_poll_is_its_last_word(house: House) -> None:
    answer = short_poll(house, {"type": "bye"}, {"type": "ping", "id": 3})
    assert [message["type"] for message in answer["messages"]] == ["hello", "disconnect"]
    assert answer["messages"][1]["code"] == 4303


def test_an_aborted_poll_leaves_nothing_and_answers_nothing_more(house: House) -> None:
    poll, carrier = long_poll(house, HELLO, subscribe())
    assert readers(house.fanout) == 1
    poll.abort()
    poll.abort()
    assert readers(house.fanout) == 0
    house.publish("news", 1)
    house.loop.advance(60)
    assert carrier.answers == [None]
    assert house.loop.errors == []


# ---- long poll


def test_a_long_poll_waits_for_news(house: House) -> None:
    _, carrier = long_poll(house, HELLO, subscribe())
    house.loop.advance(24)
    assert carrier.answers == []
    house.publish("news", "it came")
    house.loop.run()
    hello, push = json.loads(carrier.answer)["messages"]
    assert (hello["transport"], push["publications"][0]["data"]) == ("longpoll", "it came")
    assert readers(house.fanout) == 0


def test_a_long_poll_ends_with_its_time(house: House) -> None:
    _, carrier = long_poll(house, HELLO, subscribe(), wait=25.0)
    house.loop.advance(24.9)
    assert carrier.answers == []
    house.loop.advance(0.2)
    assert types(carrier.answer) == ["hello"]
    assert readers(house.fanout) == 0
    house.loop.advance(60)
    assert len(carrier.answers) == 1


@pytest.mark.parametrize(
    "commands",
    [
        [HELLO, subscribe(id=2)],  # a reply is news
        [HELLO, {"type": "ping", "id": 2}],
        [HELLO, subscribe("no/such")],  # so is a refusal
        [HELLO, {"type": "nonsense", "id": 2}],
        [subscribe(id=2)],  # without hello nothing can ever come
        [{**HELLO, "version": 9}],
        ["garbage"],
    ],
)
def test_a_long_poll_that_has_something_to_say_does_not_wait(house: House, commands: list[object]) -> None:
    _, carrier = long_poll(house, *commands)
    assert len(carrier.answers) == 1


def test_a_long_poll_hurries_when_its_client_leaves(house: House) -> None:
    poll, carrier = long_poll(house, HELLO, subscribe())
    poll.hurry()
    house.loop.run()
    assert types(carrier.answer) == ["hello"]


def test_many_publications_of_one_turn_come_in_one_answer(house: House) -> None:
    _, carrier = long_poll(house, HELLO, subscribe())
    for value in range(5):
        house.publish("news", value)
    house.loop.run()
    _, push = json.loads(carrier.answer)["messages"]
    assert [each["data"] for each in push["publications"]] == [0, 1, 2, 3, 4]


# ---- event stream


class Listener:
    """Reads an event stream; while it does not `take`, it is slow."""

    def __init__(self, house: House, *commands: object) -> None:
        self.house = house
        self.carrier = StubCarrier(house.loop)
        self.stream = EventStream(house.services, {}, JSON, self.carrier)
        self.stream.start(commands)
        house.loop.run()

    def take(self) -> list[Message] | None:
        """The messages of the next piece; [] while there is none, None at the end."""
        self.stream.ready()
        self.house.loop.run()
        return self.came()

    def came(self) -> list[Message] | None:
        pieces = self.carrier.take()
        if pieces == [None]:
            return None
        events = b"".join(pieces).split(b"\n\n")
        return [json.loads(event.removeprefix(b"data: ")) for event in events if event]


def test_a_stream_carries_messages_as_they_arise(house: House) -> None:
    listener = Listener(house, HELLO, subscribe(id=2))
    first = listener.take()
    assert first is not None and [message["type"] for message in first] == ["hello", "subscribed"]
    assert listener.take() == []
    house.publish("news", 1)
    house.loop.run()
    (push,) = listener.came() or []
    assert push["publications"][0]["data"] == 1


def test_nothing_is_gathered_for_a_slow_reader(house: House) -> None:
    listener = Listener(house, HELLO, subscribe(id=2))
    listener.take()
    for value in range(300):
        house.publish("news", value)
        house.loop.run()
    house.loop.advance(200)
    assert listener.carrier.answers == []
    assert (listener.stream._last_words, listener.stream._session.unsent) == (None, 0)
    got: list[object] = []
    while len(got) < 300:
        messages = listener.take()
        assert messages
        got += [each["data"] for m in messages if m["type"] == "publications" for each in m["publications"]]
    assert got == list(range(300))


def test_a_waiting_reader_is_pinged(house: House) -> None:
    listener = Listener(house, HELLO)
    listener.take()
    listener.take()
    house.loop.advance(house.limits.ping_interval)
    assert listener.came() == [{"type": "ping"}]


def test_a_stream_ends_with_its_session(house: House) -> None:
    listener = Listener(house, HELLO, {"type": "bye"})
    messages = listener.take()
    assert messages is not None and [message["type"] for message in messages] == ["hello", "disconnect"]
    assert listener.take() is None


def test_a_newer_stream_of_the_page_ends_the_older(house: House) -> None:
    token = (Listener(house, HELLO).take() or [])[0]["token"]
    older = Listener(house, {**HELLO, "token": token}, subscribe())
    older.take()
    Listener(house, {**HELLO, "token": token}, subscribe())
    (push,) = older.take() or []
    assert (push["type"], push["code"]) == ("disconnect", 4005)
    assert older.take() is None
    assert readers(house.fanout) == 1


def test_a_stream_without_hello_says_why_and_ends(house: House) -> None:
    """Nobody can send another command on it, so that it would be held open for nothing."""
    listener = Listener(house, subscribe(id=2))
    (error,) = listener.take() or []
    assert (error["type"], error["code"]) == ("error", 103)
    assert listener.take() is None


@pytest.mark.parametrize("end", [EventStream.close, EventStream.hang_up])
def test_a_closed_stream_leaves_nothing(house: House, end: Callable[[EventStream], None]) -> None:
    listener = Listener(house, HELLO, subscribe())
    listener.take()
    listener.take()
    end(listener.stream)
    end(listener.stream)
    assert readers(house.fanout) == 0
    house.publish("news", 1)
    house.loop.advance(200)
    assert listener.came() in (None, [])
    assert house.loop.timers.next() is None or not house.loop.errors
