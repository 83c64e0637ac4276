"""The oracle itself: what it lets pass, and that it finds each kind of fault in a few lines of notes."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation.oracle import (
    Attempt,
    Final,
    Seen,
    Verdict,
    judge,
    note_attempt,
    note_seen,
    read_attempts,
    read_seen,
)

E, F = "epoch", "another"
ATTEMPTS = [Attempt(n, n + 0.5, "c", f"p.{n}", (E, n)) for n in range(1, 6)]


def told(*steps: tuple[str, str, int, str]) -> list[Seen]:
    return [
        Seen(0.5 + n, "client", "c", kind, (epoch, offset), text)
        for n, (kind, epoch, offset, text) in enumerate(steps)
    ]


def items(*offsets: int, epoch: str = E) -> list[tuple[str, str, int, str]]:
    return [("item", epoch, offset, f"p.{offset}") for offset in offsets]


def verdict(
    *steps: tuple[str, str, int, str],
    attempts: list[Attempt] = ATTEMPTS,
    final: tuple[str, int] = (E, 5),
    size: int = 2,
    losses: list[tuple[float, float]] | None = None,
) -> Verdict:
    seen = told(("start", E, 0, ""), *steps)
    return judge(attempts, seen, {"c": Final(final, (), size)}, losses or [])


def test_all_once_and_in_order_is_right() -> None:
    found = verdict(*items(1, 2, 3, 4, 5))
    assert not found.violations
    assert found.figures == {"acknowledged": 5, "deliveries": 5, "clients": 1}


def test_a_loss_that_was_reported_is_right() -> None:
    assert not verdict(*items(1), ("gap", E, 4, ""), *items(5)).violations


def test_an_unacknowledged_publication_may_be_there() -> None:
    attempts = [*ATTEMPTS[:4], Attempt(5, 6, "c", "p.5", None)]
    assert not verdict(*items(1, 2, 3, 4, 5), attempts=attempts).violations
    assert not verdict(*items(1, 2, 3, 4), attempts=attempts, final=(E, 4)).violations


def test_what_an_abandoned_log_took_up_later_lies_in_the_gap() -> None:
    attempts = [*ATTEMPTS, Attempt(50, 51, "c", "p.6", (E, 6))]
    assert not verdict(*items(1, 2), ("gap", F, 9, ""), attempts=attempts, final=(F, 9)).violations


@pytest.mark.parametrize(
    ("kind", "steps", "final"),
    [
        ("lost", items(1, 2, 4, 5), (E, 5)),
        ("lost", items(1, 2, 3), (E, 5)),
        ("lost", [*items(1, 2), *items(3, 4, 5, epoch=F)], (F, 5)),
        ("twice", items(1, 2, 2, 3, 4, 5), (E, 5)),
        ("twice", [*items(1, 2, 3, 4, 5), ("item", E, 6, "p.2")], (E, 6)),
        ("disorder", items(2, 1, 3, 4, 5), (E, 5)),
        ("two names", [*items(1, 2, 3, 4), ("item", E, 5, "p.9")], (E, 5)),
        ("invented", [*items(1, 2, 3, 4, 5), ("item", E, 6, "p.6")], (E, 6)),
        ("behind", items(1, 2, 3), (E, 5)),
        ("behind", items(1, 2, 3, 4, 5), (F, 5)),
        ("needless", [*items(1, 2, 3), ("gap", E, 5, "")], (E, 5)),
    ],
)
def test_what_is_wrong_is_found(
    kind: str, steps: list[tuple[str, str, int, str]], final: tuple[str, int]
) -> None:
    assert kind in verdict(*steps, final=final).violations


def test_a_gap_covers_nothing_that_came_after_it() -> None:
    late = [*ATTEMPTS[:4], Attempt(100, 101, "c", "p.5", (F, 1))]
    assert "lost" in verdict(*items(1), ("gap", E, 4, ""), attempts=late, final=(E, 4)).violations


def test_falling_offsets_are_found() -> None:
    attempts = [Attempt(1, 2, "c", "p.1", (E, 2)), Attempt(3, 4, "c", "p.2", (E, 1))]
    assert "disorder" in judge(attempts, [], {}).violations


def test_a_repetition_is_excused_by_a_lost_log_only() -> None:
    steps = [*items(1, 2), ("gap", F, 0, ""), ("item", F, 1, "p.2")]
    attempts = [Attempt(1, 2, "c", "p.1", (E, 1)), Attempt(3, 8, "c", "p.2", (F, 1))]
    assert "twice" in verdict(*steps, attempts=attempts, final=(F, 1)).violations
    excused = verdict(*steps, attempts=attempts, final=(F, 1), losses=[(5, 6)])
    assert not excused.violations
    assert excused.figures["repeated after a lost log"] == 1


def test_history_counts_as_names() -> None:
    final = Final((E, 5), ((5, "other"),), 2)
    assert "two names" in judge(ATTEMPTS, [], {"c": final}).violations


def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    attempts = [ATTEMPTS[0], Attempt(1.5, 2.25, "c", "p.7", None)]
    seen = told(("start", E, 0, ""), *items(1))
    (tmp_path / "a").write_text("".join(map(note_attempt, attempts)))
    (tmp_path / "s").write_text("".join(map(note_seen, seen)))
    assert read_attempts([tmp_path / "a"]) == attempts
    assert list(read_seen([tmp_path / "s"])) == seen
