"""A channel behind a login and an authorisation that both ask a database, to see who asks how often at a reconnect."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from counting import here

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware

folder = tempfile.mkdtemp(prefix="rtbridge-bench-recover-")
counters = here()
database = sqlite3.connect(
    os.path.join(folder, "people.sqlite3"), isolation_level=None, check_same_thread=False
)
database.executescript(
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO people VALUES (1, 'Ada')"
)


def query() -> str:
    counters.add("queries")
    return str(database.execute("SELECT name FROM people WHERE id = 1").fetchone()[0])


def authenticate(environ: Mapping[str, Any]) -> str:
    counters.add("authentications")
    return query()


rt = Bridge(
    secret="not much of a secret",
    lock_file=os.path.join(folder, "lock"),
    authenticate=authenticate,
    limits=Limits(user_channels=0, user_subscribes=0, user_calls=0, user_bytes=0, session_calls=0),  # one user
)
feed = rt.channel("feed", str, keep=History(1000, ttl=3600))
counters.count_bus(rt)


@feed.authorize
def members(ctx: Context) -> bool:
    counters.add("authorisations")
    return query() == "Ada"


def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """POST /feed publishes; POST /drain sends everybody away, as a server does that stops."""
    text = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    if environ["PATH_INFO"] == "/feed":
        feed.publish(text)
    elif environ["PATH_INFO"] == "/drain":
        rt.drain()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


app = RealtimeMiddleware(site, rt)
