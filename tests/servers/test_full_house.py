"""Two hundred clients on a server with eight threads: its pages do not feel them, and all get the news."""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
import time
from pathlib import Path

import pytest

from support.servers import Server, running
from support.wire import first, hello, poll, request, subscribe, whole_poll

pytestmark = pytest.mark.slow

CLIENTS = 200
PAGES = 60
# Seconds between two polls of one client, below the default of 5. The test is about the places of a server, so the
# polls of all clients together must not take a slow machine's whole CPU.
INTERVAL = "2"


class Follower(threading.Thread):
    """A client that long-polls as the protocol asks it to: at once after an answer, or after the pause it was told."""

    def __init__(self, port: int, position: str) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.position = position
        self.token: str | None = None
        self.got: list[object] = []
        self.stop = threading.Event()
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set() and not self.got:
            greeting = hello(token=self.token) if self.token else hello()
            try:
                answer = whole_poll(self.port, greeting, subscribe("news", self.position), wait=10)
            except (OSError, AssertionError) as error:
                self.errors.append(str(error))
                self.stop.wait(0.5)
                continue
            self.token = first(answer["messages"], "hello").get("token", self.token)
            for message in answer["messages"]:
                if message["type"] == "publications":
                    self.got += [each["data"] for each in message["publications"]]
            self.stop.wait(answer.get("interval", 0))


def median_page(server: Server) -> float:
    """Seconds an ordinary page takes."""
    times = []
    for _ in range(PAGES):
        began = time.perf_counter()
        assert request(server.port, "GET", "/").status == 200
        times.append(time.perf_counter() - began)
        time.sleep(0.01)
    return statistics.median(times)


@pytest.mark.parametrize("name", ["gunicorn gthread", "waitress"])
def test_pages_do_not_feel_a_full_house(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path, SITE_POLL_WAIT="25", SITE_POLL_INTERVAL=INTERVAL) as server:
        alone = median_page(server)
        position = first(poll(server.port, hello(), subscribe("news", id=2)), "subscribed")["position"]
        followers = [Follower(server.port, position) for _ in range(CLIENTS)]
        for follower in followers:
            follower.start()
            time.sleep(0.005)
        time.sleep(2)
        crowded = median_page(server)
        print(
            f"{name}: a page takes {alone * 1000:.1f} ms alone, {crowded * 1000:.1f} ms with {CLIENTS} clients"
        )

        request(server.port, "POST", "/publish?channel=news", json.dumps("at last").encode())
        end = time.monotonic() + 30
        while time.monotonic() < end and not all(follower.got for follower in followers):
            time.sleep(0.1)
        for follower in followers:
            follower.stop.set()
        with contextlib.suppress(RuntimeError):
            for follower in followers:
                follower.join(1)
        errors = [error for follower in followers for error in follower.errors]
        assert sum(1 for follower in followers if follower.got == ["at last"]) == CLIENTS, errors[:3]
        assert errors == []
        assert crowded <= 3 * alone + 0.020, f"{alone * 1000:.1f} ms became {crowded * 1000:.1f} ms"
