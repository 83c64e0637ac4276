"""Several workers on one Redis: any answers any request, and nothing is lost while they die, reload, drain."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rtbridge import Bridge, History
from support.redis_servers import PlainRedis
from support.servers import Server, started

APP = """
import os
from rtbridge import Bridge, History, RealtimeMiddleware

def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{version} {os.getpid()}".encode()]

rt = Bridge(secret="of these tests")
news = rt.channel("news", int, keep=History(100_000), public=True)
app = RealtimeMiddleware(site, rt)
version = "first"
"""
HELLO = {"type": "hello", "id": 1, "version": 1}


@pytest.fixture(scope="module")
def redis() -> Iterator[PlainRedis]:
    with PlainRedis() as server:
        yield server


@pytest.fixture
def publisher(redis: PlainRedis) -> Iterator[Bridge]:
    with redis.client() as client:
        client.flushall()
    bridge = Bridge(redis.url, secret="of these tests")
    bridge.channel("news", int, keep=History(100_000), public=True)
    yield bridge
    bridge.bus.close()


@contextmanager
def serving(folder: Path, redis: PlainRedis, *options: str) -> Iterator[Server]:
    (folder / "shop.py").write_text(APP)
    command = [
        sys.executable, "-m", "rtbridge", "serve", "shop:app", "--bind", "127.0.0.1:{port}", *options,
    ]  # fmt: skip
    with started("rtbridge", command, folder, cwd=folder, env={"RTBRIDGE_URL": redis.url}) as server:
        until(lambda: "serving http" in server.log(), server)
        yield server


def until(true: Callable[[], bool], server: Server, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)


class Follower(Thread):
    """Follows the channel by long polls, each a connection of its own, from the cursor; says what it saw."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.seen: list[int] = []
        self.gaps = 0
        self.refused: list[str] = []
        self.over = Event()
        self._port = port
        self._position = self._ask("/rt/channels/news")["position"]

    def _ask(self, path: str) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=40)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return dict(json.loads(connection.getresponse().read()))

    def run(self) -> None:
        while not self.over.is_set():
            try:
                page = self._ask(f"/rt/channels/news?after={self._position}&wait=5")
            except (OSError, http.client.HTTPException) as error:
                self.refused.append(repr(error))
                continue
            self.gaps += page.get("recovered") is False
            self.seen += [publication["data"] for publication in page["publications"]]  # type: ignore[attr-defined]
            self._position = page["position"]


class Socket(Thread):
    """Follows by WebSocket; comes back with its cursor when the server sends it away."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.seen: list[int] = []
        self.gaps = 0
        self.goodbyes: list[int | None] = []
        self.over = Event()
        self.subscribed = Event()
        self._port = port
        self._position: str | None = None

    def run(self) -> None:
        while not self.over.is_set():
            with contextlib.suppress(OSError, ConnectionClosed, TimeoutError):
                self._connection()

    def _connection(self) -> None:
        with connect(f"ws://127.0.0.1:{self._port}/rt/ws", max_size=None) as socket:
            subscribe = {"type": "subscribe", "id": 2, "channel": "news", "position": self._position}
            for command in ({**HELLO, "instance": "instance-1"}, subscribe):
                socket.send(json.dumps({name: value for name, value in command.items() if value is not None}))
            while not self.over.is_set():
                try:
                    self._take(json.loads(socket.recv(timeout=0.5)))
                except TimeoutError:
                    continue
                except ConnectionClosed as closed:
                    self.goodbyes.append(closed.rcvd.code if closed.rcvd else None)
                    return

    def _take(self, said: dict[str, object]) -> None:
        if said["type"] == "gap" or said.get("recovered") is False:
            self.gaps += 1
        if said["type"] in ("subscribed", "publications", "gap"):
            self.seen += [p["data"] for p in said.get("publications", ())]  # type: ignore[attr-defined]
            self._position = str(said["position"])
            self.subscribed.set()


def test_nothing_is_lost_while_workers_die_reload_and_drain(
    tmp_path: Path, redis: PlainRedis, publisher: Bridge
) -> None:
    with serving(tmp_path, redis, "--workers", "2") as server:
        followers = [Follower(server.port) for _ in range(3)]
        socket = Socket(server.port)
        for thread in (*followers, socket):
            thread.start()
        assert socket.subscribed.wait(20)
        until(lambda: "first" in _page(server.port), server)

        count = 0
        for act in (_nothing, _kill_one, _reload, _nothing):
            act(server)
            for _ in range(150):
                count += 1
                publisher.publish("news", count)
                time.sleep(0.01)
        wanted = list(range(1, count + 1))
        everybody = (*followers, socket)
        until(lambda: all(len(each.seen) >= count for each in everybody), server)
        until(lambda: 4000 in socket.goodbyes, server)  # the reload sent it away, with the code to come back
        for each in everybody:
            each.over.set()
        for each in everybody:
            each.join(20)
        assert [each.seen == wanted for each in everybody] == [True] * 4
        assert [each.gaps for each in everybody] == [0] * 4
        # Killing a worker breaks what it carried; a reload breaks nothing.
        assert len([error for each in followers for error in each.refused]) <= 3, [
            each.refused for each in followers
        ]


def _page(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().read().decode()


def _nothing(server: Server) -> None:
    pass


def _kill_one(server: Server) -> None:
    os.kill(int(_page(server.port).split()[1]), signal.SIGKILL)


def _reload(server: Server) -> None:
    server.process.send_signal(signal.SIGHUP)


def test_a_whole_restart_loses_nothing(tmp_path: Path, redis: PlainRedis, publisher: Bridge) -> None:
    seen: list[int] = []
    position = str(publisher.position("news"))
    for round_ in range(2):
        with serving(tmp_path, redis, "--workers", "2") as server:
            answers: list[dict[str, object]] = []
            poll = Thread(target=_park, args=(server.port, position, answers))
            poll.start()
            until(lambda: _parked(redis), server)
            server.process.terminate()
            poll.join(20)
            assert server.process.wait(20) == 0
        (answer,) = answers
        assert "recovered" not in answer
        position = str(answer["position"])
        seen += [p["data"] for p in answer["publications"]]  # type: ignore[attr-defined]
        publisher.publish("news", round_)  # while nobody serves
    with serving(tmp_path, redis, "--workers", "2") as server:
        page = Follower(server.port)._ask(f"/rt/channels/news?after={position}")
        seen += [p["data"] for p in page["publications"]]  # type: ignore[attr-defined]
    assert seen == [0, 1]


def _park(port: int, position: str, answers: list[dict[str, object]]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    connection.request("GET", f"/rt/channels/news?after={position}&wait=25")
    answers.append(json.loads(connection.getresponse().read()))


def _parked(redis: PlainRedis) -> bool:
    """A worker listens to the channel."""
    with redis.client() as client:
        return any(b"news" in name for name in client.pubsub_channels())
