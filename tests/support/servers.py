"""Real servers, each in its own process on a free port: start, wait until it takes connections, end by its process id.

    with running("gunicorn gthread", folder) as server:
        server.port, server.log()

`STARTERS` names every server we say we run on. They serve the small site of tests/servers/, as plain WSGI (`site_app`),
Flask (`site_flask`) or Django (`site_django`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.needs import free_port

SITES = Path(__file__).resolve().parent.parent / "servers"
START_SECONDS = 30.0
STOP_SECONDS = 10.0


@dataclass
class Server:
    """A server that runs."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.process.wait()


def command(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def patched(code: str) -> list[str]:
    """Python code that runs with gevent in place of threads, as its servers do."""
    return command("-c", f"from gevent import monkey; monkey.patch_all()\n{code}")


PYWSGI = """
from gevent.pywsgi import WSGIServer
{imports}
from site_app import application
WSGIServer(("127.0.0.1", {port}), application, log=None{handler}).serve_forever()
"""
OURS = """
from rtbridge.server import serve
from site_app import application
serve(application, port={port})
"""
GUNICORN = ("-m", "gunicorn", "site_app:application", "--bind", "127.0.0.1:{port}", "--graceful-timeout", "2")

STARTERS: Mapping[str, Sequence[str]] = {
    "rtbridge": patched(OURS),
    "pywsgi": patched(PYWSGI.replace("{imports}", "").replace("{handler}", "")),
    "pywsgi with gevent-websocket": patched(
        PYWSGI.replace("{imports}", "from geventwebsocket.handler import WebSocketHandler").replace(
            "{handler}", ", handler_class=WebSocketHandler"
        )
    ),
    "gunicorn gevent": command(*GUNICORN, "-k", "gevent"),
    "gunicorn gevent-websocket": command(
        *GUNICORN, "-k", "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"
    ),
    "gunicorn gthread": command(*GUNICORN, "-k", "gthread", "--threads", "8"),
    "waitress": command(
        "-m", "waitress", "--listen", "127.0.0.1:{port}", "--threads", "8", "site_app:application"
    ),
    "flask run": command("-m", "flask", "--app", "site_flask", "run", "--port", "{port}"),
    "django runserver": command("site_django.py", "runserver", "--noreload", "127.0.0.1:{port}"),
}


@contextlib.contextmanager
def running(name: str, folder: Path, **env: str) -> Iterator[Server]:
    """One of STARTERS, with the site of tests/servers/; `folder` takes its log and its lock."""
    with started(name, STARTERS[name], folder, cwd=SITES, env=env) as server:
        yield server


@contextlib.contextmanager
def started(
    name: str,
    arguments: Sequence[str],
    folder: Path,
    *,
    cwd: Path | None = None,
    port: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Any server: `{port}` in its arguments stands for a free port, PORT in its environment as well.

    Raises:
        RuntimeError: it ended, or took no connection in time; with its log.
    """
    port = port or free_port()
    log_file = folder / f"{name.replace(' ', '-')}-{port}.log"
    environment = {
        **os.environ,
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        "SITE_LOCK": str(folder / f"serving-{port}"),
        **(env or {}),
    }
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in arguments],
            cwd=cwd,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its workers are in its group, so they end with it
        )
    server = Server(name, port, process, log_file)
    try:
        _wait_until_it_listens(server)
        yield server
    finally:
        _end(process)


def _wait_until_it_listens(server: Server) -> None:
    end = time.monotonic() + START_SECONDS
    while server.process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{server.name} does not serve on port {server.port}:\n{server.log()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """By its own process id; what is left of its group after that, too."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
