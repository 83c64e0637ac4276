"""The catalogue of metrics: merged over processes, in Prometheus's form, and all on the page."""

from __future__ import annotations

import re
from pathlib import Path

from rtbridge.metrics import CATALOGUE, Metrics, exposition, merged
from rtbridge.server.scrape import Collected

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "metrics.md"
FORM = re.compile(r'rtbridge_[a-z_]+(\{[a-z]+="[a-z0-9.]+"\})? -?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?')


def value(text: str, name: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(name + " ")).rpartition(" ")[2])


def test_every_metric_has_help_a_type_and_a_value() -> None:
    lines = exposition({"deliveries": 3, "bus_lag": 0.00123}).splitlines()
    for metric in CATALOGUE:
        at = lines.index(f"# HELP {metric.name} {metric.help}")
        kind = "counter" if metric.kind == "counter" else "gauge"
        assert lines[at + 1] == f"# TYPE {metric.name} {kind}"
        assert lines[at + 2].startswith(metric.name)
        assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert all(FORM.fullmatch(line) for line in lines if not line.startswith("#")), lines
    assert "rtbridge_deliveries_total 3" in lines
    assert "rtbridge_bus_lag_seconds 0.00123" in lines


def test_the_page_names_them_all() -> None:
    named = re.findall(r"^\| `(rtbridge_[a-z_]+)", PAGE.read_text(), re.MULTILINE)
    assert named == [metric.name for metric in CATALOGUE]


def test_what_is_counted_in_the_code_is_in_the_catalogue() -> None:
    sources = {source for metric in CATALOGUE for _, source in metric.sources}
    code = "\n".join(path.read_text() for path in (PAGE.parent.parent.parent / "src").rglob("*.py"))
    counted = set(re.findall(r'metrics\.(?:add|gauge|measure)\(\s*"(\w+)"', code))
    assert counted - sources <= {"snapshots_shared"}  # of interest to nobody outside
    assert "deliveries" in counted and "parked_polls" in counted


def test_gauges_add_up_counters_stay_and_of_lags_the_worst_is_told() -> None:
    one = {"connections_websocket": 2.0, "deliveries": 10.0, "loop_lag": 0.5}
    two = {"connections_websocket": 3.0, "deliveries": 1.0, "loop_lag": 0.1}
    whole = merged([one, two], {"deliveries": 100.0})
    assert (whole["connections_websocket"], whole["deliveries"], whole["loop_lag"]) == (5, 111, 0.5)


def test_totals_never_fall_when_a_worker_dies_and_its_connections_go() -> None:
    collected = Collected()
    collected.told(1, {"deliveries": 10.0, "connections_websocket": 4.0})
    collected.told(2, {"deliveries": 5.0})
    before = collected.text()
    collected.died(1)
    collected.count("worker_deaths")
    after = collected.text()
    assert value(before, "rtbridge_deliveries_total") == value(after, "rtbridge_deliveries_total") == 15
    assert value(after, 'rtbridge_connections{transport="websocket"}') == 0
    assert value(after, "rtbridge_workers") == 1
    assert value(after, "rtbridge_worker_deaths_total") == 1
    collected.told(3, {"deliveries": 1.0})
    assert value(collected.text(), "rtbridge_deliveries_total") == 16


def test_measures_are_asked_when_somebody_looks_and_add_up() -> None:
    metrics, waiting = Metrics(), [1, 2]
    metrics.measure("parked_polls", lambda: len(waiting))
    metrics.measure("parked_polls", lambda: 10)
    waiting.append(3)
    assert metrics.snapshot() == {"parked_polls": 13}
