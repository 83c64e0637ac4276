"""Numbers about one process, by name, and the form in which Prometheus reads them.

What is counted where says the code that counts; what it means, and its name outside, stands in `CATALOGUE`, from which
the page docs/reference/metrics.md is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from rtbridge.runtime.native import native_lock

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of `exposition`."""


class Metrics:
    """Counters that only grow and gauges that are set. From any thread, cheap enough for hot paths."""

    def __init__(self) -> None:
        self._lock = native_lock()
        self._values: dict[str, float] = {}
        self._measures: list[tuple[str, Callable[[], float]]] = []

    def add(self, name: str, n: float = 1) -> None:
        """Count `n` more of `name`."""
        with self._lock:
            self._values[name] = self._values.get(name, 0) + n

    def gauge(self, name: str, value: float) -> None:
        """Set `name` to its present `value`."""
        with self._lock:
            self._values[name] = value

    def measure(self, name: str, function: Callable[[], float]) -> None:
        """Ask `function` whenever somebody looks, in whatever thread that is.

        Several of one name add up, with what is counted under it.
        """
        with self._lock:
            self._measures.append((name, function))

    def snapshot(self) -> dict[str, float]:
        """All of them as they are now, in a dictionary of the caller's own."""
        with self._lock:
            values, measures = dict(self._values), list(self._measures)
        for name, function in measures:
            values[name] = values.get(name, 0) + function()
        return values


@dataclass(frozen=True, slots=True)
class Metric:
    """One number as it is known outside.

    Attributes:
        name: with its unit; counters end in `_total`.
        kind: a counter only grows. Of a gauge the sum over all processes is told, of a worst the largest.
        sources: label (empty: none) -> the name it is counted under inside.
    """

    name: str
    kind: Literal["counter", "gauge", "worst"]
    help: str
    sources: tuple[tuple[str, str], ...]


def _one(name: str, kind: Literal["counter", "gauge", "worst"], source: str, help: str) -> Metric:
    return Metric("rtbridge_" + name, kind, help, (("", source),))


CATALOGUE: tuple[Metric, ...] = (
    Metric(
        "rtbridge_connections",
        "gauge",
        "Sockets and streams that are open now.",
        (
            ('transport="websocket"', "connections_websocket"),
            ('transport="eventstream"', "connections_eventstream"),
        ),
    ),
    _one("parked_polls", "gauge", "parked_polls", "Long polls that wait for news now."),
    _one("polls_total", "counter", "polls", "Polls answered or parked (POST)."),
    _one("channels", "gauge", "fanout_channels", "Channels that somebody follows, in each process."),
    _one("tail_bytes", "gauge", "fanout_tail_bytes", "Bytes of recent publications kept in memory."),
    _one("publications_total", "counter", "publications", "Publications published by these processes."),
    _one("letters_total", "counter", "letters", "Messages to one client or user published by these processes."),
    _one("deliveries_total", "counter", "deliveries", "Publications given to clients."),
    _one("gaps_total", "counter", "gaps", "Times a client was told that publications are no longer kept."),
    _one("repairs_total", "counter", "fanout_repairs", "Times a lost notification was made good from the history."),
    _one("lost_to_process_total", "counter", "fanout_gaps", "Times a process missed what is no longer kept."),
    _one("slow_consumers_total", "counter", "slow_consumers", "Times a socket took no more and fell behind."),
    _one("broken_websockets_total", "counter", "broken_websockets", "WebSockets whose client broke the protocol."),
    _one("calls_total", "counter", "calls", "Calls that were run."),
    _one("calls_answered_again_total", "counter", "calls_answered_again", "Repeated calls that got the stored reply."),
    _one("snapshots_total", "counter", "snapshots", "Snapshots that were made."),
    _one("snapshots_sent_total", "counter", "snapshots_sent", "Snapshots given to clients."),
    _one("snapshot_failures_total", "counter", "snapshot_failures", "Snapshots whose function failed."),
    _one("source_runs_total", "counter", "source_runs", "Times a source was run."),
    _one("source_failures_total", "counter", "source_failures", "Times a source failed."),
    _one("source_publications_total", "counter", "source_publications", "Publications of sources: what had changed."),
    _one("sources", "gauge", "source_posts", "Sources that these processes run now."),
    _one("revocations_total", "counter", "revocations", "Revocations carried out, in each process."),
    _one("quota_refusals_total", "counter", "quota_refusals", "Commands refused for their rate or number."),
    _one("bus_lag_seconds", "worst", "bus_lag", "How long the last probe took through the bus and back."),
    _one("loop_lag_seconds", "worst", "loop_lag", "How late a worker's loop was at its latest beat."),
    _one("loop_lag_most_seconds", "worst", "loop_lag_most", "How late a worker's loop ever was."),
    Metric(
        "rtbridge_loop_late_total",
        "counter",
        "Beats of the loop that were late by more than so many seconds.",
        (
            ('over="0.01"', "loop_lag_over_10ms"),
            ('over="0.1"', "loop_lag_over_100ms"),
            ('over="1"', "loop_lag_over_1000ms"),
        ),
    ),
    _one("workers", "gauge", "workers", "Worker processes that live."),
    _one("worker_deaths_total", "counter", "worker_deaths", "Workers that died unasked and were replaced."),
)  # fmt: skip


def merged(processes: Iterable[Mapping[str, float]], past: Mapping[str, float]) -> dict[str, float]:
    """The numbers of several processes as one.

    Args:
        processes: snapshots of those that live.
        past: what counters stood at in those that are gone, added up.
    """
    living = list(processes)
    whole: dict[str, float] = {}
    for metric in CATALOGUE:
        for _, source in metric.sources:
            found = [values[source] for values in living if source in values]
            if metric.kind == "counter" and source in past:
                found.append(past[source])
            if found:
                whole[source] = max(found) if metric.kind == "worst" else sum(found)
    return whole


def is_counter(source: str) -> bool:
    """Whether what is counted under a name only grows, so that it counts even after its process is gone."""
    return any(
        metric.kind == "counter" and name == source for metric in CATALOGUE for _, name in metric.sources
    )


def exposition(values: Mapping[str, float]) -> str:
    """The numbers in Prometheus's text form; those never counted are 0."""
    lines = []
    for metric in CATALOGUE:
        kind = "counter" if metric.kind == "counter" else "gauge"
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {kind}"]
        for label, source in metric.sources:
            value = values.get(source, 0.0)
            text = str(int(value)) if value == int(value) else repr(value)
            lines.append(f"{metric.name}{{{label}}} {text}" if label else f"{metric.name} {text}")
    return "\n".join(lines) + "\n"
