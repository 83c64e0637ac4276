"""The oracle can fail: each of these takes away what a promise stands on, and has to be found out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulation import failover, mutants, world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STICKY: dict[str, Any] = {"transports": ("websocket", "eventstream"), "restless": (1000.0, 1000.0)}
"""Clients that stay where they are: others come to a worker that has what is missing here."""
AIMED: dict[str, tuple[set[str], dict[str, Any]]] = {
    "sweep": ({"lost", "behind"}, {**STICKY, "channels": world.channels(50, 0), "share": 0.5}),
    "fence": ({"two names"}, {"options": "?fence=off", "seconds": 25.0}),
    "idempotency": ({"twice"}, {"faults": ("lose replies", "kill publishers"), "pauses": (0.1, 0.4)}),
    "dedupe": ({"twice"}, {"restless": (0.2, 1.0)}),
    "repair": ({"lost", "behind"}, {**STICKY, "share": 0.1}),
}
"""Which violations there must be, and how the simulation is aimed at them."""


def test_each_mutant_is_aimed_at() -> None:
    assert set(AIMED) == set(mutants.NAMES)


@pytest.mark.parametrize("mutant", mutants.NAMES)
def test_the_oracle_finds_out(mutant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected, aim = AIMED[mutant]
    settings: dict[str, Any] = {
        "seed": world.seed(),
        "publications": 2_500,
        "seconds": 12.0,
        "channels": world.channels(10, 0),
        "kept": {"long": 1000},
        "clients": 2,
        "faults": (),
        "patience": 8.0,
        "mutant": mutant,
        **aim,
    }
    plan = world.Plan(**settings)
    outcome = (failover if mutant == "fence" else world).run(plan, tmp_path)
    found = {kind: len(cases) for kind, cases in outcome.verdict.violations.items()}
    with capsys.disabled():
        print(f"\nwithout {mutant}, seed {plan.seed}, {outcome.seconds:.0f} s: found {found}")
    assert expected <= set(found)
