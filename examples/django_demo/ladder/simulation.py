"""Visitors made of code, on one rung of the ladder at a time, and what they cost.

They are ordinary clients of this very server: they send their requests over its own port. Each measures how late it
sees what is told once a second.
"""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.backends.signals import connection_created

from rtbridge.client import Client

EVERY = 2.0  # seconds between two polls
LASTS = 90.0  # seconds that a simulation goes on since it was last wished for
MOST = 60  # visitors


@dataclass
class Meters:
    rung: str
    visitors: int
    requests: float  # a second
    queries: float  # a second
    delay: float  # seconds, on average; 0.0 where nothing was seen


class Simulation:
    """One for the process.

    Args:
        tell: what every visitor waits for: the time it was told at.
        show: takes the meters, once a second.
    """

    def __init__(self, tell: Callable[[float], object], show: Callable[[Meters], object]) -> None:
        self.tell, self.show = tell, show
        self.rung, self.many, self.url = "websocket", 0, ""
        self.told = 0.0
        self.requests = self.queries = 0
        self.delays: list[float] = []
        self.until = 0.0
        self.visitors: list[threading.Event] = []
        self.lock = threading.Lock()
        self.running = False
        connection_created.connect(self.count_queries, weak=False)

    def wish(self, rung: str, many: int) -> None:
        """So many visitors on this rung, from now on for a while."""
        with self.lock:
            if rung != self.rung:
                self.send_away(0)
            self.rung, self.many = rung, min(many, MOST)
            self.until = time.monotonic() + LASTS
            if not self.running:
                self.running = True
                threading.Thread(target=self.run, name="simulation", daemon=True).start()

    def run(self) -> None:
        before = (self.requests, self.queries)
        while True:
            time.sleep(1)
            with self.lock:
                over = time.monotonic() > self.until
                self.send_away(0 if over else self.many)
                while len(self.visitors) < self.many and not over:
                    self.come()
            self.told = time.time()
            self.tell(self.told)
            now, seen, self.delays = (self.requests, self.queries), self.delays, []
            delay = sum(seen) / len(seen) if seen else 0.0
            many = len(self.visitors)
            self.show(Meters(self.rung, many, now[0] - before[0], now[1] - before[1], delay))
            before = now
            with self.lock:
                if over:
                    self.running = False
                    return

    def come(self) -> None:
        gone = threading.Event()
        visit = {"poll": self.poll, "shared": self.shared}.get(self.rung, self.follow)
        threading.Thread(target=visit, args=(gone, self.rung, self.url), daemon=True).start()
        self.visitors.append(gone)

    def send_away(self, left: int) -> None:
        while len(self.visitors) > left:
            self.visitors.pop().set()

    # The rungs

    def poll(self, gone: threading.Event, rung: str, url: str) -> None:
        """As the story begins: the view, and its query, for everybody every few seconds."""
        self.ask(gone, url + "ladder/now.json", lambda answer: answer["told"])

    def shared(self, gone: threading.Event, rung: str, url: str) -> None:
        """The same view, as the source of a channel: it runs once for everybody, and the answer comes from memory."""
        self.ask(
            gone, url + "rt/channels/ladder/now", lambda answer: answer["publications"][-1]["data"]["told"]
        )

    def ask(self, gone: threading.Event, url: str, told_in: Callable[[Any], float]) -> None:
        last = self.told
        gone.wait(random.uniform(0, EVERY))
        while not gone.wait(EVERY):
            self.requests += 1
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    told = told_in(json.load(answer))
            except (OSError, LookupError):
                continue
            if told > last:
                self.delays.append(time.time() - told)
            last = told

    def follow(self, gone: threading.Event, rung: str, url: str) -> None:
        """Long poll, event stream or WebSocket: rtbridge's client, on that transport."""

        def arrived(item: Any) -> None:
            self.delays.append(time.time() - item.data)
            self.requests += rung == "longpoll"

        with Client(url + "rt/", transport=rung) as client:
            self.requests += 1
            client.subscribe("ladder/told", arrived)
            gone.wait()

    # Queries

    def count_queries(self, connection: Any, **_: Any) -> None:
        if self.count_query not in connection.execute_wrappers:  # it was opened before
            connection.execute_wrappers.append(self.count_query)

    def count_query(self, execute: Callable[..., Any], *args: Any) -> Any:
        self.queries += 1
        return execute(*args)


def rungs() -> Iterator[tuple[str, str, str]]:
    """Key, name, and what one visitor costs."""
    yield "poll", "Polled view", "a request and a query every 2 s"
    yield "shared", "Shared poll", "a request every 2 s, answered from memory; one query for everybody"
    yield "longpoll", "Long poll", "a request for each piece of news, which waits for it"
    yield "eventstream", "Event stream", "one request; the news come through it"
    yield "websocket", "WebSocket", "one request; both ways"
