"""Run load.c against a server, and read the server's CPU time at the moments it says."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .harness import BenchmarkError, compile_c
from .harness.process import LOAD_CORE, child_of

LOAD = Path(__file__).parent / "load" / "load.c"


@dataclass
class Result:
    """What one run of the load saw, and the server's CPU seconds meanwhile."""

    seen: dict[str, Any]
    cpu: float

    def per_cpu_second(self, what: str) -> float:
        if self.cpu < 0.05 or not self.seen[what]:
            raise BenchmarkError(
                f"too little happened: {self.seen[what]} {what} in {self.cpu:.2f} CPU seconds"
            )
        return float(self.seen[what]) / self.cpu

    @property
    def load_share(self) -> float:
        return float(self.seen["load_share"])


def load(
    cpu: Callable[[], float],
    mode: str,
    *,
    limit: int = 60,
    moment: Callable[[], None] = lambda: None,
    **options: object,
) -> Result:
    """One run of the load; `cpu` tells the server's CPU seconds so far. `moment` is called at the start and at the
    stop of what is measured."""
    with _started(mode, limit, options) as process:
        assert process.stdout is not None
        if not _line(process).startswith("start"):
            raise _error(process)
        before = cpu()
        moment()
        if not _line(process).startswith("stop"):
            raise _error(process)
        spent = cpu() - before
        moment()
        return Result(json.loads(_line(process)), spent)


@contextmanager
def held(limit: int = 90, **options: object) -> Iterator[None]:
    """Connections that are open and do nothing while the block runs."""
    with _started("idle", limit, {"hold": limit, **options}) as process:
        if not _line(process).startswith("start"):
            raise _error(process)
        yield
        assert process.stdin is not None
        process.stdin.close()
        if not _line(process).startswith("stop"):
            raise _error(process)
        seen = json.loads(_line(process))
        if seen["failed"] > seen["ready"] / 100:
            raise BenchmarkError(f"{seen['failed']} connections ended")


@contextmanager
def _started(mode: str, limit: int, options: dict[str, object]) -> Iterator[subprocess.Popen[str]]:
    command = [str(compile_c(LOAD)), mode, f"limit={limit}"]
    command += [f"{name}={value}" for name, value in options.items()]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: child_of(LOAD_CORE),
    )
    killer = threading.Timer(limit + 5, process.kill)
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe and not pipe.closed:
                pipe.close()
        time.sleep(0.1)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _error(process: subprocess.Popen[str]) -> BenchmarkError:
    process.kill()
    assert process.stderr is not None
    words = process.stderr.read().strip().splitlines()
    return BenchmarkError("; ".join(words[-3:]) or "the load ended without a word")
