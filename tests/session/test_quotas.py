"""Quotas: what a session, a user and an address may do, told with the time to come back, and bounded in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rtbridge.config import Limits
from rtbridge.errors import ProtocolError
from support.house import House, StubClient


def make_house(**limits: Any) -> House:
    house = House(Limits(rate_burst=2.0, **limits))
    for number in range(30):
        house.channel(f"c{number}", public=True)
    house.channel("closed/{name}").authorize(lambda ctx, name: True)
    house.call("add", lambda ctx, a: a)
    return house


def greeted(house: House, transport: str = "websocket", address: str = "", **environ: Any) -> StubClient:
    client = house.client(transport, {"rtbridge.address": address, **environ})
    client.hello(instance=f"instance-{id(client)}")
    return client


def call(number: int = 1) -> dict[str, Any]:
    return {
        "type": "call",
        "id": number + 10,
        "call_id": f"call-{number:05}",
        "name": "add",
        "params": {"a": 1},
    }


def subscribe(channel: str, **fields: Any) -> dict[str, Any]:
    return {"type": "subscribe", "id": 2, "channel": channel, **fields}


def calls(house: House, client: StubClient, count: int) -> list[dict[str, Any]]:
    found = [client.send(call(number))[0] for number in range(count)]
    house.loop.advance(0.0)
    return [reply for reply in found if reply["type"] == "error"]


def test_calls_of_one_session_have_a_rate_and_a_burst() -> None:
    house = make_house(session_calls=5.0)
    client = greeted(house)
    refused = calls(house, client, 12)
    assert len(refused) == 2
    assert (refused[0]["code"], refused[0]["reason"]) == (201, "too_many")
    assert refused[0]["retry_after"] == pytest.approx(0.2) and "session_calls" in refused[0]["message"]
    house.loop.advance(refused[0]["retry_after"])
    assert client.send(call(100))[0]["type"] == "result"
    assert client.send(call(101))[0]["type"] == "error"
    house.loop.advance(60)
    assert len(calls(house, client, 12)) == 2
    assert calls(house, greeted(house), 5) == [], "others are not hindered"
    assert house.metrics.snapshot()["quota_refusals"] == 5


def test_calls_of_one_user_over_all_its_tabs() -> None:
    house = make_house(user_calls=5.0)
    tabs = [greeted(house, USER="ann") for _ in range(4)]
    assert sum(len(calls(house, tab, 4)) for tab in tabs) == 6
    assert calls(house, greeted(house, USER="bob"), 4) == []


def test_calls_from_one_address() -> None:
    house = make_house(address_calls=5.0)
    clients = [greeted(house, address="203.0.113.7") for _ in range(4)]
    assert sum(len(calls(house, client, 4)) for client in clients) == 6
    assert calls(house, greeted(house, address="203.0.113.8"), 4) == []
    assert calls(house, greeted(house), 10) == [], "where nobody knows the address, it is not counted"


def test_what_is_refused_is_not_charged() -> None:
    house = make_house(session_calls=5.0, address_calls=1000.0)
    client = greeted(house, address="203.0.113.7")
    calls(house, client, 30)
    rate = house.services.quotas._calls[2]
    assert rate.tokens("203.0.113.7", house.loop.now()) == pytest.approx(2000.0 - 10)


def test_new_subscriptions_have_a_rate() -> None:
    house = make_house(session_subscribes=5.0)
    client = greeted(house)
    replies = client.send(*[subscribe(f"c{number}", id=number + 2) for number in range(12)])
    refused = [reply for reply in replies if reply["type"] == "error"]
    assert len(refused) == 2 and refused[0]["code"] == 201 and refused[0]["retry_after"] > 0
    (push,) = client.send({"type": "subscribe", "channel": "c20"})
    assert (push["type"], push["code"]) == ("unsubscribed", 201) and push["retry_after"] > 0


def test_polls_that_repeat_what_they_follow_are_not_counted() -> None:
    house = make_house(session_subscribes=1.0)
    first = house.client("longpoll")
    token = first.hello()["token"]
    for _ in range(20):
        poll = house.client("longpoll")
        poll.hello(token)
        assert poll.send({"type": "subscribe", "channel": "c1"}) == []
    # But what has to be authorised is.
    poll = house.client("longpoll")
    poll.hello(token)
    replies = poll.send(*[{"type": "subscribe", "channel": f"closed/{number}"} for number in range(5)])
    assert sum(reply["type"] == "unsubscribed" and reply["code"] == 201 for reply in replies) == 3


@pytest.mark.parametrize(
    ("scope", "environ"), [("user", {"USER": "ann"}), ("address", {"address": "203.0.113.7"})]
)
def test_channels_are_counted_over_all_connections(scope: str, environ: dict[str, str]) -> None:
    house = make_house(**{f"{scope}_channels": 5})
    clients = [greeted(house, **environ) for _ in range(3)]
    replies = [client.send(subscribe(f"c{n}", id=n + 2))[0] for client in clients for n in range(2)]
    assert [reply["type"] for reply in replies] == ["subscribed"] * 5 + ["error"]
    assert replies[-1]["code"] == 201 and replies[-1]["retry_after"] > 0
    clients[0].send({"type": "unsubscribe", "id": 9, "channel": "c0"})
    clients[1].session.close()
    assert clients[2].send(subscribe("c9"))[0]["type"] == "subscribed"
    for client in clients:
        client.session.close()
    assert house.services.quotas._channels == ({}, {}, {})


def test_bytes_run_into_debt_and_then_nothing_goes() -> None:
    house = make_house(session_bytes=100.0)
    client = greeted(house)
    client.session.receive([call(1)], 250)
    (refused,) = client.take()
    assert (refused["code"], refused["retry_after"]) == (201, 0.5)
    client.session.receive([subscribe("c1")], 50)
    (refused,) = client.take()
    assert refused["retry_after"] == 1.0
    house.loop.advance(1.0)
    assert client.send(call(2))[0]["type"] == "result"


def test_bytes_of_polls_are_their_sessions_too() -> None:
    house = make_house(session_bytes=100.0)
    client = house.client("shortpoll", {"rtbridge.size": 250})
    token = client.hello()["token"]
    again = house.client("shortpoll", {"rtbridge.size": 1})
    again.hello(token)
    (refused,) = again.send(call(1))
    assert refused["code"] == 201


def test_an_address_in_debt_may_not_post() -> None:
    house = make_house(address_bytes=100.0)
    quotas = house.services.quotas
    quotas.posted("203.0.113.7", 300)
    with pytest.raises(ProtocolError) as caught:
        quotas.posted("203.0.113.7", 1)
    assert (caught.value.code, caught.value.retry_after) == (201, 1.0)
    quotas.posted("203.0.113.8", 1)
    quotas.posted("", 10**9)
    quotas.posted("", 1)


def test_asking_by_get() -> None:
    house = make_house(user_subscribes=1.0)
    quotas = house.services.quotas
    quotas.ask("ann", "")
    quotas.ask("ann", "")
    with pytest.raises(ProtocolError):
        quotas.ask("ann", "")
    quotas.ask("bob", "")
    quotas.ask(None, "")


def test_zero_is_no_limit() -> None:
    house = make_house(
        session_calls=0, user_calls=0, address_calls=0, session_bytes=0, user_bytes=0, address_bytes=0
    )
    client = greeted(house, address="203.0.113.7", USER="ann")
    assert calls(house, client, 300) == []
    client.session.receive([call(1)], 10**9)
    assert client.take()[0]["type"] == "result"


def test_what_is_kept_is_bounded() -> None:
    house = make_house(rate_entries=50)
    for number in range(200):
        house.services.quotas.ask(f"user-{number}", f"203.0.113.{number}")
    assert [len(rate) for rate in house.services.quotas._subscribes] == [0, 50, 50]


def test_who_has_done_nothing_for_a_while_is_forgotten() -> None:
    house = make_house(rate_entries=50)
    for start in (0, 100):
        for number in range(start, start + 30):
            house.services.quotas.ask(f"user-{number}", f"203.0.113.{number}")
        assert [len(rate) for rate in house.services.quotas._subscribes] == [0, 30, 30]
        house.loop.advance(60)


def test_the_log_says_once_that_it_may_be_the_proxy(caplog: pytest.LogCaptureFixture) -> None:
    house = make_house(address_calls=1.0)
    calls(house, greeted(house, address="203.0.113.7"), 10)
    assert caplog.text.count("proxies=1") == 1
    assert json.dumps(house.metrics.snapshot())
