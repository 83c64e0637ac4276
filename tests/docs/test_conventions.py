"""The reader of snippets keeps the promises that test_snippets.py relies on."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.needs import free_port
from support.snippets import BadPage, commands, difference, fences, patched, scenarios
from support.terminal import CommandFailed, Terminal, listens


def test_fences_have_a_place_a_language_and_directives() -> None:
    (fence,) = fences("text\n\n<!-- file: app.py -->\n```python\na = 1\n```\n", "page.md")
    assert (fence.where, fence.language, fence.text) == ("page.md:5", "python", "a = 1\n")
    assert fence.directives == {"file": "app.py"}


def test_a_test_comment_begins_a_scenario(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```js\n1\n```\n<!-- test: other -->\nprose\n```js\n2\n```\n")
    assert [scenario.name for scenario in scenarios(page, "page.md")] == ["page.md", "page.md:other"]


@pytest.mark.parametrize(
    "text",
    [
        "```python\n",
        "  ```python\n  ```\n",
        "<!-- no-test -->\n```python\n```\n",
        "<!-- notest: typing error -->\n```python\n```\n",
        "<!-- file: app.py -->\nprose\n```python\n```\n",
    ],
)
def test_what_would_be_overlooked_is_an_error(text: str) -> None:
    with pytest.raises(BadPage):
        list(fences(text, "page.md"))


def test_indented_text_is_prose() -> None:
    assert not list(fences("    ```\n    not a fence\n", "page.md"))


def test_commands_and_their_output() -> None:
    text = "$ curl \\\n    localhost\nhello\n$ true\n"
    assert list(commands(text)) == [("curl \\\n    localhost", ["hello"]), ("true", [])]


def test_shown_lines_must_appear_in_order() -> None:
    assert difference(["a", "c...e"], "a\nb\nc d e\n") is None
    assert difference(["b", "a"], "a\nb\n") == "a"
    assert difference(["c...f"], "c d e\n") == "c...f"


def test_a_diff_changes_exactly_one_place() -> None:
    assert patched("a\nb\nc\n", " a\n-b\n+B\n") == "a\nB\nc\n"
    with pytest.raises(BadPage):
        patched("a\na\n", "-a\n+b\n")


def test_a_terminal_remembers_and_ends_what_it_started(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    terminal, port = Terminal(tmp_path / "work", {"PATH": "/usr/bin:/bin"}), free_port()
    try:
        terminal.run("mkdir sub; cd sub; export WORD=kept")
        assert terminal.run("basename $PWD; echo $WORD") == "sub\nkept"
        with pytest.raises(CommandFailed, match="exit status 3"):
            terminal.run("sh -c 'exit 3'")
        terminal.start("web", f"python3 -m http.server {port}", port)
        assert listens(port)
        terminal.end("web")
        assert not listens(port)
        with pytest.raises(CommandFailed, match="does not listen"):
            terminal.start("web", "echo too bad", port)
    finally:
        terminal.close()
