"""A server in a subprocess, pinned to one core, and what it uses: CPU seconds and memory of all its processes.

The server has the first core this process may use, the load the last one. On a machine with one core they share it; the
figures are per second of *server CPU*, so they stay comparable, only the latencies do not.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
_LIBC = ctypes.CDLL(None)
TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """A measurement could not be made; the message says why."""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def pin_load() -> None:
    """Move this process, and what it starts, to the load's core."""
    os.sched_setaffinity(0, {LOAD_CORE})


def child_of(core: int) -> None:
    """In a new child: move to the core, and die with the parent should it not come to end us."""
    os.sched_setaffinity(0, {core})
    _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def end_on_sigterm() -> None:
    """Let SIGTERM raise, so that every `with` block ends what it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def raise_file_limit(wanted: int = 65536) -> int:
    """Allow as many open files as we may have, up to `wanted`; subprocesses inherit it. What there is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(soft, limit)


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise BenchmarkError(f"the server ended with status {process.returncode} before it listened")
        with socket.socket() as sock:
            sock.settimeout(0.5)
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.03)
    raise BenchmarkError(f"the server did not listen within {seconds:g} s")


def _cpu(pid: int) -> float:
    """CPU seconds of a process. The kernel tells them to the nanosecond for each thread that lives, and in ticks of ten
    milliseconds for those that ended as well: neither tells too much, so the larger one counts."""
    try:
        tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return max(sum(int(task.split()[0]) for task in tasks) / 1e9, (int(fields[11]) + int(fields[12])) / TICKS)


@dataclass
class Cost:
    """What happened between two moments: CPU seconds of the server and seconds on the clock."""

    cpu: float = 0.0
    wall: float = 0.0


class Server:
    """A server and its helpers (a Redis, worker processes): everything it starts counts as its cost."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        port: int,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: float = 20,
    ) -> None:
        self.command = [str(part) for part in command]
        self.port = port
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._log: Any = None

    def __enter__(self) -> Server:
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self.command,
            env=self._env,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: child_of(SERVER_CORE),
        )
        try:
            wait_for_port(self.port, self._process, self._ready)
        except BenchmarkError as error:
            output = self.output()
            self.stop()
            raise BenchmarkError(f"{error}: {' '.join(self.command)}\n{output}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def output(self) -> str:
        """The end of what the server printed."""
        self._log.seek(0)
        return str(self._log.read()[-4000:].decode(errors="replace"))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def pids(self) -> list[int]:
        """The server's process and all its descendants."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found = [self.pid]
        for pid in found:
            found.extend(children.get(pid, []))
        return found

    def cpu(self) -> float:
        """CPU seconds so far, user and system, of all processes of the server."""
        return sum(map(_cpu, self.pids()))

    def pss(self) -> int:
        """KiB of memory, shared pages divided among those who share them, of all processes of the server."""
        total = 0
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total

    @contextmanager
    def measure(self) -> Iterator[Cost]:
        cost = Cost()
        cpu, wall = self.cpu(), time.monotonic()
        yield cost
        cost.wall = time.monotonic() - wall
        cost.cpu = self.cpu() - cpu

    def stop(self, seconds: float = 5) -> None:
        """End the server's processes: asked first, then made to."""
        process = self._process
        if process is None:
            return
        pids = self.pids() if process.poll() is None else []
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            if sign == signal.SIGTERM:
                time.sleep(0.05)
        self._process = None
        self._log.close()
