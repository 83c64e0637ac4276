"""The site of test_transport_switching: numbers, published as fast as asked, and a call that knows how often it ran."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware

rt = Bridge(
    secret="not much of a secret",
    lock_file=os.environ.get("SITE_LOCK"),
    limits=Limits(
        poll_interval=0.02,
        poll_wait=2.0,
        ping_interval=2.0,
        session_grace=5.0,
        tail_publications=60,
        tail_prime=60,
    ),
)
numbers = rt.channel("numbers/{name}", int, keep=History(60, ttl=3600), public=True)
runs: Counter[str] = Counter()


@rt.call("run")
def run(ctx: Context, number: int) -> int:
    runs[str(ctx.call_id)] += 1
    return number


def site(environ: dict[str, Any], start_response: Any) -> Any:
    query = parse_qs(environ["QUERY_STRING"])
    if environ["PATH_INFO"] == "/publish":
        name, first, last = query["name"][0], int(query["first"][0]), int(query["last"][0])
        for number in range(first, last + 1):
            numbers(name=name).publish(number)
        answer = b"{}"
    else:
        answer = json.dumps({"calls": len(runs), "most": max(runs.values(), default=0)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


application = RealtimeMiddleware(site, rt)
