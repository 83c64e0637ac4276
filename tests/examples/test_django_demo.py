"""The photo site: its own tests, and that run.py starts and ends as it says. tests/browser looks at its pages."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.photo_site import DEMO, PhotoSite, Visitor, picture


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PhotoSite]:
    site = PhotoSite(tmp_path)
    yield site
    site.kill()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def test_its_own_tests_pass(tmp_path: Path) -> None:
    """In a process of its own: Django's settings can be set up once in a process."""
    command = [sys.executable, "manage.py", "test", "--verbosity", "2"]
    env = {**os.environ, "DATA_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=DEMO, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    ran = re.search(r"Ran (\d+) tests", done.stderr)
    assert ran and int(ran[1]) >= 20


def test_no_migration_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]
    subprocess.run(command, cwd=DEMO, env={**os.environ, "DATA_DIR": str(tmp_path)}, check=True, timeout=60)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_with_a_seeded_wall_and_ends_cleanly(site: PhotoSite, sign: int) -> None:
    assert site.start() == f"Photo site: {site.url}\n"
    assert len(json.loads(get(site.url + "photos.json"))["photos"]) == 12
    assert b"export" in get(site.url + "rt/client.js")
    assert b"import" in get(site.url + "static/wall/main.js")
    assert site.stop(sign) == 0
    assert "Traceback" not in site.errors.read_text()


def test_what_was_uploaded_is_there_after_a_restart(site: PhotoSite, tmp_path: Path) -> None:
    site.start()
    photo = Visitor(site.url).upload(picture(tmp_path / "a.png").read_bytes(), "kept")
    told = json.loads(get(site.url + "rt/channels/photos"))["publications"]
    assert told == [{"offset": 1, "data": photo}]
    key = (tmp_path / "data" / "secret_key").read_text()
    site.kill()
    site.start()
    found = json.loads(get(site.url + "photos.json"))["photos"]
    assert (len(found), found[0]) == (13, photo)
    assert get(site.url + photo["image"].lstrip("/"))[:2] == b"\xff\xd8"
    assert (tmp_path / "data" / "secret_key").read_text() == key


def test_without_port_a_busy_one_is_passed_over() -> None:
    code = "import run; print(run.free_port('127.0.0.1'))"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8000))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        found = subprocess.run(
            [sys.executable, "-c", code], cwd=DEMO, capture_output=True, text=True, timeout=60
        )
    assert 8000 < int(found.stdout) < 8100
