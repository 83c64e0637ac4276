"""rtbridge as a site would use it: a channel behind an authorisation and a public one; a call publishes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from typing import Any

from rtbridge import Bridge, Context, History, RealtimeMiddleware

rt = Bridge(
    secret="not much of a secret",
    lock_file=os.path.join(tempfile.mkdtemp(prefix="rtbridge-bench-"), "lock"),
    authenticate=lambda environ: "somebody",
)
feed = rt.channel("feed", str, keep=History(1000, ttl=3600))
news = rt.channel("news", str, keep=History(1000, ttl=3600), public=True)


@feed.authorize
def everybody(ctx: Context) -> bool:
    return True


@rt.call("publish")
def publish(ctx: Context, text: str) -> None:
    feed.publish(text)


def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The site around it: one page, and a form that publishes."""
    if environ["REQUEST_METHOD"] == "POST":
        text = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        (news if environ["PATH_INFO"] == "/news" else feed).publish(text)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


app = RealtimeMiddleware(site, rt)
