"""What the site of tests/servers/ does not have: channels with limits, slow calls, small limits."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware

rt = Bridge(
    secret="not much of a secret",
    lock_file=os.environ.get("SITE_LOCK"),
    authenticate=lambda environ: environ.get("HTTP_X_USER"),
    limits=Limits(max_message=10_000, max_body=20_000, poll_interval=0.2, poll_wait=1.0, token_ttl=1.0),
)
slow = rt.channel("slow", Any, keep=History(100, ttl=60), public=True, transport="shortpoll", every=0.2)
parked = rt.channel("parked/{name}", Any, keep=History(100, ttl=60), transport="longpoll")
news = rt.channel("news", Any, keep=History(10, ttl=60), public=True)
runs: Counter[str] = Counter()


@parked.authorize
def authorize(ctx: Context, name: str) -> bool:
    return bool(ctx.user == name)


@rt.call("publish")
def publish(ctx: Context, channel: str, value: Any) -> None:
    rt.publish(channel, value)


@rt.call("sleep")
def sleep(ctx: Context, seconds: float) -> int:
    runs[str(ctx.call_id)] += 1
    time.sleep(seconds)
    return runs[str(ctx.call_id)]


@rt.call("length")
def length(ctx: Context, text: str) -> int:
    return len(text)


def site(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


application = RealtimeMiddleware(site, rt)
