"""The smallest site that has everything: pages, one that streams, a slow one, all kinds of channels, calls."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware, Refused

rt = Bridge(
    secret="not much of a secret",
    lock_file=os.environ.get("SITE_LOCK"),
    authenticate=lambda environ: environ.get("HTTP_X_USER"),
    # Quick to notice who left, so that a test need not wait for half a minute.
    limits=Limits(
        ping_interval=1.0,
        session_grace=0.5,
        poll_interval=float(os.environ.get("SITE_POLL_INTERVAL", "0.3")),
        poll_wait=float(os.environ.get("SITE_POLL_WAIT", "2")),
    ),
)

news = rt.channel("news", Any, keep=History(1000, ttl=3600), public=True)
price = rt.channel("price", int, keep="latest", public=True)
club = rt.channel("clubs/{name}", Any, keep=History(100, ttl=3600))
ended: list[str] = []


@club.authorize
def members_only(ctx: Context, name: str) -> bool:
    return bool(ctx.user == name)


@rt.session_ended
def remember(ctx: Context) -> None:
    ended.append(ctx.client_id)


@rt.call("echo")
def echo(ctx: Context, value: Any) -> Any:
    return value


@rt.call("add")
def add(ctx: Context, a: int, b: int) -> int:
    return a + b


@rt.call("boom")
def boom(ctx: Context) -> None:
    raise RuntimeError("boom")


@rt.call("refuse")
def refuse(ctx: Context) -> None:
    raise Refused("not today", data={"until": "tomorrow"})


def pieces() -> Iterator[bytes]:
    """A page that takes its time: each second piece can only be seen early if nothing holds the first one back."""
    for number in range(3):
        yield f"piece {number} at {time.time()}\n".encode()
        time.sleep(0.4)


def publish(channel: str, body: bytes) -> str:
    return str(rt.publish(channel, json.loads(body)).position)


def site(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/publish" and environ["REQUEST_METHOD"] == "POST":
        channel = parse_qs(environ["QUERY_STRING"])["channel"][0]
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        answer = publish(channel, body).encode()
    elif path == "/ended":
        answer = json.dumps(ended).encode()
    elif path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return pieces()
    elif path in ("/", "/slow"):
        time.sleep(0.5 if path == "/slow" else 0)
        answer = b"<h1>An ordinary page</h1>"
    else:
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return []
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(answer)))])
    return [answer]


application = RealtimeMiddleware(site, rt)
