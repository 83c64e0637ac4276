"""The benchmarks' harness: it measures, it says so in a table, and it leaves nothing running."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import micro  # noqa: E402
from benchmarks.harness import BenchmarkError, Goal, Sample, Server, Table, free_port, repeat  # noqa: E402
from benchmarks.harness.report import spread  # noqa: E402

BUSY = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    for _ in range(4_000_000): pass
    connection.close()
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_costs_what_it_does_and_is_gone_afterwards() -> None:
    port = free_port()
    with Server([sys.executable, "-c", BUSY, str(port)], port=port) as server:
        pid = server.pid
        assert server.pids() == [pid]
        assert server.pss() > 1000
        with server.measure() as cost:
            time.sleep(0.4)  # it is busy with the connection that looked whether it listens
        assert cost.wall >= 0.4
        assert cost.cpu > 0
    assert not alive(pid)


def test_a_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(BenchmarkError, match="no such thing"),
        Server([sys.executable, "-c", "raise SystemExit('no such thing')"], port=free_port()),
    ):
        pass


def test_repetitions_are_bounded_in_count_and_time() -> None:
    values = iter([3.0, 1.0, 2.0, 9.0])
    assert repeat(lambda: next(values), times=3, seconds=60) == Sample(2.0, 1.0, 3.0, 3)
    assert repeat(lambda: 1.0, times=1000, seconds=0).count == 1


def test_numbers_are_told_with_their_spread() -> None:
    assert spread(Sample(100.0, 90.0, 120.0, 3)) == "100 ±20%"
    assert [spread(value) for value in (1_234_567.0, 45_678, 1234, 0.123, None)] == [
        "1.23M",
        "46k",
        "1.2k",
        "0.12",
        "-",
    ]


def test_goals_have_verdicts() -> None:
    goals = [Goal("a", 2, 3), Goal("b", 2, 3, at_most=True), Goal("c", 2, None)]
    assert [goal.verdict for goal in goals] == ["reached", "MISSED", "not measured"]
    assert "MISSED" in Table.of_goals(goals).text()


def test_a_hot_path_that_became_slower_is_named() -> None:
    found = {"same": 1.0, "slower": 1.4, "faster": 0.5, "new": 1.0}
    assert micro.regressions(found, {"same": 1.0, "slower": 1.0, "faster": 1.0}) == ["slower", "new"]


@pytest.mark.parametrize("name", micro.paths())
def test_the_hot_paths_that_are_measured_do_what_they_should(name: str) -> None:
    assert micro.paths()[name]() is not None
