"""`POST poll` through the middleware: one exchange, waiting, content types, origins, tokens, room to park."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware
from rtbridge.protocol.codecs import msgpack_codec
from rtbridge.runtime import ThreadLoop
from rtbridge.wsgi.carrier import Parking, RequestCarrier
from support.fakeloop import FakeLoop
from support.inprocess import HELLO, Answer, Background, Client, Joined, close, settle, subscribe
from support.needs import missing
from support.readers import readers


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    made: list[Bridge] = []

    def make(**options: Any) -> Bridge:
        bridge = Bridge(secret="of the tests", lock_file=tmp_path / "lock", **options)
        bridge.channel("news", public=True, keep=History(100))
        bridge.channel("slow", public=True, transport="shortpoll", every=7)

        @bridge.call("add")
        def add(ctx: Context, a: int, b: int) -> int:
            return a + b

        made.append(bridge)
        return bridge

    yield make
    for bridge in made:
        close(bridge)


@pytest.fixture
def bridge(make: Callable[..., Bridge]) -> Bridge:
    return make()


def client_of(bridge: Bridge, **environ: Any) -> Client:
    return Client(RealtimeMiddleware(lambda environ, start_response: [], bridge), **environ)


@pytest.fixture
def client(bridge: Bridge) -> Client:
    return client_of(bridge)


def types(answer: Mapping[str, Any]) -> list[str]:
    return [message["type"] for message in answer["messages"]]


def call(name: str = "add", **params: Any) -> dict[str, Any]:
    return {"type": "call", "id": 9, "call_id": "call-id-1", "name": name, "params": params}


# ---- one exchange


def test_hello_subscribe_and_call_in_one_exchange(bridge: Bridge, client: Client) -> None:
    bridge.publish("news", "old")
    answer = client.poll(HELLO, subscribe("news", recent=5, id=2), call(a=1, b=2))
    hello, subscribed, result = answer["messages"]
    assert hello["transport"] == "shortpoll"
    assert hello["offers"] == ["eventstream", "longpoll", "shortpoll"]  # there is no socket to be had here
    assert subscribed["publications"] == [{"offset": 1, "data": "old"}]
    assert result["data"] == 3
    assert "interval" not in answer


def test_nothing_of_it_is_kept_by_anybody(client: Client) -> None:
    answer = client.post("/rt/poll", {"commands": [HELLO]})
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["content-type"] == "application/json"


def test_commands_without_an_id_answer_only_when_there_is_something_to_say(
    bridge: Bridge, client: Client
) -> None:
    position = bridge.position("news")
    assert types(client.poll(HELLO, subscribe("news", position))) == ["hello"]
    assert types(client.poll(HELLO, subscribe("nothing"))) == ["hello", "unsubscribed"]
    bridge.publish("news", 1)
    settle(bridge)
    assert types(client.poll(HELLO, subscribe("news", position))) == ["hello", "publications"]
    assert types(client.poll(HELLO, subscribe("news", "other.1"))) == ["hello", "gap"]


def test_a_bad_command_has_its_own_error(client: Client) -> None:
    answer = client.poll(HELLO, {"type": "nonsense", "id": 2}, "garbage", call(a=1, b=2))
    assert types(answer) == ["hello", "error", "error", "result"]


def test_a_second_poll_goes_on_with_the_token(client: Client) -> None:
    first = client.poll(HELLO)["messages"][0]
    second = client.poll({**HELLO, "token": first["token"]})["messages"][0]
    assert (second["resumed"], second["client_id"]) == (True, first["client_id"])


def test_a_new_grant_comes_as_a_token_push(make: Callable[..., Bridge]) -> None:
    bridge = make(authenticate=lambda environ: environ.get("HTTP_AUTHORIZATION"))
    asked: list[str] = []
    club = bridge.channel("clubs/{name}")

    @club.authorize
    def members_only(ctx: Context, name: str) -> bool:
        asked.append(name)
        return bool(ctx.user == name)

    client = client_of(bridge)
    answer = client.poll(HELLO, subscribe("clubs/ann"), Authorization="ann")
    hello, push = answer["messages"]
    assert push["type"] == "token" and push["token"] != hello["token"] and push["expires_in"] > 0
    again = client.poll({**HELLO, "token": push["token"]}, subscribe("clubs/ann"), Authorization="ann")
    assert types(again) == ["hello"]
    assert asked == ["ann"]


def test_a_channel_below_this_transport_is_pointed_to(client: Client) -> None:
    (_, reply) = client.poll(HELLO, subscribe("slow", id=2))["messages"]
    assert "limit" not in reply
    with client.post(
        "/rt/poll", {"commands": [HELLO, subscribe("slow", id=2)]}, Accept="text/event-stream"
    ) as answer:
        pieces = b""
        while b'"limit"' not in pieces:
            pieces += answer.piece() or pytest.fail("the stream ended")
        assert b'"limit":{"transport":"shortpoll","every":7' in pieces


# ---- waiting


def test_a_parked_poll_is_woken_by_a_publish(bridge: Bridge, client: Client) -> None:
    joined = Joined(bridge)
    position = bridge.position("news")
    waiting = Background(lambda: client.poll(HELLO, subscribe("news", position), wait=10))
    joined.wait()
    assert not waiting.done
    bridge.publish("news", "at last")
    answer = waiting.result()
    assert types(answer) == ["hello", "publications"]
    assert answer["messages"][0]["transport"] == "longpoll"
    assert readers(bridge.services().fanout) == 0


def test_a_poll_that_waits_for_nothing_ends_with_its_time(bridge: Bridge, client: Client) -> None:
    assert types(client.poll(HELLO, subscribe("news"), wait=0.05)) == ["hello"]
    assert readers(bridge.services().fanout) == 0


def test_no_poll_is_held_longer_than_the_server_will(make: Callable[..., Bridge]) -> None:
    client = client_of(make(limits=Limits(poll_wait=0.05)))
    assert types(client.poll(HELLO, subscribe("news"), wait=3600)) == ["hello"]


def test_a_poll_with_an_answer_does_not_wait(client: Client) -> None:
    assert types(client.poll(HELLO, call(a=1, b=2), wait=3600)) == ["hello", "result"]


def test_a_bridge_without_long_polls_answers_at_once(make: Callable[..., Bridge]) -> None:
    answer = client_of(make(transports=["shortpoll"])).poll(HELLO, subscribe("news"), wait=3600)
    assert answer["interval"] == 5.0
    assert answer["messages"][0]["offers"] == ["shortpoll"]


# ---- what is refused


@pytest.mark.parametrize(
    "content_type, status",
    [
        ("application/json", 200), ("application/json; charset=utf-8", 200), ("Application/JSON", 200),
        ("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("multipart/form-data", 415),
        ("text/json", 415), ("application/jsonp", 415), ("", 415),
    ],
)  # fmt: skip
def test_content_types(client: Client, content_type: str, status: int) -> None:
    answer = client.ask(
        "POST", "/rt/poll", {"Content-Type": content_type}, json.dumps({"commands": [HELLO]}).encode()
    )
    assert answer.status == status


@pytest.mark.parametrize(
    "body, status, code",
    [
        (b"", 400, 100), (b"[]", 400, 100), (b"{}", 400, 100), (b'{"commands":{}}', 400, 100),
        (b'{"commands":[]}', 400, 100), (b'{"commands":[{}],"wait":"x"}', 400, 100),
        (b'{"commands":[{}],"wait":-1}', 400, 100), (b'{"commands":[{}],"wait":1e999}', 400, 100),
        (b'{"commands":[{}],"wait":NaN}', 400, 100), (b'{"commands":[{}],"wait":true}', 400, 100),
        (b"\xff", 400, 100), (b"[" * 100_000, 400, 100),
        (b'{"commands":[' + b"{}," * 300 + b"{}]}", 413, 108),
        (b" " * 2_000_000, 413, 108),
    ],
)  # fmt: skip
def test_bodies_that_are_no_poll(client: Client, body: bytes, status: int, code: int) -> None:
    answer = client.ask("POST", "/rt/poll", {"Content-Type": "application/json"}, body)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("length", ["x", "-1", "1.5", "٣", "9" * 16, "100"])
def test_a_body_of_another_length_than_said(bridge: Bridge, length: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": length}
    client = client_of(bridge, valid=False)  # the validator itself refuses most of these
    answer = client.ask("POST", "/rt/poll", headers, b'{"commands":[]}')
    assert (answer.status, answer.json()["error"]["code"]) == (400, 100)


# ---- other origins


@pytest.fixture
def friendly(make: Callable[..., Bridge]) -> Client:
    return client_of(make(allowed_origins=["https://app.example.com"]))


def asked_from(client: Client, origin: str, **headers: str) -> Answer:
    return client.post("/rt/poll", {"commands": [HELLO]}, Origin=origin, **headers)


def test_an_allowed_origin_may_read_the_answer(friendly: Client) -> None:
    answer = asked_from(friendly, "https://app.example.com")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    assert "Rtbridge-Token" in answer.headers["access-control-expose-headers"]


def test_it_may_also_read_why_it_failed(friendly: Client) -> None:
    answer = friendly.post("/rt/poll", {}, Origin="https://app.example.com")
    assert answer.status == 400
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"


def test_any_other_is_refused_and_told_nothing(friendly: Client) -> None:
    for origin in ("https://evil.example", "null", "https://app.example.com.evil.example"):
        answer = asked_from(friendly, origin)
        assert (answer.status, answer.json()["error"]["code"]) == (403, 112)
        assert "access-control-allow-origin" not in answer.headers
        assert "Origin" in answer.headers["vary"]


def test_the_own_origin_needs_no_permission(friendly: Client) -> None:
    answer = asked_from(friendly, "http://testserver")
    assert answer.status == 200 and "access-control-allow-origin" not in answer.headers


def test_a_preflight(friendly: Client) -> None:
    headers = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = friendly.ask("OPTIONS", "/rt/poll", headers)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"].lower()
    assert friendly.ask("OPTIONS", "/rt/poll", {**headers, "Origin": "https://evil.example"}).status == 403


def test_channels_too(friendly: Client) -> None:
    answer = friendly.get("/rt/channels/news", Origin="https://app.example.com")
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert friendly.get("/rt/channels/news", Origin="https://evil.example").status == 403
    assert friendly.get("/rt/channels/news", Sec_Fetch_Site="cross-site").status == 403
    assert friendly.get("/rt/channels/news", Sec_Fetch_Site="same-origin").status == 200


# ---- MessagePack


def test_msgpack_there_and_back(client: Client) -> None:
    codec = msgpack_codec()
    if codec is None:
        missing("msgpack is not installed")
    import msgpack

    packed = msgpack.packb({"commands": [HELLO, call(a=1, b=2)]})
    answer = client.ask("POST", "/rt/poll", {"Content-Type": "application/msgpack"}, packed)
    assert answer.headers["content-type"] == "application/msgpack"
    messages = msgpack.unpackb(answer.body)["messages"]
    assert [message["type"] for message in messages] == ["hello", "result"]
    in_json = client.ask(
        "POST", "/rt/poll", {"Content-Type": "application/msgpack", "Accept": "application/json"}, packed
    )
    assert types(in_json.json()) == ["hello", "result"]
    back = client.post("/rt/poll", {"commands": [HELLO]}, Accept="application/msgpack")
    assert msgpack.unpackb(back.body)["messages"][0]["type"] == "hello"


# ---- room to park


def test_a_server_with_one_thread_never_parks(bridge: Bridge) -> None:
    client = client_of(bridge, multithread=False)
    answer = client.poll(HELLO, subscribe("news"), wait=3600)
    assert answer["messages"][0]["offers"] == ["shortpoll"]
    assert answer["interval"] == 5.0
    refused = client.post("/rt/poll", {"commands": [HELLO]}, Accept="text/event-stream")
    assert (refused.status, refused.json()["error"]["code"]) == (501, 204)


def test_who_finds_no_room_is_answered_at_once_with_advice(bridge: Bridge) -> None:
    """Four threads of a pool: two may be parked."""
    client = client_of(bridge)
    joined = Joined(bridge)
    position = bridge.position("news")
    started = threading.Barrier(4)

    def start() -> None:
        started.wait(10)

    with ThreadPoolExecutor(4, thread_name_prefix="pool") as pool:
        for done in [pool.submit(start) for _ in range(4)]:
            done.result()
        parked = [pool.submit(client.poll, HELLO, subscribe("news", position), wait=10) for _ in range(2)]
        joined.wait()
        joined.wait()
        third = pool.submit(client.poll, HELLO, subscribe("news", position), wait=10).result(10)
        assert types(third) == ["hello"] and third["interval"] == 5.0
        bridge.publish("news", "woken")
        for each in parked:
            assert types(each.result(10)) == ["hello", "publications"]
        # Their places are free again.
        settle(bridge)
        again = pool.submit(client.poll, HELLO, subscribe("news", bridge.position("news")), wait=0.05).result(
            10
        )
        assert "interval" not in again


def take_in(name: str, parking: Parking) -> object:
    return Background(lambda: parking.take({"wsgi.multithread": True}), name=name).result()


@pytest.fixture
def loop() -> Iterator[ThreadLoop]:
    loop = ThreadLoop()
    yield loop
    loop.close()


def test_a_place_is_given_back_once(loop: ThreadLoop) -> None:
    parking = Parking(loop, Limits(parked_max=1))
    place = parking.take({"wsgi.multithread": True})
    assert place is not None and parking.take({"wsgi.multithread": True}) is None
    place.leave()
    place.leave()
    with parking.take({"wsgi.multithread": True}) or pytest.fail("there is no room"):
        assert parking.take({"wsgi.multithread": True}) is None
    assert parking.take({"wsgi.multithread": True}) is not None


def test_a_thread_for_each_connection_may_park_them_all(loop: ThreadLoop) -> None:
    parking = Parking(loop, Limits(parked_max=5))
    places = [take_in(f"Thread-{n} (process_request_thread)", parking) for n in range(6)]
    assert [place is not None for place in places] == [True] * 5 + [False]


def test_of_a_pool_a_share_may_park(loop: ThreadLoop) -> None:
    parking = Parking(loop, Limits(parked_share=0.5))
    stop = threading.Event()
    others = [Background(lambda: stop.wait(10), name=f"waitress-{n}") for n in range(7)]
    places = [take_in("waitress-7", parking) for _ in range(5)]
    stop.set()
    for other in others:
        other.result()
    assert [place is not None for place in places] == [True] * 4 + [False]


def test_a_pool_of_one_may_park_it(loop: ThreadLoop) -> None:
    parking = Parking(loop, Limits())
    assert take_in("single-0", parking) is not None
    assert take_in("single-0", parking) is None


def test_greenlets_are_not_counted() -> None:
    parking = Parking(FakeLoop(), Limits(parked_max=1))
    assert all(parking.take({}) is not None for _ in range(10))
    assert parking.may_ever_park({})


def test_a_carrier_runs_jobs_until_there_is_an_answer(loop: ThreadLoop) -> None:
    carrier = RequestCarrier(loop)
    ran: list[int] = []
    for number in range(3):
        carrier.run(lambda number=number: ran.append(number))  # type: ignore[misc]
    carrier.finish(None)
    carrier.run(lambda: ran.append(99))
    assert carrier.carry() is None
    assert ran == [0, 1, 2]


def test_a_token_is_bound_to_the_headers_that_are_named_as_credentials(make: Callable[..., Bridge]) -> None:
    bridge = make(authenticate=lambda environ: environ.get("HTTP_X_USER"), credentials=["X-User"])
    bridge.channel("inbox/{name}").authorize(lambda ctx, name: bool(ctx.user == name))
    client = client_of(bridge)
    answer = client.poll(HELLO, subscribe("inbox/ann"), **{"X-User": "ann"})
    token = answer["messages"][1]["token"]
    again = client.poll({**HELLO, "token": token}, subscribe("inbox/ann"), **{"X-User": "ann"})
    assert again["messages"][0]["resumed"] is True
    stolen = client.poll({**HELLO, "token": token}, subscribe("inbox/ann"), **{"X-User": "bob"})
    assert stolen["messages"][0]["resumed"] is False
    assert types(stolen)[-1] != "publications" and "no_such_channel" in str(stolen)
