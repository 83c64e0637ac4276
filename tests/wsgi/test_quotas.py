"""Quotas over HTTP: 429, and when to come again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rtbridge import Bridge, Limits, RealtimeMiddleware
from support.inprocess import HELLO, Client, close, subscribe


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    limits = Limits(
        rate_burst=2.0, address_bytes=100.0, address_subscribes=1.0, user_subscribes=1.0, session_calls=0.5
    )
    rt = Bridge(lock_file=tmp_path / "lock", limits=limits, authenticate=lambda environ: "ann", proxies=1)
    rt.channel("club").authorize(lambda ctx: True)
    rt.channel("news", public=True)
    rt.channel("rooms/{name}", public=True)
    rt.call("add")(lambda ctx: 1)
    yield Client(RealtimeMiddleware(lambda environ, start_response: [], rt))
    close(rt)


def test_an_address_that_sends_too_much(client: Client) -> None:
    commands = {"wait": 0, "commands": [HELLO]}
    for _ in range(5):
        answer = client.post("/rt/poll", commands, X_Forwarded_For="8.8.8.8")
        if answer.status != 200:
            break
    assert answer.status == 429
    error = answer.json()["error"]
    assert error["reason"] == "too_many" and error["retry_after"] > 0
    assert int(answer.headers["retry-after"]) >= error["retry_after"]
    assert client.post("/rt/poll", commands, X_Forwarded_For="1.1.1.1").status == 200


def test_gets_that_have_to_be_authorised(client: Client) -> None:
    statuses = [
        client.get("/rt/channels/club", X_Forwarded_For=f"8.8.8.{number}").status for number in range(4)
    ]
    assert statuses == [200, 200, 429, 429]
    assert client.get("/rt/channels/news", X_Forwarded_For="8.8.8.8").status == 200


def test_gets_of_ever_new_public_channels(client: Client) -> None:
    """Their names are the client's to choose, and each is watched, and begins a log on the bus."""

    def get(name: str) -> int:
        return client.get(f"/rt/channels/rooms/{name}", X_Forwarded_For="8.8.8.8").status

    assert [get(name) for name in "abcd"] == [200, 200, 429, 429]
    assert [get("a") for _ in range(10)] == [200] * 10, "what is here costs nothing"


def test_a_get_with_its_token_costs_nothing(client: Client) -> None:
    token = client.get("/rt/channels/club").headers["rtbridge-token"]
    for _ in range(10):
        assert client.get("/rt/channels/club", Rtbridge_Token=token).status == 200


def test_a_call_in_a_poll(client: Client) -> None:
    call = {"type": "call", "id": 7, "call_id": "call-0001", "name": "add"}
    messages = client.poll(HELLO, call, {**call, "id": 8, "call_id": "call-0002"}, subscribe("news"))[
        "messages"
    ]
    told = {message.get("id"): message for message in messages}
    assert told[7]["type"] == "result"
    assert (told[8]["code"], told[8]["retry_after"]) == (201, 2.0)
