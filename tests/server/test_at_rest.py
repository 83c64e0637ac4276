"""Who waits takes little memory, and whoever was answered leaves nothing for the collector."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gevent")

PROGRAM = Path(__file__).with_name("at_rest.py")


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="each socket has a watcher where there is no epoll")
@pytest.mark.parametrize(
    "kind, most",  # bytes for each client: what it was when this was written, and a sixth
    [("poll", 2_400), ("stream", 2_100), ("websocket", 1_900), ("idle", 340)],
)
def test_it_is_small_and_has_no_cycles(kind: str, most: int) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), kind],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    taken, garbage = done.stdout.split()
    assert int(taken) <= most
    assert float(garbage) < 0.5, "objects in cycles, for each client"
