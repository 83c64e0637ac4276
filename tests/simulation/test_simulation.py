"""Four workers, two wires to one Redis, no stickiness, four transports, and everything that can go wrong.

`SEED=123 pytest …` repeats what can be repeated; the seed is printed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rtbridge.client.ladder import RUNGS
from simulation import failover, faults, world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def verdict_of(outcome: world.Outcome, plan: world.Plan, capsys: pytest.CaptureFixture[str]) -> world.Outcome:
    with capsys.disabled():
        print(f"\n{outcome.report(plan)}")
    assert not outcome.verdict.violations
    assert outcome.verdict.figures["acknowledged"] >= plan.publications
    assert outcome.verdict.figures["clients"] == plan.clients * len(RUNGS)
    return outcome


def test_nothing_is_lost_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = world.Plan(
        seed=world.seed(),
        publications=100_000,
        seconds=300.0,
        channels=world.channels(50, 10),
        kept={"long": 1000, "short": 20},
        clients=8,
        followers=2,
    )
    outcome = verdict_of(world.run(plan, tmp_path), plan, capsys)
    assert not set(faults.ALL) - set(outcome.faults)


def test_where_no_data_is_lost_nothing_is_missed_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the fence off, for a Redis that comes back with all it had; it would begin new epochs."""
    plan = world.Plan(
        seed=world.seed(),
        publications=10_000,
        seconds=60.0,
        channels=world.channels(20, 0),
        kept={"long": 10_000},
        faults=faults.KEEPS,
        pauses=(0.5, 1.5),
        options="?fence=off",
    )
    outcome = verdict_of(world.run(plan, tmp_path), plan, capsys)
    figures = outcome.verdict.figures
    assert not figures["gaps to another epoch"] + figures["gaps within an epoch"]
    assert not figures["repeated after a lost log"]


def test_a_failover_loses_nothing_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = world.Plan(
        seed=world.seed(),
        publications=10_000,
        seconds=50.0,
        channels=world.channels(20, 4),
        kept={"long": 1000, "short": 20},
    )
    outcome = verdict_of(failover.run(plan, tmp_path), plan, capsys)
    assert outcome.verdict.figures["gaps to another epoch"]
