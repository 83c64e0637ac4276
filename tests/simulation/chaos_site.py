"""The site that the simulated workers serve and the simulated publishers publish through. `CHAOS` in the environment
is its plan: JSON, see `world.Plan`."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import mutants  # noqa: E402

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware  # noqa: E402

plan: dict[str, Any] = json.loads(os.environ["CHAOS"])
mutants.apply(plan["mutant"])
LIMITS = Limits(
    bus_timeout=2.0,
    poll_interval=0.25,
    poll_wait=3.0,
    ping_interval=2.0,
    ping_timeout=4.0,
    session_grace=10.0,
    token_ttl=30.0,
    page_publications=50,
    tail_publications=100,
    tail_prime=20,
    sweep_interval=mutants.sweep_interval(plan["mutant"], 3.0),
)
rt = Bridge(secret="of the simulation", limits=LIMITS)
kept = {
    family: rt.channel(f"{family}/{{number:int}}", str, keep=History(size, ttl=3600))
    for family, size in plan["kept"].items()
}
for declared in kept.values():

    @declared.authorize
    def anybody(ctx: Context, number: int) -> bool:
        return True


def _count() -> None:
    """Leave the counters of this process where they can be read even when it is killed."""
    file = Path(plan["folder"]) / f"counters-{os.getpid()}.json"
    while True:
        time.sleep(0.5)
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(dict(rt.metrics.snapshot())))
        draft.replace(file)


if sys.argv[0].endswith("__main__.py"):  # a worker
    threading.Thread(target=_count, daemon=True).start()


def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return [b""]


application = RealtimeMiddleware(site, rt)
