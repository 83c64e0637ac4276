"""Several serving processes share one Redis: what is published through one is heard through any other."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from rtbridge import Bridge, History
from rtbridge.client import connect
from rtbridge.client.ladder import RUNGS
from support.redis_servers import PlainRedis
from support.servers import Server, running

SECONDS = 15


@pytest.fixture(scope="module")
def redis_server() -> Iterator[PlainRedis]:
    with PlainRedis() as server:
        yield server


@pytest.fixture(scope="module", params=["rtbridge", "pywsgi", "gunicorn gthread"])
def two_servers(
    request: pytest.FixtureRequest, redis_server: PlainRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    folder = tmp_path_factory.mktemp("sites")
    url = redis_server.url
    with (
        running(request.param, folder, RTBRIDGE_URL=url) as one,
        running("rtbridge", folder, RTBRIDGE_URL=url) as two,
    ):
        yield one, two


def publish(server: Server, channel: str, value: object) -> str:
    body = json.dumps(value).encode()
    with urllib.request.urlopen(f"{server.url}/publish?channel={channel}", body, SECONDS) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("transport", RUNGS)
def test_published_here_heard_there(two_servers: tuple[Server, Server], transport: str) -> None:
    one, two = two_servers
    with connect(f"{one.url}/rt/", transport=transport) as client:
        feed = client.subscribe("news")
        feed.wait()
        positions = [publish(server, "news", number) for number, server in enumerate((two, one, two))]
        assert [feed.get(SECONDS).data for _ in range(3)] == [0, 1, 2]
        assert str(feed.position) == positions[-1]


def test_any_worker_answers_any_poll(two_servers: tuple[Server, Server]) -> None:
    one, two = two_servers
    position = publish(one, "news", "first")
    publish(one, "news", "second")
    for server in (two, one, two):
        with urllib.request.urlopen(
            f"{server.url}/rt/channels/news?after={position}", timeout=SECONDS
        ) as answer:
            found = json.load(answer)
        assert [publication["data"] for publication in found["publications"]] == ["second"]


SHELL = """
from rtbridge import Bridge, History
news = Bridge({url!r}).channel("news", keep=History(1000, ttl=3600), public=True)
print(news.publish("from a shell").position)
"""


def test_from_a_shell_and_from_this_process(
    two_servers: tuple[Server, Server], redis_server: PlainRedis
) -> None:
    one, _ = two_servers
    with connect(f"{one.url}/rt/") as client:
        feed = client.subscribe("news")
        feed.wait()
        script = SHELL.format(url=redis_server.url)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        news = Bridge(redis_server.url).channel("news", keep=History(1000, ttl=3600), public=True)
        here = news.publish("from here").position
        assert [feed.get(SECONDS).data for _ in range(2)] == ["from a shell", "from here"]
        assert feed.position == str(here)
