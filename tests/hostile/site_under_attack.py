"""The site that is attacked: pages, a private channel for each user, and limits short enough for a quick suite.

A user is who `Authorization: Bearer NAME` (or the cookie `user=NAME`) says.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any
from urllib.parse import parse_qs

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware


def who(environ: Any) -> str | None:
    bearer = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
    return bearer or environ.get("HTTP_COOKIE", "").removeprefix("user=") or None


rt = Bridge(
    secret="what only the site knows",
    lock_file=os.environ.get("SITE_LOCK"),
    authenticate=who,
    limits=Limits(
        body_timeout=2.0,
        hello_timeout=0.5,
        close_timeout=0.5,
        send_timeout=20.0,
        poll_wait=2.0,
        poll_interval=0.1,
    ),
)
open_channel = rt.channel("open", Any, keep=History(200, ttl=3600), public=True)
flood = rt.channel("flood", Any, keep=History(500, ttl=3600), public=True)
private = rt.channel("private/{name}", Any, keep=History(100, ttl=3600))
hits: list[str] = []  # paths that reached the site itself


@private.authorize
def its_owner(ctx: Context, name: str) -> bool:
    return bool(ctx.user == name)


@rt.call("echo")
def echo(ctx: Context, value: Any) -> Any:
    return value


@rt.call("whoami")
def whoami(ctx: Context) -> Any:
    return ctx.user_id


def answer(environ: dict[str, Any]) -> bytes | None:
    path, query = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
    if path == "/":
        return b"<h1>An ordinary page</h1>"
    if path == "/slow":
        time.sleep(0.2)
        return b"slow"
    if path == "/pid":
        return str(os.getpid()).encode()
    if path == "/hits":
        return json.dumps(hits).encode()
    if path == "/publish":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        for number in range(int(query.get("times", ["1"])[0])):
            rt.publish(query["channel"][0], [number, json.loads(body)])
        return b"published"
    hits.append(path)
    return None


def site(environ: dict[str, Any], start_response: Any) -> Any:
    body = answer(environ)
    status = "404 Not Found" if body is None else "200 OK"
    start_response(status, [("Content-Type", "text/html"), ("Content-Length", str(len(body or b"")))])
    return [body or b""]


application = RealtimeMiddleware(site, rt)
