"""10,000 clients lose their sockets and come back at once: how long until each has what it missed; who is asked.

    python -m benchmarks.recovery [--quick | --full]

The sockets are cut by the clients' side (a network that goes away) and by the server (a drain). Meanwhile 20
publications are made. Then everybody connects at the same moment, with token and position. Measured: from the first
connect until the last client has everything, on the server's one core; reads of the bus and queries of the database
meanwhile, which must not grow with the clients. Results go to build/bench/recovery.json.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .harness import BenchmarkError, Goal, Table, save, spread
from .loading import load
from .options import begin, choose, within
from .peers import OURS, redis_server, serving
from .servers import counting

CLIENTS = 10_000
BOUND = 5.0
STORM = 25.0
"""Seconds that one storm takes, connecting everybody before included."""
CUTS = {
    "the network": ("load", False),
    "the server": ("/drain", False),
    "the network, bus on Redis": ("load", True),
}
"""Who cuts them, as load.c wants it said, and whether the bus is a Redis; a quick run measures the first only."""


def recover(clients: int, cut: str, on_redis: bool = False) -> dict[str, Any]:
    """One storm. What the load saw, the server's CPU seconds, and the counts meanwhile."""
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtbridge-bench-"))) / "counters"
        env = {"BENCH_COUNTERS": str(path), "RTBRIDGE_URL": "memory://"}
        if on_redis:
            env["RTBRIDGE_URL"] = f"redis://127.0.0.1:{stack.enter_context(redis_server()).port}/0"
        counting.create(path)
        counts: list[dict[str, int]] = []
        with serving("recover_app:app", env).running() as running:
            options = {**OURS, "pub": "http", "pub_path": "/feed", "cut": cut, "limit": 90}
            result = load(
                running.cpu,
                "recover",
                port=running.port,
                count=clients,
                moment=lambda: counts.append(counting.read(path)),
                **options,  # type: ignore[arg-type]
            )
            before, after = counts
            asked = {name: after[name] - before[name] for name in before}
            return {**result.seen, "cpu": result.cpu, "pss_kib": running.pss(), "asked": asked}


def goals(found: dict[str, dict[str, Any]], planned: list[str], clients: int) -> list[Goal]:
    """For each storm that was planned; one that failed has measured nothing."""
    made = []
    for name in planned:
        label, seen = f"{clients:,} clients recover, cut by {name}", found.get(name)
        whole = seen["recovered"] / clients if seen else None
        asked: dict[str, float] = seen["asked"] if seen else {}
        made.append(Goal(f"{label}: seconds", BOUND, seen and seen["wall"], True, " s"))
        made.append(Goal(f"{label}: share that got everything", 1, whole))
        made.append(Goal(f"{label}: reads of the bus (one channel)", 1, asked.get("bus_reads"), True))
        made.append(Goal(f"{label}: database queries", 0, asked.get("queries"), True))
    return made


def table(found: dict[str, dict[str, Any]], clients: int, missed: int = 20) -> Table:
    columns = [
        "seconds",
        "p50 s",
        "CPU s",
        "recovered",
        "gaps",
        "retries",
        "bus reads",
        "queries",
        "load share",
    ]
    made = Table(f"{clients:,} WebSockets come back at once, and miss {missed} publications each", columns)
    for name, seen in found.items():
        asked = seen["asked"]
        made.add(
            f"cut by {name}",
            seen["wall"],
            seen["p50"] / 1000,
            seen["cpu"],
            f"{seen['recovered']:,}",
            seen["gaps"],
            seen["retries"],
            asked["bus_reads"],
            asked["queries"],
            f"{seen['load_share']:.0%}",
        )
    return made


def main(arguments: list[str] | None = None) -> int:
    profile, limit = choose(__doc__, arguments), begin()
    clients = min(CLIENTS, limit - 500)
    began = time.monotonic()
    found: dict[str, dict[str, Any]] = {}
    skipped = {}
    planned = list(CUTS)[:1] if profile == "quick" else list(CUTS)
    for name in planned:
        cut, on_redis = CUTS[name]
        print(f"   {clients:,} clients, cut by {name}", flush=True)
        try:
            if within(STORM) < STORM:
                raise BenchmarkError("no time left")
            found[name] = recover(clients, cut, on_redis)
        except BenchmarkError as error:
            skipped[name] = str(error)
            print(f"   FAILED: {error}", flush=True)
    reached, shown = goals(found, planned, clients), table(found, clients)
    print(shown.text())
    print(Table.of_goals(reached).text())
    if clients < CLIENTS:
        print(f"only {limit} files may be open: {spread(clients)} clients instead of {CLIENTS}")
    save(
        "recovery",
        {
            "profile": profile,
            "seconds": round(time.monotonic() - began),
            "clients": clients,
            "found": found,
            "tables": [shown],
            "goals": [goal.plain() for goal in reached],
            "skipped": skipped,
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
