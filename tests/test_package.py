"""What is shipped: the wheel that `make test` built and installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import rtbridge
from support.needs import missing

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "rtbridge"


@pytest.fixture
def wheel() -> Path:
    path = os.environ.get("RTBRIDGE_WHEEL", "")
    if not Path(path).is_file():
        missing("there is no wheel; run this by `make test`, which builds one")
    return Path(path)


@pytest.fixture
def project() -> dict[str, object]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert isinstance(project, dict)
    return project


def test_the_tests_run_against_the_installed_wheel(wheel: Path) -> None:
    imported = Path(rtbridge.__file__)
    assert "site-packages" in imported.parts
    assert SOURCES not in imported.parents


def test_the_wheel_holds_the_sources_and_nothing_else(wheel: Path) -> None:
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        file.relative_to(SOURCES.parent).as_posix()
        for file in SOURCES.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert shipped == sources


def test_the_wheel_holds_the_browser_client_and_the_types(wheel: Path) -> None:
    shipped = zipfile.ZipFile(wheel).namelist()
    assert "rtbridge/py.typed" in shipped
    assert "rtbridge/js/client.js" in shipped
    assert "rtbridge/js/client.d.ts" in shipped


def test_the_metadata_says_what_pyproject_says(wheel: Path, project: dict[str, object]) -> None:
    told = metadata.metadata("rtbridge")
    assert told["Version"] == project["version"]
    assert told["Requires-Python"] == project["requires-python"]
    assert told["License-Expression"] == "MIT"
    assert told["Description-Content-Type"] == "text/markdown"
    assert {"gevent", "redis", "msgpack"} <= set(told.get_all("Provides-Extra") or [])
    needed = [line for line in metadata.requires("rtbridge") or [] if "extra ==" not in line]
    assert sorted(line.split(">=")[0] for line in needed) == ["itsdangerous", "pydantic"]


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """Only the two required packages are there: the import, the command line and the client's files work."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin" / "pip", "install", "--quiet", wheel], check=True)

    def run(program: str, *arguments: str) -> str:
        command = [venv / "bin" / program, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    client = "importlib.resources.files('rtbridge').joinpath('js/client.js').is_file()"
    assert run("python", "-c", f"import rtbridge, importlib.resources; print({client})") == "True\n"
    assert "serve" in run("rtbridge", "--help")
