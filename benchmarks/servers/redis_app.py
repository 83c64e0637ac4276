"""rtbridge on Redis: one channel that everybody may follow. `make` is shared with the publisher beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware


def make(url: str) -> tuple[Bridge, Any]:
    one_user = Limits(user_channels=0, user_subscribes=0, user_calls=0, user_bytes=0)
    rt = Bridge(url, secret="not much of a secret", authenticate=lambda environ: "somebody", limits=one_user)
    feed = rt.channel("feed", str, keep=History(1000, ttl=3600))

    @feed.authorize
    def everybody(ctx: Context) -> bool:
        return True

    return rt, feed


def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


if "REDIS_PORT" in os.environ:
    app = RealtimeMiddleware(site, make(f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0")[0])
