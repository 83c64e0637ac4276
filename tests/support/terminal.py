"""A terminal as readers have it: a shell in which `cd` and `export` last, and servers in the background."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

END = "--end-of-command--"


class CommandFailed(AssertionError):
    pass


class Terminal:
    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._logs = folder.parent / "logs"
        self._logs.mkdir()
        self._running: dict[str, int] = {}
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self.run("set -m")  # each background command becomes a process group that can be ended whole

    def run(self, command: str, timeout: float = 100.0) -> str:
        """Run a command to its end; its output. Raises where it fails."""
        output, status = self._ask(f"{{ {command}\n}} </dev/null 2>&1", timeout)
        if status:
            raise CommandFailed(f"$ {command}\n{output}\n(exit status {status}){self._told()}")
        return output

    def start(self, name: str, command: str, port: int | None, timeout: float = 30.0) -> None:
        """Run a command in the background, in place of the one called `name`; wait until it listens."""
        self.end(name)
        log = self._logs / name
        output, _ = self._ask(f"{command} </dev/null >{log} 2>&1 & echo pid=$!", timeout)
        # Among what the shell may say at the same time of earlier background commands that ended.
        found = re.search(r"^pid=(\d+)$", output, re.MULTILINE)
        assert found is not None, output
        pid = self._running[name] = int(found[1])
        deadline = time.monotonic() + timeout
        while port and not listens(port):
            if time.monotonic() > deadline or not alive(pid):
                raise CommandFailed(f"$ {command}\n{log.read_text()}\n(does not listen on port {port})")
            time.sleep(0.05)

    def end(self, name: str) -> None:
        """End a background command as Ctrl-C does; by force if it does not listen."""
        group = self._running.pop(name, None)
        if group is None:
            return
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, sign)
            deadline = time.monotonic() + 5.0
            while alive(group) and time.monotonic() < deadline:
                time.sleep(0.02)

    def close(self) -> None:
        for name in list(self._running):
            self.end(name)
        self._shell.kill()
        self._shell.communicate()

    def _ask(self, text: str, timeout: float) -> tuple[str, int]:
        assert self._shell.stdin and self._shell.stdout
        self._shell.stdin.write(f"{text}\nprintf '\\n{END} %s\\n' $?\n".encode())
        told, deadline = b"", time.monotonic() + timeout
        while END.encode() not in told or not told.endswith(b"\n"):
            ready, _, _ = select.select([self._shell.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._shell.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                raise CommandFailed(f"$ {text}\n{told.decode()}\n(no end within {timeout} s){self._told()}")
            told += chunk
        output, _, status = told.decode().rpartition(END)
        return output.strip("\n"), int(status)

    def _told(self) -> str:
        return "".join(f"\n--- {log.name} told:\n{log.read_text()}" for log in sorted(self._logs.iterdir()))


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
