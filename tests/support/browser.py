"""A real Chromium: how it is started, and what of its console counts as a problem."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from playwright.sync_api import Browser, Page, sync_playwright

from support.needs import needs

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# What the browser itself writes to the console while a server is away; no script can keep it from that.
SERVER_AWAY = re.compile(r"net::ERR_|WebSocket connection to .* failed")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a fresh profile; each `new_context()` of it is another visitor."""
    path = needs("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def problems_of(page: Page) -> list[str]:
    """Fills with every error in the page's console and every exception of its scripts."""
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    return problems
