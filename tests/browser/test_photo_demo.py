"""The photo site in real pages: what is uploaded in one is in all others, whatever carries it, and whatever breaks.

Times are those of DESIGN's promise for a photo (one second), from when its upload was answered.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from support.browser import SERVER_AWAY, chromium, problems_of
from support.photo_site import PhotoSite, Visitor, picture

pytestmark = [pytest.mark.slow, pytest.mark.browser]

NO_WEBSOCKET = "delete window.WebSocket"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the seed in it, which takes seconds to draw."""
    site = PhotoSite(tmp_path_factory.mktemp("seeded"))
    site.start()
    site.stop()
    return site.folder / "data"


@pytest.fixture
def site(tmp_path: Path, seeded: Path) -> Iterator[PhotoSite]:
    shutil.copytree(seeded, tmp_path / "data")
    site = PhotoSite(tmp_path)
    site.start()
    yield site
    site.kill()


class Window:
    """A visitor's window, with nothing shared with the others. Collects what goes wrong in it."""

    def __init__(
        self, browser: Browser, site: PhotoSite, before: str = "", *, cut_sockets: bool = False
    ) -> None:
        self.page: Page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        self.problems = problems_of(self.page)
        if before:
            self.page.add_init_script(before)
        if cut_sockets:
            self.page.route_web_socket(re.compile("/rt/ws"), lambda socket: socket.close())
        self.page.goto(site.url)

    @property
    def badge(self) -> Locator:
        return self.page.locator("#badge")

    def choose(self, transport: str) -> None:
        self.page.locator("#transports").get_by_text(transport, exact=True).click()

    def shows(self, photo: int, within: float) -> None:
        """The photo is there, and so is its picture, within so many seconds."""
        image = f'.photo[data-id="{photo}"] img'
        self.page.wait_for_function(
            "selector => document.querySelector(selector)?.naturalWidth > 0", arg=image, timeout=within * 1000
        )

    def log(self) -> list[tuple[int, int]]:
        """Offset and photo of all that was received, in the order of its arrival."""
        lines = "lines => lines.map(line => [Number(line.dataset.offset), Number(line.dataset.photo)])"
        found = self.page.locator("#log li[data-offset]").evaluate_all(lines)
        return [(offset, photo) for offset, photo in reversed(found)]

    def notes(self) -> list[str]:
        return list(reversed(self.page.locator("#log .note").all_text_contents()))

    def upload(self, path: Path, caption: str) -> int:
        """Through the form, as a person does it. Returns the photo's id."""
        self.page.set_input_files("#upload input[type=file]", path)
        self.page.fill("#upload [name=author]", "Third")
        self.page.fill("#upload [name=caption]", caption)
        with self.page.expect_response("**/upload") as answer:
            self.page.click("#upload button")
        photo: int = answer.value.json()["id"]
        return photo

    def close(self) -> None:
        self.page.context.close()


SECOND = {
    "no WebSocket in the browser": ({"before": NO_WEBSOCKET}, None, "Event stream"),
    "WebSockets are cut on the way": ({"cut_sockets": True}, None, "Event stream"),
    "long poll chosen": ({}, "Long poll", "Long poll"),
}


@pytest.mark.parametrize("second", SECOND)
def test_a_photo_is_in_every_window_within_a_second_even_after_the_server_was_killed(
    browser: Browser, site: PhotoSite, tmp_path: Path, second: str
) -> None:
    options, choice, carrier = SECOND[second]
    one, two, third = Window(browser, site), Window(browser, site, **options), Window(browser, site)
    if choice:
        two.choose(choice)
    expect(one.badge).to_contain_text("WebSocket")
    expect(two.badge).to_contain_text(carrier, timeout=10_000)

    photo = third.upload(picture(tmp_path / "one.png"), "before")
    until = time.monotonic() + 1
    for window in (one, two):
        window.shows(photo, within=max(0.05, until - time.monotonic()))
    for window in (one, two, third):
        assert window.log() == [(1, photo)]
        assert window.problems == []

    site.kill()
    for window in (one, two):
        expect(window.badge).to_contain_text("Offline", timeout=40_000)
    site.start()
    missed = Visitor(site.url).upload((tmp_path / "one.png").read_bytes(), "while the windows are away")["id"]
    for window in (one, two):  # they come back by themselves, are told, and get the list
        expect(window.badge).to_contain_text("live", timeout=40_000)
        window.shows(missed, within=10)
        expect(window.page.locator("#log .alarm")).to_have_count(1)
        assert "the list is here, going on" in window.notes()

    expect(third.badge).to_contain_text("live", timeout=40_000)
    photo = third.upload(picture(tmp_path / "two.png", "#5e81ac"), "after")
    until = time.monotonic() + 1
    for window in (one, two):
        window.shows(photo, within=max(0.05, until - time.monotonic()))
        expect(window.page.locator("#missed")).to_have_text("0")
    for window in (one, two, third):
        assert [problem for problem in window.problems if not SERVER_AWAY.search(problem)] == []
        window.close()


def test_switching_transports_while_photos_come_loses_none(
    browser: Browser, site: PhotoSite, tmp_path: Path
) -> None:
    window, many = Window(browser, site), 40
    expect(window.badge).to_contain_text("WebSocket")
    sent: list[int] = []

    def upload_all() -> None:
        visitor, content = Visitor(site.url), picture(tmp_path / "a.png").read_bytes()
        for _ in range(many):
            sent.append(visitor.upload(content)["id"])
            time.sleep(0.1)

    uploads = threading.Thread(target=upload_all)
    uploads.start()
    used = []
    order = (
        "Long poll",
        "WebSocket",
        "Event stream",
        "Short poll",
        "Auto",
        "Event stream",
        "Long poll",
        "WebSocket",
    )
    for transport in order:
        window.choose(transport)
        used.append(transport)
        window.page.wait_for_timeout(550)
    uploads.join(60)
    assert len(sent) == many

    expect(window.page.locator("#received")).to_have_text(str(many), timeout=15_000)
    assert window.log() == [(number, photo) for number, photo in enumerate(sent, start=1)]
    assert window.page.locator(".photo").count() == 12 + many
    expect(window.page.locator("#missed")).to_have_text("0")
    carriers = set(window.page.locator("#log .by").all_text_contents())
    assert len(carriers) >= 3, carriers
    assert window.problems == []
    window.close()


def test_whoever_prefers_to_be_asked_is_asked(browser: Browser, site: PhotoSite) -> None:
    window = Window(browser, site)
    expect(window.badge).to_contain_text("WebSocket")
    window.page.get_by_text("Show new photos at once").click()
    for _ in range(2):
        window.page.get_by_role("button", name="Simulate an upload").click()
        expect(window.page.get_by_role("button", name="Simulate an upload")).to_be_enabled()
    news = window.page.get_by_role("button", name="2 new photos, show")
    expect(news).to_be_visible()
    assert window.page.locator(".photo").count() == 12
    news.click()
    expect(news).to_be_hidden()
    assert window.page.locator(".photo").count() == 14
    assert window.problems == []
    window.close()


def test_a_dropped_file_is_shared_and_a_bad_one_is_explained(
    browser: Browser, site: PhotoSite, tmp_path: Path
) -> None:
    window = Window(browser, site)
    window.page.fill("#upload [name=author]", "Dropper")
    drop = """([bytes, name, type]) => {
        const data = new DataTransfer()
        data.items.add(new File([new Uint8Array(bytes)], name, { type }))
        document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }))
    }"""
    window.page.evaluate(drop, [list(b"no picture"), "a.png", "image/png"])
    expect(window.page.get_by_role("alert")).to_contain_text("not a picture we can read")
    window.page.evaluate(drop, [list(picture(tmp_path / "a.png").read_bytes()), "a.png", "image/png"])
    expect(window.page.locator(".photo").first).to_contain_text("Dropper")
    expect(window.page.get_by_role("alert")).to_be_hidden()
    assert window.page.locator(".photo").count() == 13
    assert [problem for problem in window.problems if "400 (Bad Request)" not in problem] == []
    window.close()


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_fits_its_window(browser: Browser, site: PhotoSite, width: int) -> None:
    window = Window(browser, site)
    window.page.set_viewport_size({"width": width, "height": 800})
    assert window.page.evaluate("document.documentElement.scrollWidth") == width
    window.close()
