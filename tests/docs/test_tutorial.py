"""The page of the tutorial, in real windows: what is added in one is at once in the other, also after a new start."""

from __future__ import annotations

import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from support.browser import chromium, problems_of
from support.needs import free_port
from support.snippets import patched, scenarios
from support.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.browser]

PAGE = Path(__file__).parent.parent.parent / "docs" / "tutorial" / "first-steps.md"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in a folder with the tutorial's files as they are at its end."""
    folder = tmp_path / "work"
    folder.mkdir()
    for fence in scenarios(PAGE, "first-steps.md")[0].fences:
        if "file" in fence.directives:
            path = folder / fence.directives["file"]
            path.parent.mkdir(exist_ok=True)
            path.write_text(patched(path.read_text(), fence.text) if fence.language == "diff" else fence.text)
    terminal = Terminal(folder, {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"})
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    "command", ["flask run --port {port}", "rtbridge serve app:app --bind 127.0.0.1:{port}"]
)
def test_a_note_added_in_one_window_is_in_the_other(
    browser: Browser, terminal: Terminal, command: str
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    terminal.start("server", command.format(port=port), port)
    one, two = (browser.new_context().new_page() for _ in range(2))
    problems = problems_of(one), problems_of(two)
    for page in (one, two):
        page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        page.goto(url)
    one.locator("input").fill("from one")
    one.locator("button").click()
    expect(two.locator("#list")).to_have_text("from one")
    expect(one.locator("#list")).to_have_text("from one")
    assert problems == ([], [])

    # The memory of the new process is empty. Its first note has an id that the pages have seen already.
    terminal.start("server", command.format(port=port), port)
    for text in ("first", "second"):
        urllib.request.urlopen(
            url + "notes", urllib.parse.urlencode({"text": text}).encode(), timeout=10
        ).close()
    for page in (one, two):
        expect(page.locator("#list li").first).to_have_text("second", timeout=30_000)
