"""Read the fenced snippets of a Markdown page, and what the comments before them say about testing them.

<!-- test: name -->          from here on a new scenario: a new empty folder, a new terminal
<!-- file: shop/app.py -->   the fence below is this file (a `diff` fence changes it)
<!-- background: web -->     the commands below run on until the scenario ends or `web` is started again
<!-- check-only: reason -->  the fence below is checked for syntax but not run
<!-- no-test: reason -->     the fence below is not looked at
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DIRECTIVES = {"test", "file", "background", "check-only", "no-test"}
COMMENT = re.compile(r"<!-- *([a-z-]+) *(?:: *(.*?))? *-->$")


class BadPage(Exception):
    """A page breaks the conventions above."""


@dataclass(frozen=True)
class Fence:
    page: str
    line: int
    """Line number of the first line of text."""
    language: str
    text: str
    directives: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Scenario:
    name: str
    fences: list[Fence] = field(default_factory=list)


def scenarios(path: Path, page: str) -> list[Scenario]:
    """The scenarios of a page, without those that have no fence."""
    found = [Scenario(page)]
    for fence in fences(path.read_text(), page):
        if "test" in fence.directives:
            found.append(Scenario(f"{page}:{fence.directives['test']}"))
        found[-1].fences.append(fence)
    return [scenario for scenario in found if scenario.fences]


def fences(text: str, page: str) -> Iterator[Fence]:
    lines = iter(enumerate(text.splitlines(), 1))
    directives: dict[str, str] = {}
    for number, line in lines:
        if line.startswith("```"):
            body = []
            for _, inner in lines:
                if inner.startswith("```"):
                    break
                body.append(inner)
            else:
                raise BadPage(f"{page}:{number}: a fence is not closed")
            yield Fence(page, number + 1, line[3:].strip(), "\n".join(body) + "\n", directives)
            directives = {}
        elif line.lstrip().startswith("```") and not line.startswith("    "):
            raise BadPage(f"{page}:{number}: a fence must begin at the start of its line")
        elif match := COMMENT.match(line):
            name, value = match.groups()
            if name not in DIRECTIVES or not value:
                raise BadPage(f"{page}:{number}: <!-- name: value --> with a name of {sorted(DIRECTIVES)}")
            directives[name] = value
        elif line.strip() and set(directives) - {"test"}:
            raise BadPage(f"{page}:{number}: {sorted(directives)} must stand right before a fence")


def patched(text: str, diff: str) -> str:
    """`text` changed by a diff without line numbers: each hunk's old lines must be there exactly once."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        if hunk.strip():
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] or "\n" for line in lines if line[0] in " -\n")
            new = "".join(line[1:] or "\n" for line in lines if line[0] in " +\n")
            if text.count(old) != 1:
                raise BadPage(f"the diff's old lines stand {text.count(old)} times in the file:\n{old}")
            text = text.replace(old, new)
    return text


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console fence, each with the lines of output that the page shows for it."""
    command, shown = "", []
    for line in text.splitlines():
        if command.endswith("\\"):
            command += "\n" + line
        elif line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], []
        elif command:
            shown.append(line)
        else:
            raise BadPage(f"a console fence begins with `$ `, not with {line!r}")
    if command:
        yield command, shown


def difference(shown: list[str], output: str) -> str | None:
    """The first shown line that is not in the output, in order; `...` stands for anything."""
    rest = iter(output.splitlines())
    for line in filter(None, map(str.strip, shown)):
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        if not any(re.fullmatch(pattern, told.strip()) for told in rest):
            return line
    return None
