"""A small site as a workload: one table in SQLite, and a view in plain WSGI that shows its newest 20 lines.

The same paths as photos_app.py, but /items.json and the channel `items`; without a framework in between, so that what
the transports cost is not hidden by what Django costs.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable
from typing import Any

from counting import here
from sharing import share

from rtbridge import Bridge, History, RealtimeMiddleware

folder = tempfile.mkdtemp(prefix="rtbridge-bench-plain-")
counters = here()
rt = Bridge(secret="not much of a secret", lock_file=os.path.join(folder, "lock"))
items = rt.channel("items", str, keep=History(200, ttl=3600), public=True)

database = sqlite3.connect(
    os.path.join(folder, "items.sqlite3"), isolation_level=None, check_same_thread=False
)
database.executescript(
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT);"
)


def query(sql: str, *values: object) -> list[Any]:
    counters.add("queries")
    return database.execute(sql, values).fetchall()


def newest() -> list[dict[str, Any]]:
    return [
        {"id": number, "text": text}
        for number, text in query("SELECT id, text FROM items ORDER BY id DESC LIMIT 20")
    ]


def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/bench/publish":
        text = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        query("INSERT INTO items (text) VALUES (?)", text)
        items.publish(text)
        body = b"ok"
    else:
        body = json.dumps({"items": newest()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


for number in range(20):
    query("INSERT INTO items (text) VALUES (?)", f"item {number}")
share(rt, "items/latest", newest)
app = RealtimeMiddleware(site, rt)
