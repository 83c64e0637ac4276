"""How cost grows: fan-out and memory against the number of clients, ours and two peers'.

    python -m benchmarks.growth [--quick | --full]

A publication to N subscribers costs N sends, and nothing should make the single send dearer as N grows. The same for
memory: a connection costs what it costs, whether it is the hundredth or the ten-thousandth. Results go to
build/bench/growth.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .figures import PAYLOAD
from .harness import BenchmarkError, Table, save
from .loading import held, load
from .options import begin, choose, within
from .peers import NODE_SOCKET_IO, PEERS, RTBRIDGE, SOCKETIO_GEVENT, Peer


@dataclass(frozen=True)
class Sizes:
    """`budget` seconds bound it all: past them nothing further begins."""

    fan_out: tuple[int, ...]
    idle: tuple[int, ...]
    seconds: float
    budget: float


SIZES = {
    "quick": Sizes((100, 1000), (500, 2000), 1, 20),
    "standard": Sizes((100, 1000, 5000), (1000, 5000, 10_000), 1.5, 190),
    "full": Sizes((100, 300, 1000, 3000, 5000, 10_000), (1000, 2500, 5000, 10_000, 15_000), 4, 1200),
}
NAMES = (RTBRIDGE, NODE_SOCKET_IO, SOCKETIO_GEVENT)


def fan_out(peer: Peer, sizes: tuple[int, ...], seconds: float) -> Iterator[dict[str, Any]]:
    """Server CPU per delivery, one publish in flight and 16."""
    with peer.running() as running:
        for count in sizes:
            for window in (1, 16):
                options: dict[str, Any] = {"port": running.port, "count": count, "size": PAYLOAD, **peer.ws}
                result = load(running.cpu, "fanout", window=window, seconds=seconds, **options)
                yield {
                    "peer": peer.name,
                    "clients": count,
                    "window": window,
                    "cpu_us": 1e6 / result.per_cpu_second("deliveries"),
                    "load_share": result.load_share,
                    "lost": result.seen["lost"],
                }


def memory(peer: Peer, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """MiB of the whole server with so many idle WebSockets, and KiB for each."""
    with peer.running() as running:
        with held(30, port=running.port, count=50, **peer.ws):
            pass
        time.sleep(0.3)
        before = running.pss()
        yield {"peer": peer.name, "clients": 0, "mib": before / 1024, "kib_each": None}
        for count in sizes:
            with held(60, port=running.port, count=count, **peer.ws):
                time.sleep(0.5)
                now = running.pss()
            yield {"peer": peer.name, "clients": count, "mib": now / 1024, "kib_each": (now - before) / count}
            time.sleep(0.3)


def measure(sizes: Sizes, limit: int, skipped: dict[str, str]) -> tuple[list[Any], list[Any]]:
    end = time.monotonic() + within(sizes.budget)
    fanned: list[dict[str, Any]] = []
    idle: list[dict[str, Any]] = []
    possible = tuple(count for count in sizes.idle if count <= limit - 500)
    for peer in PEERS:
        if peer.name not in NAMES:
            continue
        print(f"   {peer.name}", flush=True)
        several = (
            ("memory", idle, memory(peer, possible)),
            ("fan-out", fanned, fan_out(peer, sizes.fan_out, sizes.seconds)),
        )
        for what, rows, made in several:
            try:
                while time.monotonic() < end:
                    row = next(made, None)
                    if row is None:
                        break
                    rows.append(row)
                else:
                    raise BenchmarkError("no time left")
            except BenchmarkError as error:
                made.close()  # type: ignore[attr-defined]
                skipped[f"{peer.name}, {what}"] = str(error)
                print(f"   SKIPPED {peer.name}, {what}: {str(error).splitlines()[0]}", flush=True)
    return fanned, idle


def grid(title: str, rows: list[dict[str, Any]], value: str, note: str = "") -> Table:
    """A table with a column for each number of clients."""
    counts = sorted({row["clients"] for row in rows if row[value] is not None})
    table = Table(title, [f"{count:,}" for count in counts], note=note)
    names: dict[str, dict[int, float]] = {}
    for row in rows:
        name = row["peer"] + (f", {row['window']} in flight" if "window" in row else "")
        names.setdefault(name, {})[row["clients"]] = row[value]
    for name, values in names.items():
        table.add(name, *(values.get(count) for count in counts))
    return table


def main(arguments: list[str] | None = None) -> int:
    profile, limit = choose(__doc__, arguments), begin()
    began, skipped = time.monotonic(), dict[str, str]()
    fanned, idle = measure(SIZES[profile], limit, skipped)
    shown = [
        grid("Fan-out: microseconds of server CPU per delivery, by number of subscribers", fanned, "cpu_us"),
        grid("Idle WebSockets: KiB each, by number of connections", idle, "kib_each"),
    ]
    for table in shown:
        print(table.text())
    content = {"fan_out": fanned, "memory": idle, "tables": shown, "skipped": skipped}
    save("growth", {"profile": profile, "seconds": round(time.monotonic() - began), **content})
    return 0


if __name__ == "__main__":
    sys.exit(main())
