"""The house stands as docs/explanation/architecture.md draws it.

The table of floors is read from that page, so that the two cannot disagree: a new module needs its
place there.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "rtbridge"
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
MAX_LINES = 450

# Off the stairs: what these may reach down to, and nobody inside the house imports them.
ASIDE = {"client": 1, "testing": 8}
# rtbridge/__init__.py only re-exports, `python -m rtbridge` only starts the command line: they stand above everything.
ABOVE = {"", "__main__"}
TOP = 9
# These may use all of it, as an application does.
USERS = {*ABOVE, "cli", "testing"}

# Optional packages, and the modules that may import them when they are imported themselves.
OPTIONAL = {
    "gevent": ("runtime.gevent_epoll", "runtime.gevent_loop", "server", "bus.redis.greenlets"),
    "geventwebsocket": ("server",),
    "redis": (),
    "hiredis": ("bus.redis",),
    "msgpack": ("protocol.packed",),
    "websockets": (),
    "django": ("integrations.django",),
    "flask": ("integrations.flask",),
    "werkzeug": ("integrations.flask",),
    "gunicorn": ("server",),
    "waitress": (),
}

CONTAINERS = {"list", "dict", "set", "deque", "defaultdict", "OrderedDict", "WeakValueDictionary"}

FILES = sorted(SOURCES.rglob("*.py"))


def module_name(file: Path) -> str:
    """`protocol.frames` for rtbridge/protocol/frames.py, `` for rtbridge/__init__.py."""
    parts = file.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


@cache
def floors() -> dict[str, int]:
    """First part of a module's name -> its floor, from the table in architecture.md."""
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", ARCHITECTURE.read_text(), re.MULTILINE)
    return {name: int(floor) for floor, names in rows for name in re.findall(r"`(\w+)/?`", names)}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def imports(name: str, nodes: Iterator[ast.AST]) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything imported; `from a import b` gives `a.b`."""
    package = ["rtbridge", *name.split(".")] if name else ["rtbridge"]
    if MODULES[name].name != "__init__.py":
        package.pop()
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield node.lineno, f"{source}.{alias.name}"


def module_level(node: ast.AST) -> Iterator[ast.AST]:
    """Everything that runs when the module is imported; not what stands under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from module_level(child)


def floor_of(name: str) -> int:
    head = name.split(".")[0]
    if head in ABOVE:
        return TOP
    return ASIDE[head] if head in ASIDE else floors()[head]


def test_the_table_was_read() -> None:
    assert floors()["errors"] == 0
    assert floors()["protocol"] == 1
    assert floors()["cli"] == 8


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_floor(name: str) -> None:
    head = name.split(".")[0]
    assert head in ABOVE or head in floors() or head in ASIDE, f"give {head} a floor in {ARCHITECTURE.name}"


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_down_only(name: str) -> None:
    here = name.split(".")[0]
    wrong = []
    for line, target in imports(name, ast.walk(tree(name))):
        if target != "rtbridge" and not target.startswith("rtbridge."):
            continue
        there = target.split(".")[1] if "." in target else ""
        if not there or (there not in floors() and there not in ASIDE):
            # A name of the top package itself: for those above the house, not for those in it.
            if here not in USERS:
                wrong.append(f"line {line}: {target} (the top package)")
        elif there in ASIDE and there != here:
            if here not in USERS:
                wrong.append(f"line {line}: {target} stands aside; the house does not use it")
        elif floor_of(there) > floor_of(name):
            wrong.append(f"line {line}: {target} (floor {floor_of(there)}) from floor {floor_of(name)}")
    assert not wrong, "\n".join([f"{MODULES[name]}:", *wrong])


@pytest.mark.parametrize("name", MODULES)
def test_optional_packages_are_imported_only_where_they_may(name: str) -> None:
    wrong = []
    for line, target in imports(name, module_level(tree(name))):
        allowed = OPTIONAL.get(target.split(".")[0])
        if allowed is not None and not any(f"{name}.".startswith(f"{place}.") for place in allowed):
            wrong.append(f"line {line}: {target}")
    assert not wrong, "\n".join([f"{MODULES[name]}: import these inside functions", *wrong])


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "protocol"])
def test_the_protocol_touches_no_clock_socket_or_thread(name: str) -> None:
    forbidden = {"time", "socket", "select", "selectors", "threading", "_thread", "asyncio", "pydantic"}
    used = {target.split(".")[0] for _, target in imports(name, ast.walk(tree(name)))}
    assert not used & forbidden


@pytest.mark.parametrize("name", MODULES)
def test_no_module_is_long(name: str) -> None:
    lines = len(MODULES[name].read_text().splitlines())
    assert lines <= MAX_LINES, f"{MODULES[name]} has {lines} lines, {MAX_LINES} at most: divide it"


@pytest.mark.parametrize("name", MODULES)
def test_no_module_keeps_state(name: str) -> None:
    """No `global`, and no list, dict or set at module level but tables, which are written in CAPITALS."""
    wrong = [f"line {node.lineno}: global" for node in ast.walk(tree(name)) if isinstance(node, ast.Global)]
    for node in tree(name).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_mutable(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                word = ast.unparse(target)
                if not word.strip("_").isupper() and word != "__all__":
                    wrong.append(f"line {node.lineno}: {word}")
    assert not wrong, "\n".join([f"{MODULES[name]}: keep state in objects", *wrong])


def is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        called = ast.unparse(value.func).split(".")[-1]
        return called in CONTAINERS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


WITHOUT_EXTRAS = """
import importlib, importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked by the test)", name=name)

sys.meta_path.insert(0, Blocker())
for name in {names!r}:
    importlib.import_module(name)
print("imported")
"""


def test_everything_imports_without_the_extras() -> None:
    """In a fresh interpreter in which no optional package can be found."""
    exempt = tuple(f"{place}." for places in OPTIONAL.values() for place in places)
    names = [f"rtbridge.{name}".rstrip(".") for name in MODULES if not f"{name}.".startswith(exempt)]
    names = [name for name in names if not name.endswith("__main__")]
    script = WITHOUT_EXTRAS.format(blocked=sorted(OPTIONAL), names=names)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "imported\n", done.stderr


def test_importing_rtbridge_imports_no_framework() -> None:
    """`import rtbridge` stays light also where the extras are installed."""
    heavy = set(OPTIONAL) - {"msgpack", "websockets"}
    script = f"import sys, rtbridge; print(sorted(set(sys.modules) & {heavy!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stdout + done.stderr
