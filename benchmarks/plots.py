"""The plots of the report, each from the JSON of one benchmark: a function of the data that returns a figure, or None
where the data is not there.

Colours stand for the same thing in every plot. Lines carry their name at their end, so that no legend has to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .peers import COALESCING, NCHAN_NAME, NODE_SOCKET_IO, RTBRIDGE, SOCKETIO_GEVENT, C
from .rungs import CACHED, LONG, OWN, PHOTOS, RUNGS, SHARED, SOCKET, STREAM

COLOURS = {
    OWN: "#c0392b",
    CACHED: "#8e8e8e",
    SHARED: "#e08e0b",
    LONG: "#7b5ea7",
    STREAM: "#2a7fb8",
    SOCKET: "#1b8a5a",
    RTBRIDGE: "#1b8a5a",
    NODE_SOCKET_IO: "#2a7fb8",
    SOCKETIO_GEVENT: "#e08e0b",
}
OTHER = "#9aa3ab"
SIZE = (7.4, 4.2)
ROUND = [step * 10**power for power in range(8) for step in (1, 2, 5)]

Figure = Any
Series = dict[str, list[tuple[float, float]]]


def axes(title: str, x: str, y: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Any]:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "rtbridge", "svg.fonttype": "none", "font.family": "sans-serif"}
    )
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=size, layout="constrained")
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=10)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(True, axis="y", color="#e6e6e6", linewidth=0.8)
    ax.set_axisbelow(True)
    return figure, ax


def plain_numbers(axis: Any, ticks: Iterable[float] | None = None) -> None:
    """Ticks as people write them, on a logarithmic axis too."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if ticks is not None:
        axis.set_major_locator(FixedLocator(sorted(ticks)))
        axis.set_minor_locator(NullLocator())


def lines(ax: Any, series: Series, saturated: set[tuple[str, float]] = frozenset()) -> None:  # type: ignore[assignment]
    """A line for each name, which stands at its end; a hollow point where the server was saturated."""
    ends = []
    for name, points in series.items():
        colour = COLOURS.get(name, OTHER)
        xs, ys = zip(*sorted(points), strict=True)
        ax.plot(xs, ys, color=colour, linewidth=2)
        for x, y in points:
            hollow = (name, x) in saturated
            ax.plot([x], [y], "o", color=colour, markersize=6, markerfacecolor="white" if hollow else colour)
        ends.append((ys[-1], xs[-1], name, colour))
    ax.margins(x=0.04)
    ax.figure.canvas.draw()
    below = None  # labels keep a line's height of distance, from the lowest up
    for y, x, name, colour in sorted(ends):
        at = ax.transData.transform((x, y))[1]
        if below is not None:
            at = max(at, below + 13 * ax.figure.dpi / 72)
        below = at
        ax.annotate(
            name,
            xy=(1.015, ax.transAxes.inverted().transform((0, at))[1]),
            xycoords="axes fraction",
            color=colour,
            va="center",
            fontsize=9,
        )


def _series(rows: Iterable[dict[str, Any]], x: str, y: str, name: str = "rung") -> Series:
    found: Series = {}
    for row in rows:
        if row[y] is not None:
            found.setdefault(row[name], []).append((row[x], row[y]))
    return found


def _of_photos(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in data["rows"] if row["workload"] == PHOTOS.name]


def _against_clients(
    data: dict[str, Any], y: str, title: str, label: str, log: bool = False
) -> Figure | None:
    rows = [row for row in _of_photos(data) if row["rate"] == 1]
    if not rows:
        return None
    figure, ax = axes(title, "clients", label)
    counts = sorted({row["clients"] for row in rows})
    if log:
        ax.set_yscale("log")
        plain_numbers(ax.yaxis)
    else:
        ax.set_ylim(0, 1.08 * max(row[y] for row in rows))
    saturated = {(row["rung"], row["clients"]) for row in rows if row["saturated"]}
    lines(ax, _series(rows, "clients", y), saturated)
    plain_numbers(ax.xaxis, counts if len(counts) < 3 or counts[1] > counts[-1] / 15 else counts[1:])
    if saturated:
        ax.set_xlabel("clients (hollow: the server did not keep up)")
    return figure


def queries(data: dict[str, Any]) -> Figure | None:
    """The story: the database's queries grow with the visitors, then they do not."""
    title = "Photo site: database queries a second, by visitors"
    return _against_clients(data, "queries", title, "queries / s (one photo a second is stored)")


def core(data: dict[str, Any]) -> Figure | None:
    title = "Photo site: share of one core, by visitors"
    rows = {**data, "rows": [{**row, "percent": 100 * row["cpu_share"]} for row in data["rows"]]}
    return _against_clients(rows, "percent", title, "% of the server's core")


def latency(data: dict[str, Any]) -> Figure | None:
    """From the median to the 99th percentile of each rung, at the most clients with whom every rung kept up."""
    rows = [row for row in _of_photos(data) if row["rate"] == 1 and row["p50"]]
    if not rows:
        return None
    full = {row["clients"] for row in _of_photos(data) if row["saturated"]}
    counts = {row["clients"] for row in rows}
    clients = max(counts - full or counts)
    names = [rung.name for rung in RUNGS][::-1]
    figure, ax = axes(
        f"Photo site, {clients} clients: how late the news is",
        "ms from the upload to the page (point: median; bar: to the 99th percentile)",
        "",
    )
    ax.set_xscale("log")
    ax.grid(True, axis="x", color="#e6e6e6", linewidth=0.8)
    for row in rows:
        if row["clients"] != clients:
            continue
        y, colour = names.index(row["rung"]), COLOURS[row["rung"]]
        ax.plot(
            [row["p50"], row["p99"]], [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round"
        )
        ax.plot([row["p50"]], [y], "o", color=colour, markersize=9)
        label = f"  {_short(row['p50'])} – {_short(row['p99'])}"
        ax.annotate(label, (row["p99"], y), va="center", fontsize=8, color="#555", annotation_clip=False)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.3)
    ax.margins(x=0.08)
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * 2)  # room for what stands behind the bars
    plain_numbers(ax.xaxis, [tick for tick in ROUND if low <= tick <= high])
    return figure


def _short(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"


def per_delivery(data: dict[str, Any]) -> Figure | None:
    """What a delivered publication costs, against how often there is one: polls pay for asking, pushes for sending."""
    rows = [row for row in _of_photos(data) if row["cpu_ms"] and not row["saturated"]]
    by_clients: dict[int, set[float]] = {}
    for row in rows:
        by_clients.setdefault(row["clients"], set()).add(row["rate"])
    if not by_clients or max(map(len, by_clients.values())) < 2:
        return None
    clients = max(by_clients, key=lambda count: (len(by_clients[count]), count))
    rows = [row for row in rows if row["clients"] == clients]
    figure, ax = axes(
        f"Photo site, {clients} clients: CPU of a delivered photo", "photos a second", "ms of server CPU each"
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    lines(ax, _series(rows, "rate", "cpu_ms"))
    plain_numbers(ax.xaxis, {row["rate"] for row in rows})
    plain_numbers(ax.yaxis)
    return figure


def fan_out_growth(data: dict[str, Any]) -> Figure | None:
    rows = [row for row in data["fan_out"] if row["window"] == 1]
    if not rows:
        return None
    figure, ax = axes(
        "Fan-out: does a send get dearer with more subscribers?",
        "subscribers",
        "µs of server CPU per delivery",
    )
    ax.set_xscale("log")
    ax.set_ylim(0, 1.1 * max(row["cpu_us"] for row in rows))
    lines(ax, _series(rows, "clients", "cpu_us", "peer"))
    plain_numbers(ax.xaxis, {row["clients"] for row in rows})
    return figure


def memory_growth(data: dict[str, Any]) -> Figure | None:
    rows = data["memory"]
    if not rows:
        return None
    figure, ax = axes("Idle WebSockets: memory of the whole server", "connections", "MiB (PSS)")
    ax.set_ylim(0, 1.1 * max(row["mib"] for row in rows))
    lines(ax, _series(rows, "clients", "mib", "peer"))
    plain_numbers(ax.xaxis)
    return figure


def peers(data: dict[str, Any]) -> Figure | None:
    """Fan-out to 1,000, one publication in flight and 16, logarithmic: the peers differ by orders of magnitude."""
    values = {window: data["figures"].get(f"fan-out {window} to 1000", {}) for window in (1, 16)}
    names = sorted(set(values[1]) | set(values[16]), key=lambda name: _median(values[1].get(name)))
    if not names:
        return None
    title = "Fan-out to 1,000 WebSockets: deliveries per second of server CPU"
    figure, ax = axes(
        title,
        "deliveries / CPU-second (filled: one in flight, hollow: 16)",
        "",
        (7.4, 0.45 * len(names) + 1.4),
    )
    ax.set_xscale("log")
    ax.grid(True, axis="x", color="#e6e6e6", linewidth=0.8)
    for y, name in enumerate(names):
        one, many = _median(values[1].get(name)), _median(values[16].get(name))
        colour = (
            COLOURS[RTBRIDGE]
            if name == RTBRIDGE
            else "#444"
            if name in (C, COALESCING, NCHAN_NAME)
            else OTHER
        )
        ax.plot([one or many, many or one], [y, y], color=colour, linewidth=2, alpha=0.4)
        if one:
            ax.plot([one], [y], "o", color=colour, markersize=8)
        if many:
            ax.plot([many], [y], "o", color=colour, markersize=8, markerfacecolor="white")
    ax.set_yticks(range(len(names)), names)
    ax.get_yticklabels()[names.index(RTBRIDGE)].set_fontweight("bold") if RTBRIDGE in names else None
    ax.margins(x=0.06)
    low, high = ax.get_xlim()
    ticks = [tick for tick in ROUND if low <= tick <= high]
    # Over more than two decades only 1, 10, 100 and so on have room.
    plain_numbers(ax.xaxis, [tick for tick in ticks if high < 100 * low or str(tick).startswith("1")])
    return figure


def _median(values: list[float] | None) -> float:
    import statistics

    return statistics.median(values) if values else 0.0


PLOTS: dict[str, tuple[str, Callable[[dict[str, Any]], Figure | None]]] = {
    "queries": ("comparison", queries),
    "core": ("comparison", core),
    "latency": ("comparison", latency),
    "per-delivery": ("comparison", per_delivery),
    "peers": ("suite", peers),
    "fan-out": ("growth", fan_out_growth),
    "memory": ("growth", memory_growth),
}
"""By name: which benchmark's JSON a plot is made of, and how."""
