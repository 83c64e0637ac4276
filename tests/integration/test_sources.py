"""Sources and snapshots in real processes on one Redis, with and without a goodbye."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from rtbridge import Bridge
from rtbridge.client import Client, Snapshot, connect
from support.redis_servers import PlainRedis, until
from support.servers import Server, command, patched, started

EVERY = 0.8  # as in sources_site
HERE = Path(__file__).parent
SECONDS = 15.0
SERVERS = {
    "rtbridge": patched("from rtbridge.server import serve\nfrom sources_site import application\n"
                        "serve(application, port={port})"),
    "gunicorn gthread": command("-m", "gunicorn", "sources_site:application", "--bind", "127.0.0.1:{port}",
                                "-k", "gthread", "--threads", "8"),
}  # fmt: skip


class Fleet:
    """Servers on one Redis; `runs` is who asked the endpoint, and when."""

    def __init__(self, url: str, folder: Path, stack: ExitStack) -> None:
        self.env = {"RTBRIDGE_URL": url, "RUNS": str(folder / "runs")}
        self.folder = folder
        self.stack = stack
        (folder / "runs").touch()

    def start(self, name: str) -> Server:
        server = started(name, SERVERS[name], self.folder, cwd=HERE, env=self.env)
        return self.stack.enter_context(server)

    def connect(self, server: Server, transport: str = "auto") -> Client:
        client = connect(f"{server.url}/rt/", transport=transport)
        self.stack.callback(client.close, 0.1)
        return client

    @property
    def runs(self) -> list[tuple[int, float]]:
        lines = (self.folder / "runs").read_text().splitlines()
        return [(int(pid), float(when)) for pid, when in (line.split() for line in lines)]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[PlainRedis]:
    with PlainRedis() as server:
        yield server


@pytest.fixture
def fleet(redis_server: PlainRedis, tmp_path: Path) -> Iterator[Fleet]:
    redis_server.client().flushall()
    with ExitStack() as stack:
        yield Fleet(redis_server.url, tmp_path, stack)


@pytest.mark.parametrize("second", list(SERVERS))
@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
def test_one_process_asks_for_all_and_another_goes_on_when_it_is_killed(
    fleet: Fleet, second: str, transport: str
) -> None:
    one, two = fleet.start("rtbridge"), fleet.start(second)
    first = fleet.connect(one, transport).subscribe("photos")
    assert first.get(SECONDS).data == {"by": one.process.pid}
    feed = fleet.connect(two, transport).subscribe("photos")
    assert feed.get(SECONDS).data == {"by": one.process.pid}
    before = len(fleet.runs)
    until(lambda: len(fleet.runs) >= before + 4, "it goes on")
    runs = fleet.runs
    assert {pid for pid, _ in runs} == {one.process.pid}, "one process only"
    pauses = [b - a for (_, a), (_, b) in pairwise(runs)]
    assert min(pauses) > 0.8 * EVERY
    one.kill()
    died = time.monotonic()
    found = feed.get(SECONDS).data
    waited = time.monotonic() - died
    assert found != {"by": one.process.pid}
    assert waited < 2 * EVERY + 0.5, f"it moved after {waited:.1f} s"
    print(f"moved {waited:.2f} s after SIGKILL, every = {EVERY}")


def test_a_process_that_is_stopped_loses_it_and_does_not_take_it_back(fleet: Fleet) -> None:
    one, two = fleet.start("rtbridge"), fleet.start("rtbridge")
    assert fleet.connect(one).subscribe("photos").get(SECONDS).data == {"by": one.process.pid}
    feed = fleet.connect(two).subscribe("photos")
    assert feed.get(SECONDS).data == {"by": one.process.pid}
    os.kill(one.process.pid, signal.SIGSTOP)
    assert feed.get(SECONDS).data == {"by": two.process.pid}
    os.kill(one.process.pid, signal.SIGCONT)
    before = len(fleet.runs)
    until(lambda: len(fleet.runs) >= before + 4, "it goes on")
    assert {pid for pid, _ in fleet.runs[before:]} == {two.process.pid}


def test_nobody_asks_while_nobody_watches(fleet: Fleet) -> None:
    one = fleet.start("rtbridge")
    client = fleet.connect(one)
    feed = client.subscribe("photos")
    feed.get(SECONDS)
    feed.close()

    def quiet() -> bool:
        runs = fleet.runs
        return time.monotonic() - runs[-1][1] > 3 * EVERY

    until(quiet, "it ends")


def test_short_polls_that_any_worker_answers_keep_it_going(fleet: Fleet) -> None:
    servers = [fleet.start("rtbridge"), fleet.start("gunicorn gthread")]
    end = time.monotonic() + 8 * EVERY
    number = 0
    while time.monotonic() < end:
        url = f"{servers[number % 2].url}/rt/channels/photos"
        urllib.request.urlopen(url, timeout=SECONDS).read()
        number += 1
        time.sleep(EVERY / 2)
    runs = fleet.runs
    pauses = [b - a for (_, a), (_, b) in pairwise(runs)]
    assert len(runs) >= 4 and max(pauses) < 2 * EVERY + 0.5


@pytest.mark.parametrize("transport", ["websocket", "eventstream", "longpoll", "shortpoll"])
@pytest.mark.parametrize("name", list(SERVERS))
def test_snapshots_on_every_transport_and_after_the_bus_has_lost_all(
    fleet: Fleet, redis_server: PlainRedis, name: str, transport: str
) -> None:
    server = fleet.start(name)
    rows = Bridge(redis_server.url, secret="x").channel("rows", dict, public=True)
    feed = fleet.connect(server, transport).subscribe("rows", snapshot=True)
    state = feed.get(SECONDS)
    assert isinstance(state, Snapshot) and "by" in dict(state.data) and not state.gap  # type: ignore[call-overload]
    rows.publish({"n": 1})
    assert feed.get(SECONDS).data == {"n": 1}
    redis_server.client().flushall()
    rows.publish({"n": 2})
    again = feed.get(SECONDS)
    assert isinstance(again, Snapshot) and again.gap
    rows.publish({"n": 3})
    # What was published before the snapshot was made is in it, or follows it.
    values = [feed.get(SECONDS).data]
    while values[-1] != {"n": 3}:
        values.append(feed.get(SECONDS).data)
    assert values in ([{"n": 3}], [{"n": 2}, {"n": 3}])
