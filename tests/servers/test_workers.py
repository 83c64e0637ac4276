"""`rtbridge serve --workers`: real processes that are killed, reloaded and stopped under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from support.servers import Server, started

APP = """
import os, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1.0)
    if environ["PATH_INFO"] == "/stuck":
        open("stuck", "w").close()
        from gevent.monkey import get_original
        get_original("time", "sleep")(60)  # holds the whole process
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{version} {os.getpid()}".encode()]

version = "first"
"""
MEMORY = """
from rtbridge import Bridge, RealtimeMiddleware

def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [version.encode()]

rt = Bridge(lock_file="lock")
news = rt.channel("news", str, public=True)
app = RealtimeMiddleware(site, rt)
version = "first"
"""


@contextmanager
def serving(folder: Path, *options: str, code: str = APP) -> Iterator[Server]:
    (folder / "shop.py").write_text(code)
    command = [
        sys.executable, "-m", "rtbridge", "serve", "shop:app", "--bind", "127.0.0.1:{port}", *options,
    ]  # fmt: skip
    with started("rtbridge", command, folder, cwd=folder) as server:
        until(lambda: "serving http" in server.log(), server)
        yield server


def until(true: Callable[[], bool], server: Server, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)


def get(port: int, path: str = "/") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        assert answer.status == 200, body
        return body


def pid_of(answer: str) -> int:
    return int(answer.split()[1])


def children(server: Server) -> set[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(server.process.pid)], capture_output=True, text=True
    )
    return {int(pid) for pid in found.stdout.split()}


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class Asking:
    """Asks again and again while it lasts, and remembers every answer and every failure."""

    def __init__(self, port: int, path: str = "/") -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._port, self._path = port, path
        self._over = Event()
        self._threads = [Thread(target=self._ask) for _ in range(4)]

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                self.answers.append(get(self._port, self._path))
            except Exception as error:
                self.failures.append(repr(error))

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        before = children(server)
        assert len(before) == 2
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(children(server) - {victim}) == 2, server)
        assert f"worker {victim} ended unasked, killed by signal 9; it is replaced at once" in server.log()
        assert get(server.port).startswith("first")
        # The next one that dies so soon is replaced after a pause, which doubles.
        os.kill(min(children(server)), signal.SIGKILL)
        until(lambda: "it is replaced in 0.5 s" in server.log(), server)
        until(lambda: len(children(server)) == 2, server)


def test_a_reload_brings_new_code_and_fails_no_request(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server, Asking(server.port) as asking:
        old = children(server)
        until(lambda: len(asking.answers) > 50, server)
        (tmp_path / "shop.py").write_text(APP.replace('"first"', '"the second"'))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: not children(server) & old and len(children(server)) == 2, server)
        seen = len(asking.answers)
        until(lambda: len(asking.answers) > seen + 50, server)
        assert "the second" in get(server.port)
    assert asking.failures == []
    assert asking.answers[0].startswith("first") and asking.answers[-1].startswith("the second")


def test_a_request_in_flight_is_answered_when_its_worker_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "1") as server, Asking(server.port, "/slow") as asking:
        (old,) = children(server)
        until(lambda: len(asking.answers) > 3, server)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: gone(old), server)
    assert asking.failures == []


def test_code_that_does_not_start_leaves_the_old_workers_serving(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        old = children(server)
        (tmp_path / "shop.py").write_text("import nothing_of_that_name\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "the reload is given up, the old workers go on" in server.log(), server)
        assert "cannot load 'shop:app': No module named 'nothing_of_that_name'" in server.log()
        assert children(server) == old
        assert get(server.port).startswith("first")
        (tmp_path / "shop.py").write_text(APP.replace('"first"', '"the second"'))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: not children(server) & old, server)
        until(lambda: get(server.port).startswith("the second"), server)


def two_workers_of_a_shop(folder: Path) -> subprocess.CompletedProcess[str]:
    """A `serve` of the shop in this folder that is expected to end by itself."""
    command = [
        sys.executable,
        "-m",
        "rtbridge",
        "serve",
        "shop:app",
        "--workers",
        "2",
        "--bind",
        "127.0.0.1:0",
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_code_that_never_started_ends_it(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("raise ImportError('no database')")
    ended = two_workers_of_a_shop(tmp_path)
    assert ended.returncode == 1
    assert "cannot load 'shop:app': no database; nothing is served" in ended.stderr


def test_a_bus_in_memory_is_refused_with_several_workers(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(MEMORY)
    ended = two_workers_of_a_shop(tmp_path)
    assert ended.returncode == 1
    assert "give the bridge a bus that they share" in ended.stderr
    assert "--workers 1" in ended.stderr


def test_one_worker_with_a_bus_in_memory_is_replaced_without_refusing_anybody(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "--workers", "1", code=MEMORY) as server,
        Asking(server.port, "/rt/channels/news") as asking,
    ):
        (old,) = children(server)
        until(lambda: len(asking.answers) > 50, server)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: gone(old) and len(children(server)) == 1, server)
        seen = len(asking.answers)
        until(lambda: len(asking.answers) > seen + 50, server)
    assert asking.failures == []
    epochs = {json.loads(answer)["position"].split(".")[0] for answer in asking.answers}
    assert len(epochs) == 2  # what the old one kept is gone, and its epoch says so


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_with_status_0(sign: signal.Signals, tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        workers = children(server)
        os.killpg(server.process.pid, sign)  # as Ctrl-C in a terminal: it reaches the workers, too
        assert server.process.wait(10) == 0
        assert all(map(gone, workers))
        assert "Traceback" not in server.log()


def test_a_worker_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "1", "--stop-timeout", "1") as server:
        Thread(target=_ask_in_vain, args=(server.port,), daemon=True).start()
        until((tmp_path / "stuck").exists, server)
        began = time.monotonic()
        server.process.terminate()
        server.process.wait(10)
        assert 0.9 < time.monotonic() - began < 5


def test_a_second_sigterm_is_impatient(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "1", "--stop-timeout", "60") as server:
        Thread(target=_ask_in_vain, args=(server.port,), daemon=True).start()
        until((tmp_path / "stuck").exists, server)
        server.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.5)
        server.process.terminate()
        server.process.wait(5)
        assert "told to stop twice" in server.log()


def _ask_in_vain(port: int) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        get(port, "/stuck")


def test_workers_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2") as server:
        workers = children(server)
        server.kill()
        until(lambda: all(map(gone, workers)), server)
