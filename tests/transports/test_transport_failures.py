"""An error of ours in the middle of a request ends that request: whoever carries it must not wait for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rtbridge.protocol.codecs import JSON
from rtbridge.session.session import Session
from rtbridge.transports import onechannel
from rtbridge.transports.eventstream import EventStream
from rtbridge.transports.longpoll import LongPoll
from rtbridge.transports.onechannel import ChannelPoll, ChannelStream, Question
from rtbridge.transports.shortpoll import ShortPoll
from support.carrier import StubCarrier
from support.house import House
from support.readers import readers

COMMANDS = [
    {"type": "hello", "id": 1, "version": 1, "instance": "instance-1"},
    {"type": "subscribe", "channel": "news"},
]


def broken(*_: object, **__: object) -> Any:
    raise RuntimeError("a bug")


@pytest.fixture
def house() -> House:
    house = House()
    house.channel("news", public=True)
    return house


@pytest.mark.parametrize(
    "make",
    [
        lambda house, carrier: ShortPoll(house.services, {}, JSON, carrier),
        lambda house, carrier: LongPoll(house.services, {}, JSON, carrier, 25.0),
        lambda house, carrier: EventStream(house.services, {}, JSON, carrier),
    ],
    ids=["shortpoll", "longpoll", "eventstream"],
)
def test_a_session_that_cannot_be_collected(
    house: House, make: Callable[[House, StubCarrier], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = StubCarrier(house.loop)
    transport = make(house, carrier)
    monkeypatch.setattr(Session, "collect", broken)
    transport.start(COMMANDS)
    if isinstance(transport, EventStream):
        transport.ready()
    house.loop.run()
    assert carrier.answers == [None]
    assert readers(house.fanout) == 0


@pytest.mark.parametrize("transport", [ChannelPoll, ChannelStream])
def test_a_channel_that_cannot_be_read(
    house: House, transport: type[ChannelPoll | ChannelStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = StubCarrier(house.loop)
    found = house.registry.channel_for("news")
    assert found is not None
    question = Question("news", found[0], None, 0, 25.0)
    if transport is ChannelPoll:
        asked: ChannelPoll | ChannelStream = ChannelPoll(house.services, question, JSON, carrier)
    else:
        asked = ChannelStream(house.services, question, carrier)
    asked.start()
    if isinstance(asked, ChannelStream):
        asked.ready()
        assert len(carrier.take()) == 1
        asked.ready()
    monkeypatch.setattr(onechannel, "pull", broken)
    house.publish("news", 1)
    house.loop.run()
    assert carrier.answers == [None]
    assert readers(house.fanout) == 0
