"""Every snippet in README.md and docs/ works: commands and Python run, the rest is checked for syntax.

How a page says what is to be done with a fence stands in support/snippets.py. A fence in a language that
is not known here fails: nothing on a page is silently untested.
"""

from __future__ import annotations

import configparser
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.needs import free_port, needs
from support.snippets import BadPage, Fence, Scenario, commands, difference, patched, scenarios
from support.terminal import Terminal

ROOT = Path(__file__).parent.parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("examples/*/*.md"), *ROOT.glob("docs/**/*.md")]
SCENARIOS = [s for page in sorted(PAGES) for s in scenarios(page, page.relative_to(ROOT).as_posix())]

# Ports that the pages speak of; in the test they become free ones.
PORTS = re.compile(r"\b(5000|6379|8000|8001|8080)\b")

PIP = f"""#!/bin/sh
# Outside an environment of its own a page may say `pip install`, but only for what is there already.
unset PIP_CONSTRAINT
exec {sys.executable} -m pip --no-index "$@"
"""


class Stage:
    """The folder, terminal and ports of one scenario."""

    def __init__(self, tmp_path: Path, wheels: Path) -> None:
        self.folder = tmp_path / "work"
        self.folder.mkdir()
        shims = tmp_path / "bin"
        shims.mkdir()
        (shims / "pip").write_text(PIP)
        (shims / "pip").chmod(0o755)
        strange = ("FLASK_", "DJANGO_", "RTBRIDGE_", "PYTEST", "PYTHONPATH", "VIRTUAL_ENV", "MAKE")
        env = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
        env["PATH"] = os.pathsep.join([str(shims), str(Path(sys.executable).parent), env["PATH"]])
        # pip takes what it finds in a folder before the same version from an index.
        env["PIP_FIND_LINKS"] = " ".join([str(wheels), env.get("PIP_FIND_LINKS", "")])
        env["PIP_CONSTRAINT"] = str(wheels / "constraint.txt")
        env["PYTHONUNBUFFERED"] = "1"
        self.env = env
        self.terminal = Terminal(self.folder, env)
        self._ports: dict[str, int] = {}

    def text(self, text: str) -> str:
        """The text with its ports replaced."""
        return PORTS.sub(lambda match: str(self._ports.setdefault(match[1], free_port())), text)

    def port(self, command: str) -> int | None:
        return next((port for port in self._ports.values() if str(port) in command), None)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our wheel, for pages that install it, and the constraint to take that one."""
    folder = tmp_path_factory.mktemp("wheels")
    if wheel := os.environ.get("RTBRIDGE_WHEEL"):
        shutil.copy(wheel, folder)
    else:
        pip_wheel = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            folder,
            ROOT,
        ]
        subprocess.run(pip_wheel, check=True, timeout=100)
    (wheel_file,) = folder.glob("*.whl")
    (folder / "constraint.txt").write_text(f"rtbridge=={wheel_file.name.split('-')[1]}\n")
    return folder


@pytest.fixture
def stage(tmp_path: Path, wheels: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, wheels)
    yield stage
    stage.terminal.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_page(scenario: Scenario, stage: Stage) -> None:
    script = ""
    for fence in scenario.fences:
        if "no-test" in fence.directives:
            continue
        check(fence, stage)
        if "file" in fence.directives:
            write(fence, stage)
        elif "check-only" in fence.directives:
            continue
        elif fence.language == "console":
            run(fence, stage)
        elif fence.language == "python":
            # Each fence at its own line number, so that a traceback points into the page.
            script += "\n" * (fence.line - 1 - script.count("\n")) + stage.text(fence.text)
    if script:
        page = scenario.fences[0].page
        told = subprocess.run(
            [sys.executable, "-c", f"import sys; exec(compile(sys.stdin.read(), {page!r}, 'exec'))"],
            input=script,
            cwd=stage.folder,
            env=stage.env | {"PYTHONPATH": str(stage.folder)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert told.returncode == 0, told.stdout + told.stderr


def write(fence: Fence, stage: Stage) -> None:
    path = stage.folder / fence.directives["file"]
    text = stage.text(fence.text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(patched(path.read_text(), text) if fence.language == "diff" else text)
    if path.suffix == ".py":
        compile(path.read_text(), fence.where, "exec")


def run(fence: Fence, stage: Stage) -> None:
    for command, shown in commands(stage.text(fence.text)):
        if "background" in fence.directives:
            stage.terminal.start(fence.directives["background"], command, stage.port(command))
            continue
        output = stage.terminal.run(command)
        line = difference(shown, output)
        assert line is None, f"{fence.where}: $ {command}\nshould tell: {line}\nbut told:\n{output}"


# --- one check of the form for each language ---------------------------------------------------------------


def check(fence: Fence, stage: Stage) -> None:
    if fence.language not in CHECKS:
        pytest.fail(f"{fence.where}: no test knows the language {fence.language!r}; known: {sorted(CHECKS)}")
    CHECKS[fence.language](fence, stage)


def check_python(fence: Fence, stage: Stage) -> None:
    compile(fence.text, fence.where, "exec")


def check_console(fence: Fence, stage: Stage) -> None:
    if not list(commands(fence.text)):
        raise BadPage(f"{fence.where}: no command")


def check_json(fence: Fence, stage: Stage) -> None:
    json.loads(fence.text)


def check_toml(fence: Fence, stage: Stage) -> None:
    tomllib.loads(fence.text)


def check_js(fence: Fence, stage: Stage) -> None:
    file = stage.folder.parent / "snippet.mjs"
    file.write_text(fence.text)
    done = subprocess.run([needs("node"), "--check", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{fence.where}\n{done.stderr}"


class Page(html.parser.HTMLParser):
    """Finds tags that are not closed, and the text of scripts."""

    VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] in ("p", "li") and self.open[-1] != tag:
            self.open.pop()
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)


def check_html(fence: Fence, stage: Stage) -> None:
    page = Page()
    page.feed(re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "0", fence.text))
    page.close()
    assert not set(page.open) - {"p", "li", "html", "body"}, f"{fence.where}: not closed: {page.open}"
    for script in page.scripts:
        check_js(Fence(fence.page, fence.line, "js", script), stage)


def check_nginx(fence: Fence, stage: Stage) -> None:
    """`server` blocks and what belongs beside them."""
    folder = stage.folder.parent
    nginx, conf = needs("nginx"), folder / "nginx.conf"
    conf.write_text(f"pid {folder}/nginx.pid;\nevents {{}}\nhttp {{\n{stage.text(fence.text)}\n}}\n")
    command = [nginx, "-t", "-q", "-e", "stderr", "-p", folder, "-c", conf]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{fence.where}\n{done.stderr}"


def check_haproxy(fence: Fence, stage: Stage) -> None:
    conf = stage.folder.parent / "haproxy.cfg"
    conf.write_text(stage.text(fence.text))
    done = subprocess.run([needs("haproxy"), "-c", "-f", conf], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{fence.where}\n{done.stderr}"


def check_ini(fence: Fence, stage: Stage) -> None:
    """A systemd unit; options may be repeated there."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(fence.text)
    assert unit.sections(), f"{fence.where}: no section"


def check_diff(fence: Fence, stage: Stage) -> None:
    if "file" not in fence.directives:
        raise BadPage(f"{fence.where}: a diff needs a file")


def check_text(fence: Fence, stage: Stage) -> None:
    """Pictures and trees in text: nothing to run. Output of commands belongs to a console fence."""


CHECKS: dict[str, Callable[[Fence, Stage], None]] = {
    "console": check_console,
    "diff": check_diff,
    "haproxy": check_haproxy,
    "html": check_html,
    "ini": check_ini,
    "js": check_js,
    "json": check_json,
    "nginx": check_nginx,
    "python": check_python,
    "text": check_text,
    "toml": check_toml,
}
