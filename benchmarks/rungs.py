"""The rungs of the ladder as they are measured: how the server is set up, and what the clients do.

Two workloads, the same server for every rung (ours, one process, one core): the photo site of examples/django_demo
(Django, SQLite, a JSON answer of 60 photos) and a small site in plain WSGI over SQLite (20 lines). Polls of whatever
kind are made at the same interval; the clients are browsers by their heads, with kept connections.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .harness import Server, free_port
from .peers import HERE, Running, nginx_server
from .servers import counting

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where the workloads' databases are: waiting for a disk would be measured as latency of the transports."""

SOURCE = 1.0
"""Seconds between two runs of the shared query."""


@dataclass(frozen=True)
class Workload:
    """A site: its application, its own JSON view, its channel, and how long the texts are that are published."""

    name: str
    app: str
    view: str
    channel: str
    size: int
    label: str


PHOTOS = Workload("photos", "photos_app:app", "/photos.json", "photos", 100, "photo site (Django, SQLite)")
PLAIN = Workload("plain", "plain_app:app", "/items.json", "items", 128, "plain WSGI site (SQLite)")
WORKLOADS = (PHOTOS, PLAIN)


@dataclass(frozen=True)
class Rung:
    """`dialect` and `path` are the load's, with VIEW and CHANNEL for the workload's."""

    name: str
    dialect: str
    path: str
    polls: bool = False
    source: bool = False
    cache: bool = False
    options: dict[str, object] = field(default_factory=dict)

    def load_options(self, workload: Workload, interval: float) -> dict[str, object]:
        path = self.path.replace("VIEW", workload.view).replace("CHANNEL", workload.channel)
        common: dict[str, object] = {
            "dialect": self.dialect,
            "path": path,
            "channel": workload.channel,
            "pub": "http",
            "pub_path": "/bench/publish",
            "size": workload.size,
        }
        return {**common, **({"interval": interval, "wait": 0} if self.polls else {}), **self.options}


OWN, CACHED, SHARED = "own view, polled", "cached poll (nginx)", "shared poll"
LONG, STREAM, SOCKET = "long poll", "event stream", "WebSocket"
RUNGS = (
    Rung(OWN, "site", "VIEW", polls=True),
    Rung(CACHED, "rtget", "/rt/channels/CHANNEL/latest", polls=True, source=True, cache=True),
    Rung(SHARED, "rtget", "/rt/channels/CHANNEL/latest", polls=True, source=True),
    Rung(LONG, "rtpoll", "/rt/poll"),
    Rung(STREAM, "rtstream", "/rt/poll"),
    Rung(SOCKET, "rt", "/rt/ws?version=1"),
)

CACHE = """
    location / { proxy_pass http://site; proxy_http_version 1.1; proxy_set_header Connection "";
                 proxy_set_header Host $http_host; }
    location /rt/channels/ { proxy_pass http://site; proxy_http_version 1.1; proxy_set_header Connection "";
                 proxy_set_header Host $http_host; proxy_cache rungs; proxy_cache_lock on; }
"""


@dataclass
class Site(Running):
    """A workload that runs, and the file it counts in."""

    counters: Path

    def counted(self) -> dict[str, int]:
        return counting.read(self.counters)


@contextmanager
def running(rung: Rung, workload: Workload) -> Iterator[Site]:
    """The site, set up for a rung: with the shared query where it has one, behind nginx's cache where it has that."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtbridge-bench-", dir=MEMORY)))
        counters = folder / "counters"
        counting.create(counters)
        port = site = free_port()
        env = {"BENCH_COUNTERS": str(counters), "TMPDIR": str(folder)}
        if rung.source:
            env["BENCH_SOURCE"] = str(SOURCE)
        command = [sys.executable, "-m", "rtbridge", "serve", workload.app, "--bind", f"127.0.0.1:{site}"]
        servers = [stack.enter_context(Server(command, port=site, cwd=HERE, env={**os.environ, **env}))]
        if rung.cache:
            port = free_port()
            http = (
                f"proxy_cache_path {folder}/cache keys_zone=rungs:1m;"
                f"upstream site {{ server 127.0.0.1:{site}; keepalive 16; }}"
            )
            servers += nginx_server(port, stack, CACHE, http)
        yield Site(port, servers, counters)
