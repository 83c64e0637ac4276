"""The middleware under every server we say we run on, as a client sees it: in a process of its own, over sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support import wire
from support.servers import STARTERS, Server, running
from support.wire import PATIENCE, Socket, Stream, call, first, hello, poll, request, subscribe

ALL = ["websocket", "eventstream", "longpoll", "shortpoll"]
OFFERS = dict.fromkeys(STARTERS, ALL) | {
    # waitress keeps its sockets to itself.
    "waitress": ["eventstream", "longpoll", "shortpoll"],
}
# Each of these differs little from one that every run tests.
RARE = {"pywsgi", "pywsgi with gevent-websocket", "gunicorn gevent-websocket"}
PARAMS = [pytest.param(name, marks=[pytest.mark.slow] if name in RARE else []) for name in STARTERS]


@pytest.fixture(scope="module", params=PARAMS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(request.param, tmp_path_factory.mktemp("server")) as server:
        with ThreadPoolExecutor(
            8
        ) as pool:  # so that all threads of a pool are there: its share is counted in them
            list(pool.map(lambda _: wire.request(server.port, "GET", "/slow"), range(8)))
        yield server
    raised = [line for line in server.log().splitlines() if re.match(r"[\w.]+(Error|Exception|Exit)\b", line)]
    assert set(raised) <= {"RuntimeError: boom"}, server.log()


@pytest.fixture(params=ALL)
def transport(request: pytest.FixtureRequest, server: Server) -> str:
    if request.param not in OFFERS[server.name]:
        pytest.skip(f"{server.name} has no {request.param}")
    return request.param


def publish(server: Server, channel: str, value: Any) -> str:
    answer = request(server.port, "POST", f"/publish?channel={quote(channel)}", json.dumps(value).encode())
    assert answer.status == 200, answer.body
    return answer.body.decode()


def eventually(what: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


def test_pages_are_as_they_were(server: Server) -> None:
    page = request(server.port, "GET", "/")
    assert (page.status, page.body) == (200, b"<h1>An ordinary page</h1>")
    assert request(server.port, "GET", "/nothing-here").status == 404


def test_a_page_still_streams(server: Server) -> None:
    """Its first piece is not held back until the last."""
    answer = request(server.port, "GET", "/stream")
    times = [float(line.rsplit(b" ", 1)[1]) for line in answer.body.splitlines()]
    assert len(times) == 3 and times[2] - times[0] >= 0.7


def test_hello_offers_what_the_server_can_do(server: Server) -> None:
    greeting = first(poll(server.port, hello()), "hello")
    assert greeting["offers"] == OFFERS[server.name]
    assert greeting["transport"] == "shortpoll"


def test_a_publication_arrives(server: Server, transport: str) -> None:
    with wire.following(transport, server.port, "news") as next_data:
        for number in range(3):
            publish(server, "news", {"number": number, "by": transport})
            assert next_data() == {"number": number, "by": transport}


def test_a_waiting_poll_is_answered_when_there_is_news(server: Server) -> None:
    position = first(poll(server.port, hello(), subscribe("news", id=2)), "subscribed")["position"]
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        waiting = pool.submit(poll, server.port, hello(), subscribe("news", position), wait=8)
        time.sleep(0.3)
        assert not waiting.done()
        publish(server, "news", "here it is")
        messages = waiting.result()
    assert first(messages, "publications")["publications"][0]["data"] == "here it is"
    assert time.monotonic() - began < 4


def test_what_was_missed_is_recovered(server: Server, transport: str) -> None:
    position = publish(server, "news", "seen")
    for number in range(3):
        publish(server, "news", number)
    commands = hello(), subscribe("news", position, id=2)
    if transport in ("websocket", "eventstream"):
        with (Socket if transport == "websocket" else Stream)(server.port, *commands) as conversation:
            reply = conversation.until("subscribed")
    else:
        reply = first(poll(server.port, *commands, wait=1 if transport == "longpoll" else 0), "subscribed")
    assert reply["recovered"] is True
    data = [each["data"] for each in reply["publications"]]
    for _ in range(5):
        if len(data) >= 3:
            break
        # Under threads the newest may be one turn behind; the reply's position says so, and one reads on from there.
        commands = hello(), subscribe("news", reply["position"], id=2)
        reply = first(poll(server.port, *commands, wait=0), "subscribed")
        assert reply["recovered"] is True
        data += [each["data"] for each in reply["publications"]]
    assert data == [0, 1, 2]


def test_a_latest_channel_gives_the_newest(server: Server, transport: str) -> None:
    with wire.following(transport, server.port, "price") as next_data:
        value = int(time.time() * 1000)
        publish(server, "price", value)
        assert next_data() == value


def test_a_private_channel_is_for_those_it_is_for(server: Server, transport: str) -> None:
    with wire.following(transport, server.port, "clubs/ada", headers={"X-User": "ada"}) as next_data:
        publish(server, "clubs/ada", "for Ada")
        assert next_data() == "for Ada"
    refused = first(
        poll(server.port, hello(), subscribe("clubs/ada", id=2), headers={"X-User": "bob"}), "error"
    )
    assert refused["code"] == 104


def test_calls(server: Server, transport: str) -> None:
    commands = [
        hello(),
        call("add", {"a": 2, "b": 3}, 11),
        call("echo", {"value": "höher ☂"}, 12),
        call("refuse", {}, 13),
        call("boom", {}, 14),
        call("add", {"a": "x", "b": 3}, 15),
    ]
    replies: dict[int, Any] = {}
    if transport in ("websocket", "eventstream"):
        with (Socket if transport == "websocket" else Stream)(server.port, *commands) as conversation:
            for id in range(11, 16):
                kind = "result" if id < 13 else "error"
                replies[id] = conversation.until(kind, lambda message, id=id: message.get("id") == id)
    else:
        wait = 3 if transport == "longpoll" else 0
        replies = {message.get("id"): message for message in poll(server.port, *commands, wait=wait)}
    assert (replies[11]["data"], replies[12]["data"]) == (5, "höher ☂")
    assert (replies[13]["code"], replies[13]["message"]) == (111, "not today")
    assert replies[13]["data"] == {"until": "tomorrow"}
    assert replies[14]["code"] == 202
    assert replies[15]["code"] == 106 and replies[15]["fields"][0]["field"] == "a"


def test_clients_that_left_are_noticed(server: Server) -> None:
    commands = hello(), subscribe("news")
    gone = {"longpoll": first(poll(server.port, *commands, wait=0.2), "hello")["client_id"]}
    for transport, kind in (("websocket", Socket), ("eventstream", Stream)):
        if transport in OFFERS[server.name]:
            with kind(server.port, hello(), subscribe("news")) as conversation:
                gone[transport] = conversation.until("hello")["client_id"]

    def still_there() -> set[str]:
        ended = request(server.port, "GET", "/ended").json()
        return {transport for transport, client_id in gone.items() if client_id not in ended}

    assert eventually(lambda: not still_there()), still_there()


def test_other_sites_are_refused(server: Server) -> None:
    body = json.dumps({"commands": [hello()]}).encode()
    evil = {"Content-Type": "application/json", "Origin": "https://evil.example"}
    assert request(server.port, "POST", "/rt/poll", body, evil).status == 403
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert request(server.port, "POST", "/rt/poll", body, form).status == 415


def test_the_browser_client_is_served(server: Server) -> None:
    answer = request(server.port, "GET", "/rt/client.js")
    assert answer.status == 200 and b"connect" in answer.body
    assert answer.headers.get_content_type() == "text/javascript"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STARTERS if "run" not in name])
def test_it_ends_when_it_is_told_to_while_clients_wait(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path, SITE_POLL_WAIT="25") as server, ThreadPoolExecutor(1) as pool:
        position = first(poll(server.port, hello(), subscribe("news", id=2)), "subscribed")["position"]
        waiting = pool.submit(poll, server.port, hello(), subscribe("news", position), wait=20)
        time.sleep(0.3)
        server.process.terminate()
        server.process.wait(8)
        with contextlib.suppress(OSError, http.client.HTTPException):
            waiting.result()
