"""Tables with goal, what was reached and a verdict; the same as JSON; and which machine and versions it was."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from .build import ROOT
from .process import CORES, LOAD_CORE, SERVER_CORE, TICKS
from .samples import Sample

PACKAGES = (
    "rtbridge",
    "gevent",
    "greenlet",
    "websockets",
    "pydantic",
    "python-socketio",
    "python-engineio",
    "flask-socketio",
    "uvicorn",
    "uvloop",
    "channels",
    "channels-redis",
    "django",
    "flask",
    "redis",
)


def _machine_seconds() -> float:
    """CPU seconds that this machine's cores have worked, for anybody."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + sum(rest[:2])) / TICKS


BEGAN = (time.monotonic(), _machine_seconds())


def others() -> float:
    """Share of the machine's CPU that others took since this program began: with more than little, its latencies
    mean nothing. (Others: neither we nor what we started.)"""
    wall, busy = time.monotonic() - BEGAN[0], _machine_seconds() - BEGAN[1]
    own = sum(os.times()[:4])
    return max(0.0, (busy - own) / (wall * (os.cpu_count() or 1)))


@dataclass
class Row:
    """One line: a name and its cells, in the order of the table's columns."""

    name: str
    cells: Sequence[object]


@dataclass
class Goal:
    """What must be reached: `value` at least (or, `at_most`, at most) `bound`. Without a value: not measured."""

    name: str
    bound: float
    value: float | None
    at_most: bool = False
    unit: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        met = self.value <= self.bound if self.at_most else self.value >= self.bound
        return "reached" if met else "MISSED"

    def plain(self) -> dict[str, Any]:
        """For the JSON."""
        return {**asdict(self), "verdict": self.verdict}

    def row(self) -> Row:
        sign = "<=" if self.at_most else ">="
        value = "-" if self.value is None else spread(self.value) + self.unit
        return Row(self.name, [f"{sign} {spread(self.bound)}{self.unit}", value, self.verdict])


@dataclass
class Table:
    title: str
    columns: Sequence[str]
    rows: list[Row] = field(default_factory=list)
    note: str = ""

    def add(self, name: str, *cells: object) -> None:
        self.rows.append(Row(name, cells))

    @classmethod
    def of_goals(cls, goals: Sequence[Goal], title: str = "Goals") -> Table:
        return cls(title, ["goal", "reached", "verdict"], [goal.row() for goal in goals])

    def texts(self) -> list[list[str]]:
        """The rows as they are read, each with its name first."""
        return [[row.name, *(spread(cell) for cell in row.cells)] for row in self.rows]

    def text(self) -> str:
        lines = [["", *self.columns], *self.texts()]
        widths = [
            max(len(line[at]) if at < len(line) else 0 for line in lines) for at in range(len(lines[0]))
        ]
        text = ["", self.title, "-" * len(self.title)]
        for line in lines:
            first = line[0].ljust(widths[0])
            rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=False))
            text.append("  ".join([first, *rest]).rstrip())
        if self.note:
            text.append(self.note)
        return "\n".join(text)


def spread(value: object) -> str:
    """A number as a person reads it; of a sample the median and how far the others were from it."""
    if isinstance(value, Sample):
        if value.count == 1 or not value.median:
            return spread(value.median)
        away = max(value.high - value.median, value.median - value.low) / value.median
        return f"{spread(value.median)} ±{away:.0%}"
    if value is None:
        return "-"
    if not isinstance(value, int | float):
        return str(value)
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f}M"
    if abs(value) >= 10_000:
        return f"{value / 1000:.0f}k"
    if abs(value) >= 1000:
        return f"{value / 1000:.1f}k"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2g}"


def _says(program: str, *arguments: str) -> str | None:
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        return None
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=10)
    words = (done.stdout or done.stderr).strip().splitlines()
    return words[0] if words else None


def _npm() -> dict[str, str]:
    """Versions of node's peers, as they are installed."""
    found = {}
    for name in ("socket.io", "ws"):
        path = ROOT / "benchmarks" / "servers" / "node_modules" / name / "package.json"
        if path.is_file():
            found[name] = str(json.loads(path.read_text())["version"])
    return found


def environment() -> dict[str, Any]:
    """Date, machine and versions: without them a figure says nothing."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    programs = {"node": "--version", "nginx": "-v", "redis-server": "--version", "cc": "--version"}
    said = {program: _says(program, option) for program, option in programs.items()}
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": model,
            "cores": len(CORES),
            "kernel": platform.release(),
            "server_core": SERVER_CORE,
            "load_core": LOAD_CORE,
        },
        "python": platform.python_version(),
        "packages": versions,
        "programs": {name: version for name, version in said.items() if version},
        "npm": _npm(),
        "others": round(others(), 3),
    }


def save(name: str, content: dict[str, Any]) -> Path:
    """Write build/bench/NAME.json with the environment beside the content; samples become maps."""

    def plain(value: object) -> object:
        if isinstance(value, Sample | Row | Goal | Table):
            return asdict(value)
        raise TypeError(f"{type(value).__name__} is no result")

    path = ROOT / "build" / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"environment": environment(), **content}, default=plain, indent=1) + "\n")
    return path
