"""What the suite measured: by measure and name one value per round, and what could not be measured, with the reason."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from .harness import Sample
from .peers import GOAL_PEERS, PEERS

PAYLOAD = 128
ALL_PEERS = tuple(peer.name for peer in PEERS)
IDLE = ("idle WebSocket", "parked long poll", "idle event stream", "idle keep-alive")


@dataclass(frozen=True)
class Profile:
    """How much is measured. `budget` seconds bound it all: past it nothing further begins."""

    rounds: int
    seconds: float
    populations: tuple[int, ...]
    idle: int
    budget: float
    peers: tuple[str, ...] = ALL_PEERS


PROFILES = {
    "quick": Profile(rounds=1, seconds=1, populations=(1000,), idle=2000, budget=110, peers=GOAL_PEERS),
    "standard": Profile(rounds=3, seconds=2, populations=(1000,), idle=5000, budget=480),
    "full": Profile(rounds=5, seconds=4, populations=(100, 1000, 5000), idle=5000, budget=7200),
}


@dataclass
class Figures:
    """All that was measured: by measure and name, one value per round; and what could not be, with the reason."""

    values: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, measure: str, name: str, value: float) -> None:
        self.values[measure][name].append(value)

    def sample(self, measure: str, name: str) -> Sample | None:
        values = self.values.get(measure, {}).get(name)
        return Sample.of(values) if values else None

    def ratio(self, measure: str, name: str, to: str) -> float | None:
        ours, theirs = self.sample(measure, name), self.sample(measure, to)
        return ours.median / theirs.median if ours and theirs and theirs.median else None

    def skip(self, name: str, error: Exception) -> None:
        reason = str(error).strip() or type(error).__name__
        print(f"   SKIPPED {name}: {reason.splitlines()[0]}", flush=True)
        self.skipped[name] = reason
