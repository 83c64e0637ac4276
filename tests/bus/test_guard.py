"""One process serves memory://, whatever way the others came to be and the holder ended."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rtbridge.bus.guard import ServingGuard, lock_path
from rtbridge.errors import ConfigError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no record locks: everybody may")

OTHER = """
import sys
from pathlib import Path
from rtbridge.bus.guard import ServingGuard

guard = ServingGuard(Path(sys.argv[1]))
for line in sys.stdin:
    print(getattr(guard, line.strip())(), flush=True)
"""


class Other:
    """A guard in another process, told what to do over a pipe."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, method: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(method + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def another(path: Path) -> Iterator[Other]:
    other = Other(path)
    try:
        yield other
    finally:
        other.end()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.lock"


def test_the_first_claims_and_keeps(path: Path) -> None:
    guard = ServingGuard(path)
    assert guard.holder() is None
    assert guard.claim() is True
    assert guard.claim() is True
    assert guard.holder() == os.getpid()
    with another(path) as other:
        assert other.ask("claim") == "False"
        assert other.ask("holder") == str(os.getpid())
        assert other.ask("claim") == "False"
    assert guard.claim() is True


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_when_the_holder_ends_the_next_claim_succeeds(path: Path, how: signal.Signals) -> None:
    guard = ServingGuard(path)
    with another(path) as other:
        assert other.ask("claim") == "True"
        assert guard.claim() is False
        assert guard.holder() == other.process.pid
        other.end(how)
        assert guard.holder() is None
        assert guard.claim() is True
        assert guard.holder() == os.getpid()


def test_of_many_one_claims(path: Path) -> None:
    others = [Other(path) for _ in range(4)]
    assert sorted(other.ask("claim") for other in others) == ["False", "False", "False", "True"]
    for other in others:
        other.end()


def test_two_bridges_of_one_process_do_not_hurt_each_other(path: Path) -> None:
    """To close any descriptor of the file would let go of the lock."""
    first, second = ServingGuard(path), ServingGuard(path)
    assert first.claim()
    assert second.holder() == os.getpid() or second.holder() is None
    assert second.claim()
    del second
    with another(path) as other:
        assert other.ask("claim") == "False"


def run_in_child(function: object) -> str:
    """Fork, call it in the child, give what it returned as text."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writable, repr(function()).encode())  # type: ignore[operator]
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(pid, 0)
    return text


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_child_of_the_holder_is_not_the_holder(path: Path) -> None:
    guard = ServingGuard(path)
    assert guard.claim()
    assert run_in_child(guard.claim) == "False"
    assert run_in_child(guard.holder) == str(os.getpid())
    with another(path) as other:  # and the child's end let go of nothing
        assert other.ask("claim") == "False"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_may_hold_where_the_parent_does_not(path: Path) -> None:
    guard = ServingGuard(path)
    assert guard.holder() is None  # the file is open before the fork
    assert run_in_child(guard.claim) == "True"
    assert guard.claim() is True  # the child is gone


def test_a_lock_file_that_was_removed_is_not_taken_for_the_present_one(path: Path) -> None:
    """A cleaner of temporary files removed it while another held it; a third made it anew."""
    guard = ServingGuard(path)
    with another(path) as holder:
        assert holder.ask("claim") == "True"
        assert guard.claim() is False  # has the old file open
        path.unlink()
        with another(path) as third:
            assert third.ask("claim") == "True"
            holder.end()
            assert guard.claim() is False  # the old file is free, but it is not the one that counts
            assert guard.holder() == third.process.pid
    assert guard.claim() is True


def test_what_stands_in_the_file_of_a_dead_process_is_no_holder(path: Path) -> None:
    guard = ServingGuard(path)
    path.write_text(f"{os.getpid()}\n")  # an earlier process had our number
    assert guard.holder() is None
    path.write_text("nonsense")
    assert guard.holder() is None
    path.write_text("1\n")  # there, but perhaps not ours to signal
    assert guard.holder() == 1


def test_a_link_in_place_of_the_file_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        ServingGuard(path).claim()


def test_lock_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = lock_path("/srv/site")
    assert path == lock_path("/srv/site")
    assert path != lock_path("/srv/other")
    assert path.parent.parent == tmp_path
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="only this user"):
        lock_path("/srv/site")
    path.parent.rmdir()
    path.parent.symlink_to(tmp_path)
    with pytest.raises(ConfigError):
        lock_path("/srv/site")
