"""Any transport to any other in mid-stream, over a network that loses, cuts and repeats: nothing is lost silently.

A client follows a channel in which numbers are published all the time, now and then more at once than its history
holds, and changes its transport again and again. Between it and a real server stands a lossy proxy. Each number has to
come once and in order, or be covered by a gap; each call that is made meanwhile has to run at most once. Seeds are
printed: `SEED=123 pytest …` repeats what can be repeated.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtbridge.client import CallError, Client, Gap, Item
from rtbridge.client.ladder import RUNGS
from support.lossy_proxy import LossyProxy
from support.servers import Server, patched, started

PAIRS = list(itertools.combinations(RUNGS, 2))
DEADLINE = 60.0

SERVE = """
from rtbridge.server import serve
from switching_site import application
serve(application, port={port})
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("switching")
    with started("rtbridge", patched(SERVE), folder, cwd=Path(__file__).parent) as server:
        yield server


class Impatient(random.Random):
    """Backs off as the client would, in a twentieth of the time."""

    def uniform(self, low: float, high: float) -> float:
        return super().uniform(low, high) / 20


class Publisher:
    """Publishes 1, 2, 3 … past the proxy, a few at a time, until it is stopped."""

    def __init__(self, server: Server, name: str, seed: int) -> None:
        self.last = 0
        self._random = random.Random(seed)
        self._name = name
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.004):
            count = 150 if self._random.random() < 0.01 else 3
            query = f"name={self._name}&first={self.last + 1}&last={self.last + count}"
            self._connection.request("GET", f"/publish?{query}")
            self._connection.getresponse().read()
            self.last += count

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        self._connection.close()
        return self.last


class Listener:
    """Takes every item and remembers the first thing that was wrong."""

    def __init__(self, client: Client, name: str) -> None:
        self.received = self.gaps = self.missed = self.last = 0
        self.wrong: str | None = None
        self.feed = client.subscribe(name)
        self.feed.wait(DEADLINE)
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for item in self.feed:
            with self._news:
                self._take(item)
                self._news.notify_all()

    def _take(self, item: Item | Gap) -> None:
        if isinstance(item, Gap):
            reached = int(item.position.rpartition(".")[2])
            self.gaps += 1
            self.missed += reached - self.last
            self.last = reached
        elif item.offset != self.last + 1 or item.data != item.offset:
            self.wrong = self.wrong or f"{item.data} at {item.offset} after {self.last}"
        else:
            self.received += 1
            self.last = item.offset

    def wait_for(self, number: int) -> None:
        """Until everything up to `number` came."""
        with self._news:
            there = self._news.wait_for(lambda: self.last >= number or self.wrong, DEADLINE)
        assert self.wrong is None, self.wrong
        assert there, f"stuck at {self.last}, {number} was published"

    def join(self) -> None:
        self.feed.close()
        self._thread.join()


class Caller:
    """Makes calls, one after the other, on whatever transport there is."""

    def __init__(self, client: Client) -> None:
        self.done = self.unknown = 0
        self.wrong: list[object] = []
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.01):
            number += 1
            try:
                if self._client.call("run", {"number": number}, timeout=DEADLINE) != number:
                    self.wrong.append(number)
                self.done += 1
            except CallError as error:
                self.unknown += 1
                if error.code != 300:
                    self.wrong.append(error)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def calls(server: Server) -> dict[str, int]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    connection.request("GET", "/calls")
    return dict(json.loads(connection.getresponse().read()))


def switch(server: Server, pair: tuple[str, str], times: int, seed: int) -> str:
    """Change `times` times in each direction; what happened, in figures."""
    began = time.monotonic()
    rng = random.Random(seed)
    name = f"{pair[0]}-{pair[1]}-{seed}"
    proxy = LossyProxy(server.port, seed)
    client = Client(f"http://127.0.0.1:{proxy.port}/rt/", transport=pair[0], timeout=2.0, rng=Impatient(seed))
    listener = Listener(client, f"numbers/{name}")
    publisher, caller = Publisher(server, name, seed), Caller(client)
    try:
        client.wait_until_open(timeout=DEADLINE)
        for number in range(2 * times):
            client.use(pair[(number + 1) % 2])
            if rng.random() < 0.1:
                proxy.cut_all()
            client.wait_until_open(pair[(number + 1) % 2], timeout=DEADLINE)
            listener.wait_for(min(publisher.last, listener.last + rng.randrange(8)))
    finally:
        last = publisher.stop()
        caller.stop()
        try:
            listener.wait_for(last)
        finally:
            client.close()
            listener.join()
            proxy.close()
    assert not caller.wrong
    assert listener.received + listener.missed == last
    assert calls(server)["most"] == 1
    lost = ", ".join(f"{proxy.counts[fate]} {fate}" for fate in sorted(proxy.counts))
    return (
        f"{pair[0]:>11} <-> {pair[1]:<11} seed {seed}: {times} switches each way in {time.monotonic() - began:.1f} s; "
        f"{last} published, {listener.received} delivered once and in order, {listener.gaps} gaps ({listener.missed}); "
        f"{caller.done} calls, {caller.unknown} of unknown outcome; requests: {lost}"
    )


def seed_of(pair: tuple[str, str]) -> int:
    given = os.environ.get("SEED")
    return int(given) if given else random.SystemRandom().randrange(1_000_000)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_switching_loses_nothing(server: Server, pair: tuple[str, str]) -> None:
    print(switch(server, pair, 10, seed_of(pair)))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_switching_two_hundred_times_loses_nothing(
    server: Server, pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    figures = switch(server, pair, 200, seed_of(pair))
    with capsys.disabled():
        print(f"\n{figures}")
