"""People and state in a real Chromium: two users, each feature on each transport, on two workers that share a Redis.

Nothing is sticky: a poll is answered by whichever worker takes it. One test ends a worker with SIGKILL in the middle.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from support.browser import SERVER_AWAY, chromium, problems_of
from support.redis_servers import PlainRedis
from support.servers import Server, started

pytestmark = [pytest.mark.slow, pytest.mark.browser]

HERE = Path(__file__).parent / "features"
TRANSPORTS = ["websocket", "eventstream", "longpoll", "shortpoll"]
SOON = 12.0
GONE = 12.0
"""Seconds after which a killed worker's people are gone: its lease (6), a look at it (2), and the time to tell."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextlib.contextmanager
def serving(folder: Path, **limits: float) -> Iterator[Server]:
    arguments = [sys.executable, "-m", "rtbridge", "serve", "features_site:application"]
    arguments += ["--workers", "2", "--bind", "127.0.0.1:{port}"]
    with PlainRedis() as redis:
        env = {"RTBRIDGE_URL": redis.url, "SITE_LIMITS": json.dumps(limits)}
        with started("features", arguments, folder, cwd=HERE, env=env) as server:
            yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("features")) as server:
        yield server


@pytest.fixture(scope="module")
def strict_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("strict"), session_calls=1, rate_burst=2) as server:
        yield server


class User:
    """Somebody with a window."""

    def __init__(self, browser: Browser, site: Server, name: str, transport: str) -> None:
        self.name, self.transport = name, transport
        self.context = browser.new_context()
        self.context.add_cookies([{"name": "user", "value": name, "url": site.url}])
        self.url = f"{site.url}/?transport={transport}"
        self.page: Page = self.context.new_page()
        self.problems = problems_of(self.page)
        self.open()

    def open(self) -> None:
        self.page.goto(self.url)
        self.until("rt.state === 'online' && told.comments.some(({ event }) => event === 'snapshot')")

    def until(self, condition: str, seconds: float = SOON) -> None:
        self.page.wait_for_function(f"() => window.rt && ({condition})", timeout=seconds * 1000)

    def do(self, script: str) -> Any:
        return self.page.evaluate(f"async () => {{ {script} }}")

    def call(self, name: str, **params: Any) -> Any:
        return self.page.evaluate("([name, params]) => rt.call(name, params)", [name, params])

    def told(self, channel: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.page.evaluate("name => told[name] ?? []", channel)
        return events

    @property
    def id(self) -> str:
        client_id: str = self.page.evaluate("rt.clientId")
        return client_id


@pytest.fixture(params=TRANSPORTS)
def pair(browser: Browser, site: Server, request: pytest.FixtureRequest) -> Iterator[tuple[User, User]]:
    """Ada on the transport in question, Bob on a WebSocket."""
    ada, bob = User(browser, site, "ada", request.param), User(browser, site, "bob", "websocket")
    yield ada, bob
    for user in (ada, bob):
        user.context.close()
        assert [problem for problem in user.problems if not SERVER_AWAY.search(problem)] == []


def test_optimistic_calls(pair: tuple[User, User]) -> None:
    ada, bob = pair
    text = f"hello by {ada.transport}"
    at_once = ada.do(f"window.done = comment('{text}'); return told.comments.at(-1)")
    assert (at_once["event"], at_once["data"]) == ("provisional", {"text": text})
    for user in pair:
        user.until(f"texts().includes('{text}')")
    (mine,) = [each for each in ada.told("comments") if each.get("replaces")]
    assert (mine["cause"], mine["data"]["by"]) == (at_once["cause"], "ada")
    assert ada.do("return await done") == "ok"
    assert ada.do("return texts()").count(text) == 1

    assert ada.do("return await comment('advertisement')") == "no advertisements"
    back = ada.told("comments")[-1]
    assert (back["event"], back["why"]) == ("rollback", "no advertisements")
    assert "advertisement" not in str(bob.told("comments"))


def test_who_comes_later_begins_with_the_snapshot(pair: tuple[User, User]) -> None:
    ada, bob = pair
    for number in range(3):
        bob.call("comment", text=f"{ada.transport} {number}")
    ada.open()
    bob.call("comment", text=f"{ada.transport} last")
    ada.until(f"texts().includes('{ada.transport} last')")
    (snapshot, *after) = [
        each for each in ada.told("comments") if each["event"] in ("snapshot", "publication")
    ]
    # It may be a second old: what it does not hold yet follows, and what follows may be in it.
    state = snapshot["data"]
    came = [each["data"]["text"] for each in after]
    state += [text for text in came if text not in state]
    assert state[-4:] == [*(f"{ada.transport} {number}" for number in range(3)), f"{ada.transport} last"]
    assert len(came) == len(set(came))


def test_only_the_latest_counts_and_volatile_reaches_who_waits(pair: tuple[User, User]) -> None:
    ada, bob = pair
    bob.do("for (let amount = 1; amount <= 50; amount++) await rt.call('bid', { amount })")
    ada.until("told.price.at(-1)?.data === 50")
    assert not any(each["event"] == "gap" for each in ada.told("price"))
    if ada.transport != "shortpoll":  # which waits for nothing
        ada.until("feeds.typing.position")
        bob.call("type")
        ada.until("told.typing.some(({ data }) => data === 'bob')")


def test_messages_and_questions(pair: tuple[User, User]) -> None:
    ada, bob = pair
    bob.call("write", user="ada", text=f"by {ada.transport}")
    ada.until(f"letters.some(({{ text, by }}) => text === 'by {ada.transport}' && by === 'bob')")
    assert bob.do("return letters") == []
    assert bob.call("ask", client_id=ada.id, question="Red") == "Red? Yes."


def test_a_group_is_for_those_let_in_and_ends_for_who_is_put_out(pair: tuple[User, User]) -> None:
    ada, bob = pair
    group = f"groups/{ada.transport}"
    for user in pair:
        user.call("enter", group=ada.transport)
        user.until(f"feeds['{group}']?.position")
    bob.call("say", group=ada.transport, text="one")
    ada.until(f"told['{group}'].some(({{ data }}) => data === 'one')")
    bob.call("expel", client_id=ada.id, group=ada.transport)
    ada.until(f"told['{group}'].some(({{ event }}) => event === 'end')")
    bob.call("say", group=ada.transport, text="secret")
    bob.until(f"told['{group}'].some(({{ data }}) => data === 'secret')")
    # Nor can she come back by herself, from where she was.
    ada.do(f"follow('{group}', {{ position: feeds['{group}'].position }})")
    ada.until(f"told['{group}'].filter(({{ event }}) => event === 'end').length === 2")
    assert "secret" not in str(ada.told(group))


def test_a_call_made_offline_is_made_by_the_page_after_the_reload_once(pair: tuple[User, User]) -> None:
    ada, bob = pair
    text, was = f"from the tunnel by {ada.transport}", ada.id
    cut_off = ada.transport != "websocket"  # whose frames Chromium lets through
    ada.context.set_offline(True)
    ada.do(f"void comment('{text}', {{ offline: 600 }})")
    ada.until("told.comments.some(({ event }) => event === 'provisional')")
    if cut_off:
        ada.until("lying().then(many => many === 1)")
        assert text not in bob.do("return texts()")
    ada.page.goto("about:blank")
    ada.context.set_offline(False)
    ada.open()
    bob.until(f"texts().includes('{text}')")
    ada.until("lying().then(many => many === 0)")
    if cut_off:
        ada.until(f"texts().includes('{text}') && kept.length === 1 && typeof kept[0].data === 'number'")
        assert ada.id == was
    bob.call("comment", text=f"after {text}")
    bob.until(f"texts().includes('after {text}')")
    assert bob.do("return texts()").count(text) == 1


def test_presence(pair: tuple[User, User]) -> None:
    ada, bob = pair
    bob.until(f"present.people?.join() === 'ada {ada.transport} 1,bob websocket 1'")
    ada.until("present.people?.length === 2")
    ada.do("feeds.comments.present({ transport: 'by hand' })")
    bob.until("present.people?.join() === 'ada by hand 1,bob websocket 1'")
    second = ada.context.new_page()
    second.goto(ada.url)
    bob.until(f"present.people?.join() === 'ada {ada.transport} 2,bob websocket 1'")
    second.close()
    bob.until("present.people?.join() === 'ada by hand 1,bob websocket 1'")
    ada.page.close()
    bob.until("present.people?.join() === 'bob websocket 1'")
    assert bob.do("return present.log")[-1] == "ada went"


def test_workers_are_killed_in_the_middle_of_it(pair: tuple[User, User]) -> None:
    ada, bob = pair
    group = f"groups/{ada.transport}"
    for user in pair:
        user.call("enter", group=ada.transport)
        user.until(f"feeds['{group}']?.position")
    texts = [f"{ada.transport} {number}" for number in range(12)]
    for at, text in enumerate(texts):
        if at in (4, 8):
            os.kill(pair[at % 8 // 4].call("pid"), signal.SIGKILL)
        pair[at % 2].do(f"void comment('{text}')")
    killed = time.monotonic()
    for user in pair:
        user.until("open() === 0", 45)  # each has an end: its publication, or the reason
    # What ran is in both, once; what has no certain outcome may be in neither.
    failed = [each["data"]["text"] for user in pair for each in user.told("comments") if each.get("why")]
    sure = [text for text in texts if text not in failed]
    assert len(sure) >= 8
    for user in pair:
        user.until(f"{json.dumps(sure)}.every(text => texts().includes(text))")
    seen = [[text for text in user.do("return texts()") if text in texts] for user in pair]
    assert seen[0] == seen[1] and len(seen[0]) == len(set(seen[0]))
    assert not any(each["event"] == "gap" for user in pair for each in user.told("comments"))
    both = f"present.people?.join() === 'ada {ada.transport} 1,bob websocket 1'"
    for user in pair:
        user.until(both, max(1.0, killed + GONE - time.monotonic()))
    bob.call("say", group=ada.transport, text="still in it")
    ada.until(f"told['{group}'].some(({{ data }}) => data === 'still in it')", 20)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_calls_too_often_is_told_when_to_come_again(
    browser: Browser, strict_site: Server, transport: str
) -> None:
    ada = User(browser, strict_site, "ada", transport)
    try:
        over = "catch ({ code, retryAfter }) { if (code === 201) return retryAfter; throw code }"
        pause = ada.do(f"for (let n = 0; n < 50; n++) try {{ await rt.call('pid') }} {over}")
        assert 0 < pause <= 5
        # A comment that is kept finds its own time; and whoever follows has noticed nothing.
        ada.do("void comment('patience', { offline: 60 })")
        ada.until("texts().includes('patience') && open() === 0", 20)
        assert ada.do("return rt.transport") == transport
        assert not any(each["event"] in ("gap", "end", "rollback") for each in ada.told("comments"))
    finally:
        ada.context.close()
