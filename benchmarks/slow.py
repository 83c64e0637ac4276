"""500 of 1,000 subscribers stop reading under full load: what the others lose, what is held for the sleepers, and what
becomes of each when it reads again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .figures import PAYLOAD, Figures, Profile
from .harness import BenchmarkError
from .loading import load
from .peers import Peer, Running

SLEEPERS = 500


def kernel_kib() -> int:
    """KiB that the kernel holds in TCP buffers, on the whole machine."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        words = line.split()
        if words[0] == "TCP:":
            return int(words[words.index("mem") + 1]) * 4
    return 0


def _run(running: Running, asleep: int, profile: Profile, peer: Peer) -> tuple[Any, list[tuple[int, int]]]:
    """The load's result, and memory of the process and of the kernel at start and stop."""
    held: list[tuple[int, int]] = []
    result = load(
        running.cpu,
        "fanout",
        port=running.port,
        count=SLEEPERS + asleep,
        asleep=asleep,
        window=16,
        size=PAYLOAD,
        warm=4,
        seconds=2 * profile.seconds,
        moment=lambda: held.append((running.pss(), kernel_kib())),
        **peer.ws,  # type: ignore[arg-type]
    )
    return result, held


def slow_consumers(peer: Peer, profile: Profile, figures: Figures) -> None:
    """The others' throughput beside the sleepers, as a share of what it is without them; memory that is held for them
    when they have slept for a while, and how much it still grows; and each sleeper's fate."""
    try:
        with peer.running() as running:
            alone, before = _run(running, 0, profile, peer)
        with peer.running() as running:
            beside, after = _run(running, SLEEPERS, profile, peer)
        share = beside.per_cpu_second("deliveries") / alone.per_cpu_second("deliveries")
        figures.add("slow consumers", peer.name, share)
        for name, at in (("", 0), (", kernel", 1)):
            extra = after[1][at] - before[1][at]
            growth = (after[1][at] - after[0][at]) - (before[1][at] - before[0][at])
            figures.add(f"slow consumers, KiB each{name}", peer.name, extra / SLEEPERS)
            figures.add(f"slow consumers, growth KiB each{name}", peer.name, growth / SLEEPERS)
        for fate in ("caught_up", "told", "ended", "silent", "behind"):
            figures.add(f"sleepers {fate}", peer.name, beside.seen[fate])
        figures.add("sleepers live", peer.name, beside.seen["live"] / (beside.seen["ready"] or 1))
    except BenchmarkError as error:
        figures.skip(f"{peer.name}, slow consumers", error)
