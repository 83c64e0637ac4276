"""The parts of the docs that are made of results: each a function of all results that returns Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .capacity import FORMULA, Costs, Use, needed
from .harness import Goal, Sample, Table, spread
from .peers import RTBRIDGE
from .rungs import OWN, PHOTOS, RUNGS, SHARED, SOCKET

Results = dict[str, dict[str, Any]]
MISSING = "*Not measured yet: `make bench`.*"
QUIET = 0.1
"""Share of the machine that others may take before the page says so."""


# --- goals and tables ----------------------------------------------------------------------------------------------


def all_goals(found: Results) -> list[dict[str, Any]]:
    """Every goal of every benchmark, with goal, what was reached and the verdict."""
    return [goal for data in found.values() for goal in data.get("goals", [])]


def goal_table(found: Results) -> Table | None:
    goals = [
        Goal(goal["name"], goal["bound"], goal["value"], goal["at_most"], goal["unit"])
        for goal in all_goals(found)
    ]
    return Table.of_goals(goals) if goals else None


def table_of(content: dict[str, Any]) -> Table:
    """A table as it was stored; samples become samples again."""
    table = Table(content["title"], content["columns"], note=content["note"])
    for row in content["rows"]:
        table.add(row["name"], *(Sample(**cell) if isinstance(cell, dict) else cell for cell in row["cells"]))
    return table


def markdown(table: Table, title: bool = True) -> str:
    head = " | ".join(["", *(column or " " for column in table.columns)])
    lines = [f"**{table.title}**", ""] if title else []
    lines += [f"|{head} |".replace("|  |", "| |"), "|---" + "|---:" * len(table.columns) + "|"]
    lines += [f"| {' | '.join(cells)} |" for cells in table.texts()]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines)


def _tables(found: Results, name: str, wanted: Callable[[str], bool] = lambda title: True) -> str:
    if name not in found:
        return MISSING
    shown = [table_of(content) for content in found[name]["tables"] if wanted(content["title"])]
    return "\n\n".join(markdown(table) for table in shown) or MISSING


def goals(found: Results) -> str:
    table = goal_table(found)
    return markdown(table, title=False) if table else MISSING


# --- where and with what -------------------------------------------------------------------------------------------


def environment(found: Results) -> str:
    """Date, machine, versions; and a warning where the machine had other things to do."""
    if not found:
        return MISSING
    lines = []
    for name, data in found.items():
        facts = data["environment"]
        machine = facts["machine"]
        profile = f", {data['profile']}" if "profile" in data else ""
        date = facts["date"][:16].replace("T", " ")
        where = f"{machine['cores']} × {machine['cpu']}, Linux {machine['kernel']}"
        lines.append(f"- {name}{profile}: {date} UTC, {where}")
    facts = next(iter(found.values()))["environment"]
    versions = [
        f"Python {facts['python']}",
        *(f"{name} {version}" for name, version in facts["packages"].items()),
    ]
    versions += [f"{name}: {said}" for name, said in facts["programs"].items()]
    versions += [f"{name} {version} (npm)" for name, version in facts.get("npm", {}).items()]
    lines.append("\n" + "; ".join(versions) + ".")
    skipped = [f"{name}: {what}" for name, data in found.items() for what in data.get("skipped", {})]
    if skipped:
        lines.append(f"\nNot measured in this run: {'; '.join(skipped)}.")
    busy = {name: data["environment"].get("others") or 0 for name, data in found.items()}
    said = ", ".join(f"{name} ({share:.0%})" for name, share in busy.items() if share > QUIET)
    if said:
        lines.append(
            f"\n**The machine was not idle**: others took this share of its CPU meanwhile: {said}. "
            "Ratios hold roughly, latencies and seconds do not."
        )
    return "\n".join(lines)


# --- which rung ----------------------------------------------------------------------------------------------------


def _photo_rows(found: Results) -> list[dict[str, Any]]:
    return [row for row in found.get("comparison", {}).get("rows", []) if row["workload"] == PHOTOS.name]


@dataclass(frozen=True)
class Unit:
    """What a rung costs: `ms` of CPU for one more poll (or delivery), and the share of a core that is taken anyway."""

    polls: bool
    ms: float
    fixed: float
    p50: float
    interval: float | None

    def carries(self, rate: float, interval: float) -> float:
        """Clients that half a core carries, with news at a rate: polls pay by interval, pushes by delivery."""
        each = self.ms / interval if self.polls else self.ms * rate
        return max(0.0, HALF - self.fixed) * 1000 / each


def units(rows: Iterable[dict[str, Any]]) -> dict[str, Unit]:
    """The unit costs of each rung: a line through all numbers of clients at which the server kept up, with news once a
    second; where there is one only, all of its cost is taken for that of its polls."""
    kept_up: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["rate"] == 1 and not row["saturated"] and row["cpu_ms"]:
            kept_up.setdefault(row["rung"], []).append(row)
    found = {}
    for rung, members in kept_up.items():
        most = max(members, key=lambda row: row["clients"])
        polls = most["interval"] is not None
        points = [
            (row["requests"] if polls else 1000 * row["cpu_share"] / row["cpu_ms"], row["cpu_share"])
            for row in members
        ]
        slope, fixed = most["cpu_share"] / max(points)[0], 0.0
        if len(points) > 1:
            line = statistics.linear_regression(*zip(*points, strict=True))
            if line.slope > 0 and line.intercept > 0:
                slope, fixed = line.slope, line.intercept
        found[rung] = Unit(polls, 1000 * slope, fixed, most["p50"], most["interval"])
    return found


HALF = 0.5
RATES = (0.1, 1, 5)
INTERVAL = 5


def rule(found: Results) -> str:
    """The rule of thumb in figures."""
    best = units(_photo_rows(found))
    if not best:
        return MISSING
    columns = ["CPU ms", "per", *(f"{rate:g} news/s" for rate in RATES), "behind, p50"]
    table = Table(f"Clients that half a core carries on the photo site; polls every {INTERVAL} s", columns)
    for rung in RUNGS:
        unit = best.get(rung.name)
        if unit is None:
            continue
        # A poll comes at a random moment of its interval: scaled from the one that was measured.
        late = unit.p50 + 1000 * (INTERVAL - (unit.interval or INTERVAL)) / 2
        clients = [unit.carries(rate, INTERVAL) for rate in RATES]
        behind = f"{late / 1000:.1f} s" if late >= 1000 else f"{spread(late)} ms"
        table.add(rung.name, unit.ms, "poll" if unit.polls else "delivery", *clients, behind)
    table.note = (
        "Calculated from what one more poll or delivery costs: what a poll costs does not depend on how often there is "
        "news, what a push costs depends on nothing else. Heartbeats of idle connections are left out."
    )
    own, shared, socket = (best.get(name) for name in (OWN, SHARED, SOCKET))
    said = ""
    if own and shared and socket:
        even = [spread(poll.ms / (INTERVAL * socket.ms)) for poll in (own, shared)]
        said = (
            f"\n\nPolling the view every {INTERVAL} s costs as much as a WebSocket that brings news "
            f"**{even[0]} times a second**, a shared poll as much as one that brings it **{even[1]} times a second**: "
            "below that rate the socket is the cheaper one, and always the sooner."
        )
    return markdown(table) + said


def comparison(found: Results) -> str:
    """The photo site's tables, the smallest population left out: it says little."""
    rows = _photo_rows(found)
    if not rows:
        return MISSING
    least = min(row["clients"] for row in rows)
    return _tables(found, "comparison", lambda title: f": {least:,} clients" not in title)


# --- growing -------------------------------------------------------------------------------------------------------


def costs(found: Results) -> Costs | None:
    """The unit costs that the capacity page calculates with."""
    try:
        deliveries = statistics.median(found["suite"]["figures"]["fan-out 1 to 1000"][RTBRIDGE])
        storm = next(iter(found["recovery"]["found"].values()))
        kib = [row["kib_each"] for row in found["growth"]["memory"] if row["peer"] == RTBRIDGE][-1]
        recoveries = found["recovery"]["clients"] / storm["cpu"]
    except (KeyError, StopIteration, IndexError):
        return None
    redis = found.get("redis", {}).get("costs", {})
    return Costs(
        deliveries, recoveries, kib, *(redis.get(name) for name in ("publishes", "notifications", "checks"))
    )


def capacity(found: Results) -> str:
    measured, use = costs(found), Use()
    if measured is None:
        return MISSING
    lines = [
        "| measured, one process on one core | |",
        "|---|---:|",
        f"| deliveries per CPU-second | {spread(measured.deliveries)} |",
        f"| clients per CPU-second that come back and recover | {spread(measured.recoveries)} |",
        f"| KiB for an idle WebSocket | {spread(measured.kib)} |",
        f"| publications per second of one Redis | {spread(measured.publishes)} |",
        f"| notifications per second of one Redis | {spread(measured.notifications)} |",
        f"| position checks per second of one Redis | {spread(measured.checks)} |",
        "",
        "| assumed | |",
        "|---|---:|",
        f"| deliveries to each client | one in {1 / use.per_client:g} s |",
        f"| subscribers of a channel, on average | {use.audience} |",
        f"| all are back after a deploy within | {use.back_within:g} s |",
        f"| share of a core or a Redis that is used | {use.used:.0%} |",
        f"| memory for the connections of a worker | {use.memory / 1024 / 1024:g} GiB |",
        f"| open files of a worker | {use.files:,} |",
        f"| a channel's position is checked by each process every | {use.check_every:g} s |",
        "",
        *("    " + line for line in FORMULA.rstrip().splitlines()),
        "",
        "| clients | publications/s | workers | needed for | Redis shards |",
        "|---:|---:|---:|---|---:|",
    ]
    for clients in (10_000, 100_000, 1_000_000, 10_000_000):
        need = needed(clients, measured, use)
        shards = "-" if need.shards is None else str(need.shards)
        lines.append(
            f"| {clients:,} | {need.publications:,.0f} | {need.workers:,} | {need.because} | {shards} |"
        )
    return "\n".join(lines)


SECTIONS: dict[str, Callable[[Results], str]] = {
    "environment": environment,
    "goals": goals,
    "peers": lambda found: _tables(found, "suite"),
    "recovery": lambda found: _tables(found, "recovery"),
    "growth": lambda found: _tables(found, "growth"),
    "redis": lambda found: _tables(found, "redis"),
    "comparison": comparison,
    "plain": lambda found: _tables(found, "comparison", lambda title: title.startswith("plain")),
    "rule": rule,
    "capacity": capacity,
}
"""By the name that stands in the page."""
