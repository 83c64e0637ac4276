"""What a test needs from the machine: programs, a browser, a free port.

A missing program skips the test with a reason that says what to install. Under `CI=true` it fails:
there, a test that did not run is a test that is not there.
"""

from __future__ import annotations

import os
import shutil
import socket
from typing import NoReturn

import pytest

# Debian keeps servers where an ordinary user's PATH does not look.
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin"])

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_program(name: str) -> str | None:
    if name == "chromium":
        return find_chromium()
    return shutil.which(name, path=SEARCH)


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome; the environment variable CHROMIUM goes first."""
    for name in (os.environ.get("CHROMIUM"), *CHROMIUM):
        path = shutil.which(name, path=SEARCH) if name else None
        if path:
            return path
    return None


def needs(name: str) -> str:
    """The path of program `name`; without it the test is skipped, or fails under CI=true."""
    path = find_program(name)
    if path is None:
        missing(f"{name} is not installed; `make test` installs it where it may, or: apt-get install {name}")
    return path


def missing(reason: str) -> NoReturn:
    """Skip because something is not there; fail under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(f"NOT TESTED: {reason}")


def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
