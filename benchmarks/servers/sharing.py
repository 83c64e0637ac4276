"""The shared poll: a query that is run once for everybody, and published when its result has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gevent


def share(rt: Any, name: str, query: Callable[[], list[Any]]) -> None:
    """With BENCH_SOURCE=SECONDS run the query that often."""
    every = float(os.environ.get("BENCH_SOURCE") or 0)
    if not every:
        return
    # The cache must not hold an answer for longer than the query's result: `max-age` is a whole second at least.
    channel = rt.channel(
        name, list, keep="latest", public=True, transport="shortpoll", every=max(1, round(every))
    )

    def run() -> None:
        before: list[Any] | None = None
        while True:
            found = query()
            if found != before:
                channel.publish(found)
                before = found
            gevent.sleep(every)

    gevent.spawn(run)
