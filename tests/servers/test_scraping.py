"""`rtbridge serve --metrics`: one address for all workers, over all transports, and nothing secret in the log."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest
from websockets.sync.client import connect

from support.needs import free_port
from support.redis_servers import PlainRedis
from support.servers import Server, started

APP = """
from rtbridge import Bridge, History, RealtimeMiddleware

def site(environ, start_response):
    news.publish(1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"published"]

rt = Bridge(secret="of these tests")
news = rt.channel("news", int, keep=History(1000), public=True)
club = rt.channel("club", int)

@club.authorize
def fails(ctx):
    raise RuntimeError("the database is away")

app = RealtimeMiddleware(site, rt)
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[PlainRedis]:
    with PlainRedis() as server:
        yield server


@contextmanager
def serving(folder: Path, redis: PlainRedis) -> Iterator[tuple[Server, Callable[[], dict[str, float]]]]:
    (folder / "shop.py").write_text(APP)
    port = free_port()
    command = [
        sys.executable, "-m", "rtbridge", "serve", "shop:app", "--bind", "127.0.0.1:{port}",
        "--workers", "2", "--metrics", f"127.0.0.1:{port}", "--log-json",
    ]  # fmt: skip
    with started("rtbridge", command, folder, cwd=folder, env={"RTBRIDGE_URL": redis.url}) as server:

        def scrape() -> dict[str, float]:
            status, text = ask(port, "/metrics")
            assert status == 200
            lines = [line for line in text.splitlines() if not line.startswith("#")]
            return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

        until(lambda: scrape()["rtbridge_workers"] == 2, server)
        yield server, scrape
        assert ask(port, "/")[0] == 404
        assert ask(port, "/metrics", "POST")[0] == 405


def ask(port: int, path: str, method: str = "GET", body: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    connection.request(method, path, body or None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def until(true: Callable[[], bool], server: Server, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.05)


def test_all_workers_are_counted_and_the_dead_stay_in_the_totals(tmp_path: Path, redis: PlainRedis) -> None:
    with serving(tmp_path, redis) as (server, scrape), ExitStack() as stack:
        for number in range(4):
            ws = stack.enter_context(connect(f"ws://127.0.0.1:{server.port}/rt/ws"))
            ws.send(json.dumps({"type": "hello", "id": 1, "version": 1, "instance": f"instance-{number}"}))
            ws.send(json.dumps({"type": "subscribe", "id": 2, "channel": "news"}))
            assert [json.loads(ws.recv(20))["type"] for _ in range(2)] == ["hello", "subscribed"]
        stream = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
        stream.sendall(b"GET /rt/channels/news HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        assert b"200" in stream.recv(100)
        polls = [
            Thread(target=ask, args=(server.port, "/rt/poll", "POST", long_poll(n)), daemon=True)
            for n in range(2)
        ]
        position = json.loads(ask(server.port, "/rt/channels/news")[1])["position"]
        path = f"/rt/channels/news?after={position}&wait=25"
        polls += [Thread(target=ask, args=(server.port, path), daemon=True) for _ in range(2)]
        for poll in polls:
            poll.start()

        until(lambda: scrape()['rtbridge_connections{transport="websocket"}'] == 4, server)
        until(lambda: scrape()['rtbridge_connections{transport="eventstream"}'] == 1, server)
        until(lambda: scrape()["rtbridge_parked_polls"] == 4, server)
        assert ask(server.port, "/") == (200, "published")
        for poll in polls:
            poll.join(20)
        until(lambda: scrape()["rtbridge_deliveries_total"] == 9, server)
        until(lambda: scrape()["rtbridge_parked_polls"] == 0, server)
        seen = scrape()
        assert seen["rtbridge_publications_total"] == 1
        until(lambda: 0 < scrape()["rtbridge_bus_lag_seconds"] < 1, server)
        assert seen["rtbridge_loop_lag_seconds"] < 5

        for pid in set(map(int, re.findall(r'"worker": (\d+)', server.log()))):
            os.kill(pid, signal.SIGKILL)
        until(lambda: scrape()["rtbridge_worker_deaths_total"] == 2, server)
        until(lambda: scrape()["rtbridge_workers"] == 2, server)
        after = scrape()
        assert after["rtbridge_deliveries_total"] >= 9 and after["rtbridge_publications_total"] == 1
        assert after['rtbridge_connections{transport="websocket"}'] == 0


def long_poll(number: int) -> str:
    hello = {"type": "hello", "id": 1, "version": 1, "instance": f"instance-of-poll-{number}"}
    # Without an id it is a subscription that is there already: such a poll is parked.
    where = {"type": "subscribe", "channel": "news"}
    return json.dumps({"wait": 25, "commands": [hello, where]})


def test_the_log_names_the_client_and_never_its_token(tmp_path: Path, redis: PlainRedis) -> None:
    with serving(tmp_path, redis) as (server, _):
        site, cookie = f"http://127.0.0.1:{server.port}", {"Cookie": "session=secret-cookie"}
        url = f"ws://127.0.0.1:{server.port}/rt/ws"
        with connect(url, origin=site, additional_headers=cookie) as ws:
            ws.send(json.dumps({"type": "hello", "id": 1, "version": 1, "instance": "instance-1"}))
            hello = json.loads(ws.recv(20))
            ws.send(json.dumps({"type": "subscribe", "id": 2, "channel": "club"}))
            assert json.loads(ws.recv(20))["code"] == 202
        until(lambda: "the database is away" in server.log(), server)
        lines = [json.loads(line) for line in server.log().splitlines() if not line.startswith("serving")]
        (failure,) = [line for line in lines if "client_id" in line]
        assert (failure["client_id"], failure["channel"], failure["level"]) == (
            hello["client_id"],
            "club",
            "error",
        )
        assert "RuntimeError: the database is away" in failure["error"]
        assert hello["token"] not in server.log() and "secret-cookie" not in server.log()
