"""A site whose list of photos is a source, so that a test sees who asks for it, and when. Run it with RTBRIDGE_URL."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from rtbridge import Bridge, RealtimeMiddleware

EVERY = 0.8

rt = Bridge(secret="of the tests", lock_file=os.environ["SITE_LOCK"])
photos = rt.channel("photos", dict, keep="latest", public=True)
rt.source(photos, every=EVERY, view="/api/photos")
rows = rt.channel("rows", dict, public=True)


@rows.snapshot
def newest(ctx: Any) -> dict[str, int]:
    return {"by": os.getpid()}


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The endpoint that pages polled before. It writes down each time that it was asked."""
    with open(os.environ["RUNS"], "a") as runs:
        runs.write(f"{os.getpid()} {time.monotonic()}\n")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"by": os.getpid()}).encode()]


application = RealtimeMiddleware(site, rt)
