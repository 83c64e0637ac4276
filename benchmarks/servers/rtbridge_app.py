"""rtbridge as a site would use it: a channel behind an authorisation and a public one; a call publishes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from typing import Any

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware

# One user publishes and follows as fast as the server can: what is measured is not what it may.
NO_RATES = Limits(
    session_calls=0, session_subscribes=0, session_bytes=0,
    user_channels=0, user_calls=0, user_subscribes=0, user_bytes=0,
)  # fmt: skip

rt = Bridge(
    secret="not much of a secret",
    lock_file=os.path.join(tempfile.mkdtemp(prefix="rtbridge-bench-"), "lock"),
    authenticate=lambda environ: "somebody",
    limits=NO_RATES,
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
