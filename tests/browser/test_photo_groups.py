"""Groups of the photo site, and its ladder, in real pages: two users, one of them on each transport in turn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from support.browser import SERVER_AWAY, chromium, problems_of
from support.photo_site import PhotoSite

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SOON = 12_000
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhotoSite]:
    site = PhotoSite(tmp_path_factory.mktemp("groups"))
    site.start()
    yield site
    site.kill()


class Member:
    """Somebody with a name, in a window."""

    def __init__(self, browser: Browser, site: PhotoSite, name: str) -> None:
        self.name, self.site = f"{name}{next(numbers)}", site
        self.page: Page = browser.new_context(viewport={"width": 1100, "height": 900}).new_page()
        self.problems = problems_of(self.page)
        self.page.goto(site.url + "groups/")
        self.page.fill("[name=name]", self.name)
        self.page.click("text=Come in")

    def found(self, group: str) -> str:
        self.page.fill("[name=name]", group)
        self.page.click("text=Found it")
        expect(self.page.locator("#people")).to_have_text(self.name)
        return self.page.url

    def says(self, text: str) -> None:
        self.page.locator(".post input").first.fill(text)
        self.page.locator(".post").first.get_by_text("Say it").click()

    def sees(self, selector: str, text: str) -> None:
        expect(self.page.locator(selector)).to_contain_text(text, timeout=SOON)


@pytest.mark.parametrize("transport", ["websocket", "eventstream", "longpoll", "shortpoll"])
def test_a_group_and_its_members(browser: Browser, site: PhotoSite, transport: str) -> None:
    ada, bob = Member(browser, site, "Ada"), Member(browser, site, "Bob")
    address = ada.found("Walkers")
    ada.page.fill("#invite [name=name]", bob.name)
    ada.page.click("text=Take in")
    bob.sees("#notices", f"{ada.name} takes you into “Walkers”")
    bob.page.goto(f"{address}?transport={transport}")
    for each in (ada, bob):  # both know that both are looking
        expect(each.page.locator("#people li")).to_have_text([ada.name, bob.name], timeout=SOON)

    ada.page.click("text=Take a picture")
    for each in (ada, bob):
        expect(each.page.locator(".post")).to_have_count(1, timeout=SOON)
    if transport != "shortpoll":
        ada.page.locator(".post input").press_sequentially("Look")
        bob.sees(".typing", f"{ada.name} is typing…")
    ada.says(f"Look, @{bob.name}")
    bob.sees(".comments", f"{ada.name} Look, @{bob.name}")
    bob.sees("#notices", f"{ada.name}: Look")

    bob.says("A link: http://example.com")
    bob.sees("#problem", "no links, please")
    expect(bob.page.locator(".comments li")).to_have_count(1)
    bob.says("Lovely")
    ada.sees(".comments", "Lovely")
    expect(bob.page.locator(".comments li:not(.pending)")).to_have_count(2, timeout=SOON)

    ada.page.click("text=Take a picture")
    bob.sees("#news", "1 new photo")
    expect(bob.page.locator(".post")).to_have_count(1)
    bob.page.click("#news")
    expect(bob.page.locator(".post")).to_have_count(2)

    # He leaves in one tab, and is out in the other.
    second = bob.page.context.new_page()
    second.goto(address)
    expect(second.locator(".post")).to_have_count(2)
    second.click("text=Leave")
    bob.sees("#group", "You are not in this group any more.")
    expect(ada.page.locator("#people")).to_have_text(ada.name, timeout=SOON)
    for each in (ada, bob):
        assert [problem for problem in each.problems if not SERVER_AWAY.search(problem)] == []
        each.page.context.close()


def test_what_is_said_with_the_server_away_is_said_by_the_next_page(
    browser: Browser, site: PhotoSite
) -> None:
    ada = Member(browser, site, "Ada")
    address = ada.found("Alone")
    ada.page.click("text=Take a picture")
    expect(ada.page.locator(".post")).to_have_count(1)
    site.kill()
    ada.says("Is anybody there?")
    ada.sees(".comments .pending", "Is anybody there?")
    ada.page.goto("about:blank")
    site.start()
    ada.page.goto(address)
    expect(ada.page.locator(".comments li:not(.pending)")).to_have_text(
        [f"{ada.name} Is anybody there?"], timeout=SOON
    )
    ada.page.reload()
    expect(ada.page.locator(".comments li")).to_have_text([f"{ada.name} Is anybody there?"], timeout=SOON)
    ada.page.context.close()


def test_the_ladder_shows_what_visitors_cost(browser: Browser, site: PhotoSite) -> None:
    page = browser.new_context().new_page()
    problems = problems_of(page)
    page.goto(site.url + "ladder/")
    expect(page.locator("#badge")).to_contain_text("live")
    page.locator("#visitors").evaluate(
        "element => { element.value = 20; element.dispatchEvent(new Event('change')) }"
    )
    above = "id => Number(document.querySelector(id).textContent) >= 5"
    for meter in ("#requests", "#queries"):
        page.wait_for_function(above, arg=meter, timeout=SOON)
    expect(page.locator("#delay")).to_contain_text("s", timeout=SOON)
    page.locator("#rungs").get_by_text("Shared poll").click()
    page.wait_for_function(above, arg="#requests", timeout=SOON)
    few = "() => Number(document.querySelector('#queries').textContent) <= 3"
    page.wait_for_function(few, timeout=SOON)
    page.wait_for_function(above, arg="#requests", timeout=SOON)
    page.locator("#rungs").get_by_text("WebSocket").click()
    for meter in ("#requests", "#queries"):
        expect(page.locator(meter)).to_have_text("0", timeout=SOON)
    expect(page.locator("#delay")).to_contain_text("ms", timeout=SOON)
    assert problems == []
    page.context.close()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_pages_fit_their_window(browser: Browser, site: PhotoSite, width: int) -> None:
    ada = Member(browser, site, "Ada")
    group = ada.found("A group with quite a long name")
    ada.page.set_viewport_size({"width": width, "height": 800})
    for address in (group, site.url + "groups/", site.url + "ladder/"):
        ada.page.goto(address)
        # The meters show what they measure: have them show something long.
        ada.page.evaluate("document.querySelectorAll('.meters dd').forEach(dd => dd.textContent = '12345 ms')")
        assert ada.page.evaluate("document.documentElement.scrollWidth") <= width, address
    ada.page.context.close()
