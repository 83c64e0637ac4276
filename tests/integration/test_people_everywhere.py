"""What servers say to people, on every transport: in one process with `memory://`, and in several with Redis, where any
worker answers any request."""

from __future__ import annotations

import json
import os
import queue
import signal
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rtbridge.client import Client, FeedError
from rtbridge.client.ladder import RUNGS
from support.redis_servers import PlainRedis
from support.servers import Server, command, started
from support.wire import Socket, hello

HERE = Path(__file__).parent
SECONDS = 15.0


@pytest.fixture(scope="module", params=["memory", "redis", "redis, threads"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("site")
    if request.param == "memory":
        with serving(folder, "1") as server:
            yield server
        return
    with PlainRedis() as redis:
        start = serving if request.param == "redis" else on_threads
        with start(folder, "3", RTBRIDGE_URL=redis.url) as server:
            yield server


def serving(folder: Path, workers: str, **env: str) -> Any:
    arguments = command("-m", "rtbridge", "serve", "people_site:application", "--bind", "127.0.0.1:{port}")
    return started("people", [*arguments, "--workers", workers], folder, cwd=HERE, env=env)


def on_threads(folder: Path, workers: str, **env: str) -> Any:
    arguments = [
        "-k",
        "gthread",
        "--threads",
        "24",
        "--graceful-timeout",
        "2",
        "--bind",
        "127.0.0.1:{port}",
        "people_site:application",
    ]
    return started(
        "threads", [*command("-m", "gunicorn", *arguments), "-w", workers], folder, cwd=HERE, env=env
    )


def ask(server: Server, **query: str) -> Any:
    with urllib.request.urlopen(f"{server.url}/?{urllib.parse.urlencode(query)}", timeout=SECONDS) as answer:
        return json.load(answer)


def come(server: Server, user: str, transport: str) -> Client:
    client = Client(f"{server.url}/rt/", transport=transport, headers={"X-User": user})
    client.wait_until_open(timeout=SECONDS)
    return client


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> float:
    """Wait for it; how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, "in vain"
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.parametrize("transport", RUNGS)
def test_letters_in_order_and_only_to_whom_they_are_for(site: Server, transport: str) -> None:
    user = f"ada-{transport}"
    heard: queue.Queue[object] = queue.Queue()
    with come(site, user, transport) as ada, come(site, "bob", transport) as bob:
        stranger: list[object] = []
        ada.listen(lambda message: heard.put(message.data))
        bob.listen(lambda message: stranger.append(message.data))
        ada._feeds["~me"].wait(SECONDS)
        for number in range(10):
            ask(site, do="tell", user=user, text=str(number))
        assert [heard.get(timeout=SECONDS) for _ in range(10)] == [str(number) for number in range(10)]
        assert stranger == []


@pytest.mark.parametrize("transport", RUNGS)
def test_a_question_and_its_answer(site: Server, transport: str) -> None:
    with come(site, "ada", transport) as ada:
        ada.handle("add", lambda a, b: a + b)
        ada._feeds["~me"].wait(SECONDS)
        client_id = str(ada.client_id)
        assert ask(site, do="ask", client=client_id, name="add", params='{"a": 2, "b": 3}') == 5
        assert ask(site, do="ask", client=client_id, name="unknown", params="{}") == "AskFailed"
        assert ask(site, do="ask", client=client_id, name="add", params='{"a": 2}') == "AskFailed"
    assert ask(site, do="ask", client=client_id, name="add", params='{"a": 2, "b": 3}') == "ClientGone"


@pytest.mark.parametrize("transport", RUNGS)
def test_being_put_into_a_room_and_out_of_it(site: Server, transport: str) -> None:
    user, club = f"eve-{transport}", f"club-{transport}"
    invited: queue.Queue[tuple[str, str | None]] = queue.Queue()
    dismissed: queue.Queue[str] = queue.Queue()
    with come(site, user, transport) as eve:
        eve.listen(on_invitation=lambda *about: invited.put(about), on_dismissal=dismissed.put)
        eve._feeds["~me"].wait(SECONDS)
        with pytest.raises(FeedError):
            eve.subscribe(f"clubs/{club}").wait(SECONDS)
        ask(site, do="put", user=user, club=club)
        channel, position = invited.get(timeout=SECONDS)
        ask(site, do="publish", channel=channel, text="welcome")
        feed = eve.subscribe(channel, position=position)
        assert feed.get(SECONDS).data == "welcome"
        ask(site, do="out", user=user, club=club)
        assert dismissed.get(timeout=SECONDS) == channel
        with pytest.raises(FeedError):
            eve.subscribe(channel).wait(SECONDS)


@pytest.mark.parametrize("transport", RUNGS)
def test_revoking_ends_access_within_a_second(site: Server, transport: str) -> None:
    user = f"mallory-{transport}"
    with come(site, user, transport) as mallory, come(site, "bob", transport) as bob:
        feeds = [client.subscribe("rooms/red") for client in (mallory, bob)]
        for feed in feeds:
            feed.wait(SECONDS)
        time.sleep(0.3)
        ask(site, do="revoke", user=user, room="red")
        if transport != "shortpoll":  # which subscribes again, and authorize lets it
            assert until(lambda: not mallory._core.channels, 2.0) < 1.0
        ask(site, do="disconnect", user=user)
        assert until(lambda: mallory.status.state == "stopped", 2.0) < 1.0
        assert bob._core.channels and bob.status.state == "open"


@pytest.mark.parametrize("transport", RUNGS)
def test_presence(site: Server, transport: str) -> None:
    room = f"room-{transport}"
    with (
        come(site, "watcher", transport) as watcher,
        watcher.presence(f"rooms/{room}") as seen,
        come(site, "ada", transport) as ada,
    ):
        assert seen.get(SECONDS).people == ()
        feed = ada.subscribe(f"rooms/{room}", presence={"typing": False})
        feed.wait(SECONDS)
        change = seen.get(SECONDS)
        assert [(each.user, dict(each.info)) for each in change.joined] == [("ada", {"name": "ADA"})]
        ada.present(f"rooms/{room}", {"typing": True})
        while not change.people[0].data.get("typing"):
            change = seen.get(SECONDS)
        assert ask(site, do="who", room=room) == [["ada", {"name": "ADA"}, {"typing": True}]]
        feed.close()
        change = next(change for change in seen if change.left)
        assert change.people == () and ask(site, do="who", room=room) == []


def test_presence_is_right_again_after_a_worker_was_killed(tmp_path: Path) -> None:
    with (
        PlainRedis() as redis,
        serving(tmp_path, "2", RTBRIDGE_URL=redis.url) as server,
        come(server, "watcher", "websocket") as watcher,
        watcher.presence("rooms/blue") as seen,
    ):
        clients = [come(server, f"user-{number}", "websocket") for number in range(8)]
        for client in clients:
            client.subscribe("rooms/blue").wait(SECONDS)
        people = seen.get(SECONDS).people
        while len(people) < 8:
            people = seen.get(SECONDS).people
        pids = workers_of(server)
        began = time.monotonic()
        os.kill(pids[0], signal.SIGKILL)
        # Clients of the dead worker come back elsewhere; half of them leave meanwhile.
        for client in clients[:4]:
            client.close()
        while {person.user for person in people} != {f"user-{number}" for number in range(4, 8)}:
            people = seen.get(SECONDS).people
        took = time.monotonic() - began
        assert took < 12.0, took
        for client in clients[4:]:
            client.close()


def workers_of(server: Server) -> list[int]:
    """The worker processes, whichever answer."""
    found: set[int] = set()
    until(lambda: found.add(ask(server)) or len(found) == 2)
    return sorted(found)


def test_a_newer_socket_of_a_page_closes_the_older_one_wherever_that_is(site: Server) -> None:
    greeting = hello()
    older = Socket(site.port, greeting, headers={"X-User": "ada"})
    greeting["token"] = older.until("hello")["token"]
    for _ in range(6):  # where there are three workers, most of these meet another one than the older did
        newer = Socket(site.port, greeting, headers={"X-User": "ada"})
        assert newer.until("hello")["resumed"] is True
        assert older.closed() == 4005
        older = newer
    older.close()
