"""Four workers, two wires to one Redis, no stickiness, four transports, and everything that can go wrong.

`SEED=123 pytest …` repeats what can be repeated; the seed is printed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation import faults, world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_nothing_is_lost_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = world.Plan(
        seed=world.seed(),
        publications=100_000,
        seconds=300.0,
        channels=world.channels(50, 10),
        kept={"long": 1000, "short": 20},
    )
    outcome = world.run(plan, tmp_path)
    with capsys.disabled():
        print(f"\n{outcome.report(plan)}")
    assert not outcome.verdict.violations
    assert outcome.verdict.figures["acknowledged"] >= 100_000
    assert outcome.counts_all(faults.ALL)
