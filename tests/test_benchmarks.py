"""The benchmarks' harness: it measures, it says so in a table, and it leaves nothing running."""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import comparison, micro, plots, recovery, report, sections  # noqa: E402
from benchmarks.capacity import Costs, Use, needed  # noqa: E402
from benchmarks.figures import Figures  # noqa: E402
from benchmarks.harness import (  # noqa: E402
    BenchmarkError,
    Goal,
    Sample,
    Server,
    Table,
    compile_c,
    free_port,
    repeat,
)
from benchmarks.harness.report import environment, spread  # noqa: E402
from benchmarks.loading import LOAD, load  # noqa: E402
from benchmarks.options import within  # noqa: E402
from benchmarks.peers import GOAL_PEERS, PEERS, POLLED, RTBRIDGE  # noqa: E402
from benchmarks.rungs import OWN, PHOTOS, RUNGS, SHARED, SOCKET  # noqa: E402
from benchmarks.servers import counting  # noqa: E402
from benchmarks.through_redis import sustained  # noqa: E402
from benchmarks.verdicts import goals  # noqa: E402

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


# --- the docs' figures ---------------------------------------------------------------------------------------------


def row(rung: str, clients: int, **others: object) -> dict[str, Any]:
    """A row of the comparison: one second of a rung that costs 2 ms a poll or delivery."""
    interval = next(one for one in RUNGS if one.name == rung).polls and 2
    common = {
        "workload": PHOTOS.name,
        "rung": rung,
        "clients": clients,
        "rate": 1,
        "interval": interval or None,
    }
    figures = {"p50": 40.0, "p95": 60.0, "p99": 90.0, "requests": 10.0, "bytes": 900.0, "cpu_ms": 2.0}
    figures |= {"cpu_ms_per_request": 2.0, "cpu_share": 0.3, "queries": 4.0, "mib": 60.0, "load_share": 0.1}
    return {**common, **figures, "saturated": False, **others}


def measured() -> sections.Results:
    rows = [row(rung.name, clients) for rung in RUNGS for clients in (10, 500)]
    rows += [row(rung.name, 500, rate=5, cpu_ms=0.5) for rung in RUNGS]
    facts = environment()
    goal = Goal("a thing", 2, 3, unit=" x").plain()
    fan_out = [{"peer": RTBRIDGE, "clients": n, "window": 1, "cpu_us": 7.0} for n in (100, 1000)]
    memory = [{"peer": RTBRIDGE, "clients": n, "mib": 40 + n / 1000, "kib_each": 1.0} for n in (0, 1000)]
    figures = {f"fan-out {window} to 1000": {peer: [1e5, 2e5] for peer in GOAL_PEERS} for window in (1, 16)}
    return {
        "suite": {"environment": facts, "figures": figures, "tables": [], "goals": [goal]},
        "comparison": {
            "environment": facts,
            "rows": rows,
            "tables": json.loads(stored(comparison.tables(rows))),
        },
        "recovery": {"environment": facts, "clients": 10_000, "found": {"x": {"cpu": 5.0}}, "tables": []},
        "growth": {"environment": facts, "fan_out": fan_out, "memory": memory, "tables": []},
    }


def stored(tables: list[Table]) -> str:
    return json.dumps([asdict(table) for table in tables])


def test_marked_parts_are_written_anew_and_nothing_else() -> None:
    page = "before\n<!-- figures goals -->\nold\n<!-- end of goals -->\nafter\n"
    filled = report.fill(page, measured())
    assert "old" not in filled
    assert "| a thing | >= 2 x | 3 x | reached |" in filled
    assert filled.startswith("before\n") and filled.endswith("\nafter\n")
    assert report.fill(filled, measured()) == filled
    with pytest.raises(BenchmarkError, match="no section 'nonsense'"):
        report.fill(page.replace("goals", "nonsense"), {})
    with pytest.raises(BenchmarkError, match="not closed"):
        report.fill("<!-- figures goals -->\n", {})


@pytest.mark.parametrize("path", report.PAGES, ids=lambda path: path.name)
def test_the_pages_say_what_was_measured(path: Path) -> None:
    """No figure in them was typed: all are made of published.json, by `benchmarks.report --write-docs`."""
    published = json.loads(report.PUBLISHED.read_text())
    assert report.fill(path.read_text(), published) == path.read_text()


def test_of_what_was_skipped_the_docs_have_the_names_only() -> None:
    found = measured()
    found["suite"]["skipped"] = {"nchan": "no nchan in /somewhere/here"}
    kept = report.published(found)
    assert "somewhere" not in json.dumps(kept)
    assert "Not measured in this run: suite: nchan." in sections.SECTIONS["environment"](kept)


def test_every_section_can_be_made_of_nothing() -> None:
    assert {name: section({}) for name, section in sections.SECTIONS.items()} == dict.fromkeys(
        sections.SECTIONS, sections.MISSING
    )


def test_the_rule_of_thumb_is_calculated_from_rows_where_the_server_kept_up() -> None:
    """Each poll takes 2 ms beside a tenth of the core; each delivery 0.5 ms, and nothing besides."""
    rows = [row(OWN, n, requests=n / 2, cpu_share=0.1 + n / 1000) for n in (10, 100, 300)]
    rows.append(row(OWN, 900, requests=20, cpu_share=0.9, saturated=True))
    rows.append(row(SHARED, 300, requests=150, cpu_share=0.03))
    rows.append(row(SOCKET, 300, cpu_ms=0.5, cpu_share=0.15))
    units = sections.units(rows)
    assert units[OWN].ms == pytest.approx(2) and units[OWN].fixed == pytest.approx(0.1)
    assert units[OWN].carries(rate=5, interval=5) == pytest.approx(
        1000
    )  # 0.4 s of CPU: 200 polls/s, each once in 5 s
    assert units[SOCKET].carries(rate=5, interval=5) == pytest.approx(
        200
    )  # 1,000 deliveries/s, five for each
    assert (
        "**0.8 times a second**, a shared poll as much as one that brings it **0.08 times"
        in sections.rule({"comparison": {"rows": rows}})
    )


def test_capacity_is_what_the_scarcest_thing_allows() -> None:
    costs = Costs(deliveries=100_000, recoveries=2_000, kib=1.0, publishes=30_000, notifications=500_000)
    few = needed(10_000, costs)
    assert (few.workers, few.because, few.shards) == (1, "open files", 1)
    chatty = needed(1_000_000, costs, Use(per_client=10))
    assert (chatty.workers, chatty.because) == (200, "deliveries")  # 10 M/s over 50 k/s of half a core
    assert (
        chatty.shards == 47
    )  # 100,000 publications/s cost 3.3 of a Redis, telling 100 processes each 20; half is used
    checked = Costs(100_000, 2_000, 1.0, 30_000, 500_000, checks=1_000_000)
    assert (
        needed(1_000_000, checked, Use(per_client=10)).shards == 48
    )  # and 10,000 channels, by 100 processes, every 3 s
    assert needed(10_000_000, costs, Use(files=10**9)).because == "coming back"
    assert needed(10_000, Costs(1e5, 2e3, 1.0)).shards is None


@pytest.mark.parametrize("name", plots.PLOTS)
def test_plots_are_drawn(name: str) -> None:
    pytest.importorskip("matplotlib")
    drawn = report.plot(name, measured(), "svg")
    assert drawn is not None and b"<svg" in drawn
    assert drawn == report.plot(name, measured(), "svg"), "the same figures give the same file"
    assert report.plot(name, {}, "svg") is None


def test_the_report_is_one_page_with_goals_and_plots() -> None:
    pytest.importorskip("matplotlib")
    page = report.page(measured())
    assert '<td class="reached">reached</td>' in page
    assert page.count("data:image/png;base64,") == len(plots.PLOTS)


def test_no_part_may_take_more_than_is_left_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_END", raising=False)
    assert within(500) == 500
    monkeypatch.setenv("BENCH_END", str(time.time() + 60))
    assert within(10) == 10
    assert 55 < within(500) <= 60
    monkeypatch.setenv("BENCH_END", str(time.time() - 1))
    assert within(500) == 0


def test_the_highest_rate_that_holds_is_found_and_one_failure_is_tried_again() -> None:
    unlucky = iter([True])

    def measure(rate: float) -> dict[str, Any]:
        good = rate <= 5000 and not (rate == 1000 and next(unlucky, False))
        return {
            "rate": rate,
            "sent_rate": rate,
            "kept_up": good,
            "missing": 0,
            "gaps": 0,
            "p50": 1.0,
            "p99": 2.0,
        }

    best, tried = sustained(measure, 250.0, time.monotonic() + 60)
    assert 4700 < best <= 5000
    assert [one["rate"] for one in tried[:4]] == [1000, 1000, 2000, 4000]
    lossy = {"rate": 1, "sent_rate": 1, "kept_up": True, "missing": 1, "gaps": 0, "p50": 1.0, "p99": 2.0}
    assert sustained(lambda rate: lossy, 250.0, time.monotonic() + 60)[0] == 0
    late = {**lossy, "missing": 0, "p99": 251.0}
    assert sustained(lambda rate: late, 250.0, time.monotonic() + 60)[0] == 0


# --- fairness, and what is counted ---------------------------------------------------------------------------------


def test_peers_have_the_settings_that_we_have() -> None:
    texts = {
        file.name: file.read_text()
        for file in (ROOT / "benchmarks" / "servers").glob("*.*")
        if file.is_file()
    }
    for name in ("sio_gevent.py", "flask_sio.py", "poll_pywsgi.py", "fanout.c"):
        assert "TCP_NODELAY" in texts[name]
    for name in ("sio_gevent.py", "flask_sio.py", "sio_uvicorn.py"):
        assert "http_compression=False" in texts[name]
    for name in ("node_ws.js", "node_sio.js"):
        assert "perMessageDeflate: false" in texts[name] and "backlog: 4096" in texts[name]
    for name in ("sio_gevent.py", "flask_sio.py", "poll_pywsgi.py"):
        assert "log=None" in texts[name] and "listen(4096)" in texts[name]
    assert [peer.name for peer in PEERS][: len(GOAL_PEERS)] == list(GOAL_PEERS), (
        "they must not fall to the budget"
    )


def test_a_round_without_peers_reaches_no_goal() -> None:
    assert {goal.verdict for goal in goals(Figures())} == {"not measured"}


def test_a_storm_that_failed_has_reached_nothing() -> None:
    seen = {"wall": 4.0, "recovered": 99, "asked": {"bus_reads": 1, "queries": 2}}
    reached = recovery.goals({"the network": seen}, ["the network", "the server"], 100)
    assert [goal.verdict for goal in reached] == [
        "reached",
        "MISSED",
        "reached",
        "MISSED",
        *["not measured"] * 4,
    ]


def test_counts_are_seen_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    counting.create(path)
    counters = counting.Counters(str(path))
    assert counters.count("queries", lambda n: n + 1)(1) == 2
    counters.add("bus_reads", 3)
    assert counting.read(path) == {**dict.fromkeys(counting.NAMES, 0), "queries": 1, "bus_reads": 3}


ECHO = """
import http.server, sys
seen = open(sys.argv[2], "ab", buffering=0)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    number = 0
    def do_GET(self):
        seen.write(repr((self.path, sorted(self.headers.keys()))).encode() + b"\\n")
        self.answer(b'{"position":"a.%d","publications":["~%08dxxxxxxx"]}' % (Handler.number, Handler.number))
    def do_POST(self):
        Handler.number = int(self.rfile.read(int(self.headers["Content-Length"]))[1:9])
        self.answer(b"ok")
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.parametrize("dialect", ["site", "rtget"])
def test_polls_come_at_their_interval_with_a_browsers_heads_and_count_each_publication_once(
    tmp_path: Path, dialect: str
) -> None:
    """The load against a server that keeps one item: who polls it slower than it changes loses some, and says so."""
    try:
        compile_c(LOAD)
    except BenchmarkError as error:
        pytest.skip(str(error))
    port, seen = free_port(), tmp_path / "seen"
    with Server([sys.executable, "-c", ECHO, str(port), str(seen)], port=port) as server:
        options: dict[str, Any] = {"dialect": dialect, "pub": "http", "pub_path": "/", "size": 16, "wait": 0}
        result = load(
            server.cpu, "fanout", port=port, count=4, rate=5, interval=0.5, seconds=2, warm=1, **options
        )
    found = result.seen
    assert 12 <= found["answers"] <= 18  # four clients, each twice a second, for two seconds
    assert found["deliveries"] <= found["answers"]
    assert found["deliveries"] + found["lost"] >= 4 * (found["published"] - 4)
    assert found["lost"] > 0 and found["bytes_in"] > 50 * found["answers"]
    requests = [ast.literal_eval(line) for line in seen.read_text().splitlines()]
    assert all({"Cookie", "Referer", "Accept-Language", "User-Agent"} <= set(heads) for _, heads in requests)
    assert ("/?after=a." in requests[-1][0]) == (dialect == "rtget")


def test_what_is_polled_is_polled_alike() -> None:
    assert RTBRIDGE not in POLLED
    heads = (LOAD.parent / "http.h").read_text()
    assert heads.count("HEAD)") + heads.count("HEAD, ") >= 8, (
        "each poll dialect is asked with a browser's heads"
    )
