"""The ladder's rungs side by side, for who must choose: what a poll, a stream, a socket cost, and how late the news is.

    python -m benchmarks.comparison [--quick | --full] [--only WORD]

For each rung, number of clients and update rate: latency from publishing (the POST that stores the thing begins) to
arrival at each client, requests, bytes both ways per delivered publication, server CPU, database queries, memory. One
server process on one core; where its share nears 100 % the rung is out of its depth, and the row says so. Results go to
build/bench/comparison.json, tables and plots to build/bench/report.html.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .harness import BenchmarkError, Table, save, spread
from .loading import load
from .options import begin, parser_for, within
from .report import results, write_page
from .rungs import PHOTOS, PLAIN, RUNGS, WORKLOADS, Rung, Workload, running

SATURATED = 0.93
"""Share of the core from which a row counts as saturated: its latencies are those of a queue."""
OVERRUN = 0.05
"""Share of polls that were late because the answer to the one before had not come; from here on, too."""

ENOUGH = 2
"""Saturated cells of a rung after which no further one is measured: they take long, and say nothing new."""


@dataclass(frozen=True)
class Grid:
    """Which cells are measured: all `clients` at `rate`, and all `rates` at `at` clients. Times are seconds."""

    workload: Workload
    clients: tuple[int, ...]
    rates: tuple[float, ...]
    at: int
    interval: float
    seconds: float
    rate: float = 1

    def cells(self) -> Iterator[tuple[int, float]]:
        for count in self.clients:
            yield count, self.rate
        for rate in self.rates:
            if (self.at, rate) not in [(count, self.rate) for count in self.clients]:
                yield self.at, rate


GRIDS = {
    "quick": [Grid(PHOTOS, (30, 300), (), 300, 1, 2)],
    "standard": [
        Grid(PHOTOS, (10, 100, 500, 1000), (0.2, 5), 500, 2, 4),
        Grid(PLAIN, (100, 1000), (5,), 100, 2, 4),
    ],
    "full": [
        Grid(workload, (10, 100, 500, 1000), (0.1, 0.2, 5, 20), 500, 5, 12) for workload in (PHOTOS, PLAIN)
    ],
}
BUDGETS = {"quick": 65, "standard": 480, "full": 3600}
"""Seconds, past which nothing further begins."""


def cell(
    rung: Rung, workload: Workload, site: Any, clients: int, rate: float, grid: Grid, first: int
) -> dict[str, Any]:
    """One measurement. Publications are numbered from `first`, which tells this cell's from the cells' before."""
    counts: list[dict[str, int]] = []
    seconds = max(grid.seconds, 2.2 / rate)
    warm = (grid.interval if rung.polls else 0.3) + 0.5
    result = load(
        site.cpu,
        "fanout",
        limit=60 + int(seconds + warm),
        moment=lambda: counts.append(site.counted()),
        port=site.port,
        count=clients,
        rate=rate,
        seconds=seconds,
        warm=warm,
        first=first,
        **rung.load_options(workload, grid.interval),
    )
    seen, wall = result.seen, result.seen["wall"]
    delivered = seen["deliveries"]
    queries = counts[1]["queries"] - counts[0]["queries"]
    share = result.cpu / wall
    return {
        "workload": workload.name,
        "rung": rung.name,
        "clients": clients,
        "rate": rate,
        "interval": grid.interval if rung.polls else None,
        "p50": seen["p50"] if delivered else None,
        "p95": seen["p95"] if delivered else None,
        "p99": seen["p99"] if delivered else None,
        "requests": seen["answers"] / wall,
        "bytes": (seen["bytes_in"] + seen["bytes_out"]) / delivered if delivered else None,
        "cpu_ms": 1000 * result.cpu / delivered if delivered else None,
        "cpu_ms_per_request": 1000 * result.cpu / seen["answers"] if seen["answers"] else None,
        "cpu_share": share,
        "queries": queries / wall,
        "mib": site.pss() / 1024,
        "deliveries": delivered,
        "published": seen["published"],
        "lost": seen["lost"],
        "overruns": seen["overruns"],
        "load_share": result.load_share,
        "saturated": share >= SATURATED or seen["overruns"] > OVERRUN * clients * wall / grid.interval,
    }


def measure(grids: list[Grid], budget: float, only: str, skipped: dict[str, str]) -> Iterator[dict[str, Any]]:
    end = time.monotonic() + within(budget)
    for grid in grids:
        workload = grid.workload
        for rung in RUNGS:
            if only and only not in rung.name and only not in workload.name:
                continue
            name = f"{workload.name}, {rung.name}"
            print(f"   {name}", flush=True)
            try:
                full = 0
                with running(rung, workload) as site:
                    for number, (clients, rate) in enumerate(grid.cells()):
                        if time.monotonic() > end:
                            raise BenchmarkError("no time left")
                        if full == ENOUGH:
                            raise BenchmarkError("the core was full twice: more clients would tell no more")
                        row = cell(rung, workload, site, clients, rate, grid, 1 + number * 1_000_000)
                        full += row["saturated"]
                        yield row
            except (BenchmarkError, OSError) as error:
                print(f"   SKIPPED {name}: {str(error).splitlines()[0]}", flush=True)
                skipped[name] = str(error)


COLUMNS = {
    "p50 ms": "p50",
    "p95 ms": "p95",
    "p99 ms": "p99",
    "requests/s": "requests",
    "bytes each": "bytes",
    "CPU ms each": "cpu_ms",
    "core": "cpu_share",
    "queries/s": "queries",
    "MiB": "mib",
}


def tables(rows: list[dict[str, Any]]) -> list[Table]:
    """One for each workload, clients and rate; a rung is a row."""
    groups: dict[tuple[str, int, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["workload"], row["clients"], row["rate"]), []).append(row)
    labels = {workload.name: workload.label for workload in WORKLOADS}
    made = []
    for (workload, clients, rate), members in groups.items():
        times = "once a second" if rate == 1 else f"{rate:g} times a second"
        interval = next((row["interval"] for row in members if row["interval"]), None)
        polls = f"; polls every {interval:g} s" if interval else ""
        table = Table(f"{labels[workload]}: {clients:,} clients, news {times}{polls}", [*COLUMNS, ""])
        for row in members:
            cells: list[object] = [row[key] for key in COLUMNS.values()]
            cells[list(COLUMNS).index("core")] = f"{row['cpu_share']:.0%}"
            table.add(row["rung"], *cells, "SATURATED" if row["saturated"] else "")
        made.append(table)
    if made:
        made[
            -1
        ].note = "each: per delivered publication. bytes: both ways, heads included. core: share of the server's core."
    return made


def main(arguments: list[str] | None = None) -> int:
    parser = parser_for(__doc__)
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only rungs or workloads whose name has it"
    )
    options = parser.parse_args(arguments)
    begin()
    began = time.monotonic()
    skipped: dict[str, str] = {}
    rows = list(measure(GRIDS[options.profile], BUDGETS[options.profile], options.only, skipped))
    shown = tables(rows)
    for table in shown:
        print(table.text())
    busiest = max((row["load_share"] for row in rows), default=0.0)
    print(f"\nload generator: at most {busiest:.0%} of its core; {spread(time.monotonic() - began)} s")
    save(
        "comparison",
        {
            "profile": options.profile,
            "seconds": round(time.monotonic() - began),
            "rows": rows,
            "tables": shown,
            "skipped": skipped,
        },
    )
    print(f"plots: {write_page(results())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
