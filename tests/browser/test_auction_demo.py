"""The auction in a real browser, as two people in the room see it."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from support.browser import SERVER_AWAY, chromium, problems_of
from support.needs import free_port
from support.servers import Server, started

pytestmark = [pytest.mark.slow, pytest.mark.browser]

RUN = Path(__file__).resolve().parents[2] / "examples" / "flask_demo" / "run.py"
PAIRS = [("websocket", "longpoll"), ("eventstream", "shortpoll"), ("websocket", "eventstream")]
NAMES = {
    "websocket": "WebSocket",
    "eventstream": "event stream",
    "longpoll": "long poll",
    "shortpoll": "short poll",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(autouse=True)
def everybody_leaves(browser: Browser) -> Iterator[None]:
    """Pages of an earlier test would go on looking for its server."""
    yield
    for context in browser.contexts:
        context.close()


@contextlib.contextmanager
def auction(folder: Path, port: int) -> Iterator[Server]:
    env = {"DATA_DIR": str(folder / "var")}
    with started("auction", [sys.executable, str(RUN)], folder, port=port, env=env) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with auction(tmp_path, free_port()) as server:
        yield server


class Bidder:
    """Somebody with a window of their own on a lot's page, or on the list."""

    def __init__(
        self, browser: Browser, server: Server, name: str, path: str = "/lots/9", **context: object
    ) -> None:
        self.name = name
        self.page: Page = browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page()
        self.problems = problems_of(self.page)
        self.page.goto(server.url + path)
        self.badge = self.page.locator("#link-text")
        self.price = self.page.locator("#price")
        self.standing = self.page.locator("#standing")
        self.answer = self.page.locator("#answer")
        self.submit = self.page.locator("#submit")

    def use(self, transport: str) -> None:
        """Switch at the badge, as a person does."""
        self.page.locator("#link summary").click()
        self.page.locator(f"#link input[value={transport}]").check()
        self.page.keyboard.press("Escape")
        expect(self.badge).to_have_text(f"live by {NAMES[transport]}", timeout=15_000)

    def bid(self, amount: int) -> None:
        self.page.fill("[name=bidder]", self.name)
        self.page.fill("[name=amount]", str(amount))
        self.submit.click()

    def sees(self, price: str, within: float = 1.0) -> None:
        expect(self.price).to_have_text(price, timeout=within * 1000)
        expect(self.price).not_to_have_class(re.compile("hoped"))  # the auctioneer has said so

    def bids(self) -> Locator:
        return self.page.locator("#bids li")


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_on_different_transports_see_each_others_bids_within_a_second(
    browser: Browser, server: Server, one: str, other: str
) -> None:
    ada, bob = Bidder(browser, server, "Ada"), Bidder(browser, server, "Bob")
    ada.use(one)
    bob.use(other)
    # A short poll asks every few seconds; that is what one chooses it for.
    patience = {
        who: 8.0 if transport == "shortpoll" else 1.0 for who, transport in ((ada, one), (bob, other))
    }

    ada.bid(115)
    bob.sees("€115", patience[bob])
    ada.sees("€115")
    expect(ada.standing).to_have_text("You are the highest bidder.")
    expect(bob.standing).to_have_text("The lead is with Ada.")
    bob.bid(130)
    ada.sees("€130", patience[ada])
    expect(ada.standing).to_have_text("You were outbid by Bob.")
    expect(ada.page.locator("[name=amount]")).to_have_value("140")
    for who in (ada, bob):
        expect(who.bids()).to_have_count(2)
        expect(who.bids().first).to_contain_text("Bob")
        assert who.problems == []


def test_a_bid_that_is_too_low_is_answered(browser: Browser, server: Server) -> None:
    ada, bob = Bidder(browser, server, "Ada"), Bidder(browser, server, "Bob")
    ada.bid(120)
    bob.sees("€120")
    bob.bid(115)
    expect(bob.answer).to_have_text("Sorry, somebody was faster: the price is 120.")
    bob.bid(121)
    expect(bob.answer).to_have_text("Sorry, the next bid is at least 130.")
    bob.page.fill("[name=bidder]", "")
    bob.submit.click()
    expect(bob.answer).to_have_text("Please say who is bidding.")
    expect(bob.bids()).to_have_count(1)
    assert bob.problems == []


def test_a_bid_stands_there_at_once_and_is_taken_back_if_it_was_too_low(
    browser: Browser, server: Server
) -> None:
    """Looked at in the very moment of the click, before the auctioneer can have heard of it."""
    ada, bob = Bidder(browser, server, "Ada"), Bidder(browser, server, "Bob")
    click = """() => {
        document.querySelector("#submit").click()
        const text = selector => document.querySelector(selector)?.textContent.trim()
        return [text("#price"), text("#bids li.hoped b"), text("#standing")]
    }"""
    for who, amount in ((ada, "120"), (bob, "115")):
        expect(who.badge).to_contain_text("live")
        who.page.fill("[name=bidder]", who.name)
        who.page.fill("[name=amount]", amount)
        if who is bob:
            bob.sees("€120")
        assert who.page.evaluate(click) == [
            f"€{max(int(amount), 120)}",
            f"€{amount}",
            "Your bid is on its way…",
        ]
    expect(bob.answer).to_have_text("Sorry, somebody was faster: the price is 120.")
    for who in (ada, bob):
        expect(who.page.locator(".hoped")).to_have_count(0)
        expect(who.bids()).to_have_count(1)
        who.sees("€120")
    expect(ada.standing).to_have_text("You are the highest bidder.")
    assert ada.problems == bob.problems == []


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
def test_who_is_in_the_room(browser: Browser, server: Server, transport: str) -> None:
    ada, bob = Bidder(browser, server, "Ada"), Bidder(browser, server, "Bob")
    bob.use(transport)
    for who in (ada, bob):
        expect(who.page.locator("#room-count")).to_have_text("2 in the room")
    bob.page.fill("[name=bidder]", "Bob")
    bob.page.keyboard.press("Tab")
    names = ada.page.locator("#room-names li")
    expect(names).to_contain_text(["you", "Bob"])
    expect(bob.page.locator("#room-names")).to_contain_text("you")
    bob.page.context.close()
    expect(ada.page.locator("#room-count")).to_have_text("Only you are in the room", timeout=8_000)
    assert ada.problems == []


def test_a_double_click_bids_once(browser: Browser, server: Server) -> None:
    ada = Bidder(browser, server, "Ada")
    ada.page.fill("[name=bidder]", "Ada")
    ada.submit.dblclick()
    expect(ada.submit).to_have_text("You lead")
    ada.page.wait_for_timeout(500)
    ada.page.reload()
    expect(ada.bids()).to_have_count(1)
    assert ada.problems == []


def test_the_list_follows_every_price(browser: Browser, server: Server) -> None:
    list_, ada = Bidder(browser, server, "", "/"), Bidder(browser, server, "Ada")
    expect(list_.badge).to_contain_text("live")
    ada.bid(115)
    card = list_.page.locator('[data-lot="9"]')
    expect(card.locator("[data-price]")).to_have_text("€115", timeout=1000)
    expect(card.locator("[data-count]")).to_have_text("1 bid")
    expect(list_.page.locator("#latest")).to_have_text("Ada bids €115 on Seven Harbours")
    expect(list_.page.locator("#bid-count")).to_have_text("1")
    # Ada's own list knows where she stands, also when that changes.
    ada.page.goto(server.url)
    expect(ada.page.locator('[data-lot="9"] [data-tag]')).to_have_text("You lead")
    bob = Bidder(browser, server, "Bob")
    bob.bid(130)
    expect(ada.page.locator('[data-lot="9"] [data-tag]')).to_have_text("Outbid")
    assert list_.problems == ada.problems == bob.problems == []


def test_bids_come_in_while_the_transport_changes(browser: Browser, server: Server) -> None:
    """With bots bidding, every bid is in the list once, whatever the order of transports."""
    ada = Bidder(browser, server, "Ada")
    ada.page.get_by_text("Send in the bots").click()
    expect(ada.bids().first).to_be_visible(timeout=10_000)
    for transport in ("longpoll", "eventstream", "shortpoll", "websocket"):
        ada.use(transport)
        ada.page.wait_for_timeout(1500)
    count = int(ada.page.locator("#bid-count").inner_text())
    assert count >= 3
    seen = ada.bids().evaluate_all("rows => rows.map(row => Number(row.dataset.bid))")
    assert len(seen) == len(set(seen)) == ada.bids().count() and seen == sorted(seen, reverse=True)
    told = ada.page.evaluate(
        "async () => (await (await fetch('/lots/9.json')).json()).bids.map(bid => bid.id)"
    )
    assert told[-len(seen) :] == seen
    assert ada.problems == []


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
def test_a_killed_server_is_forgiven(browser: Browser, tmp_path: Path, transport: str) -> None:
    """What was bid while the page was away is there afterwards: its channel is a new one, so it fetches the lot."""
    port = free_port()
    with auction(tmp_path, port) as server:
        ada = Bidder(browser, server, "Ada")
        list_ = Bidder(browser, server, "", "/")
        ada.use(transport)
        ada.bid(115)
        ada.sees("€115")
        server.kill()
    expect(ada.badge).to_have_text("connection lost, trying again", timeout=20_000)
    with auction(tmp_path, port) as server:
        bob = browser.new_context(java_script_enabled=False).new_page()
        bob.goto(server.url + "/lots/9")
        bob.fill("[name=bidder]", "Bob")
        bob.click("#submit")
        expect(bob.locator("body")).to_contain_text("Your bid of €125 is in.")

        expect(ada.badge).to_contain_text("live by", timeout=45_000)
        ada.sees("€125", within=10)
        expect(ada.standing).to_have_text("You were outbid by Bob.")
        expect(ada.bids()).to_have_count(2)
        expect(list_.page.locator('[data-lot="9"] [data-price]')).to_have_text("€125", timeout=45_000)
        ada.bid(140)
        ada.sees("€140", within=5)
    assert [problem for problem in ada.problems if not SERVER_AWAY.search(problem)] == []


def test_without_javascript_it_is_the_site_it_was(browser: Browser, server: Server) -> None:
    watching = Bidder(browser, server, "Ada")
    expect(watching.badge).to_contain_text("live")
    plain = Bidder(browser, server, "Bob", java_script_enabled=False)
    expect(plain.page.locator("noscript")).to_be_attached()
    plain.bid(115)
    expect(plain.page.locator(".note.good")).to_have_text("Your bid of €115 is in.")
    watching.sees("€115")
    expect(plain.page.locator("#link")).to_be_hidden()


def test_the_hammer_falls_on_the_page(browser: Browser, server: Server, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "var" / "auction.sqlite3")) as db, db:
        db.execute("UPDATE lots SET ends_at = ? WHERE id = 9", (time.time() + 4,))
    ada = Bidder(browser, server, "Ada")
    expect(ada.page.locator(".board .time")).to_have_class(re.compile("soon"))
    ada.bid(110)
    expect(ada.standing).to_have_text("Sold to you. Congratulations.", timeout=8_000)
    expect(ada.page.locator("form.bid")).to_be_hidden()
    expect(ada.page.locator("#price-label")).to_have_text("Hammer price")
    assert ada.problems == []


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("path", ["/", "/lots/9"])
def test_nothing_sticks_out(browser: Browser, server: Server, width: int, path: str) -> None:
    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.goto(server.url + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#link summary").click()
    box = page.locator("#link fieldset").bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= width
