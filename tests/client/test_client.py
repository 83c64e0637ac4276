"""The bridge between the application's threads and the loop: waiting, closing, ending, and what they are told."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rtbridge.client import CallError, Client, ClientError, ConnectionStopped, FeedClosed, Gap, Item, connect
from rtbridge.errors import DataError
from rtbridge.runtime import ThreadLoop
from support.client_stubs import until
from support.needs import free_port

SECONDS = 10


@pytest.fixture
def nowhere() -> Iterator[Client]:
    """A client of a server that is not there."""
    with Client(f"http://127.0.0.1:{free_port()}/rt/") as client:
        yield client


class Background:
    """Something that blocks, in a thread; `result()` is what it returned or raised."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._result: object = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except Exception as error:
            self._result = error

    def result(self) -> Any:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "it still waits"
        return self._result


def test_closing_wakes_whoever_waits(nowhere: Client) -> None:
    feed = nowhere.subscribe("news")
    seen: list[object] = []
    called_back = nowhere.subscribe("more", seen.append)
    waiting = [
        Background(lambda: nowhere.call("add")),
        Background(lambda: list(feed)),
        Background(lambda: nowhere.wait_until_open(timeout=SECONDS)),
    ]
    until(lambda: len(nowhere._answers) + len(nowhere._waiters) == 2)
    nowhere.close()
    call, items, opened = (background.result() for background in waiting)
    assert isinstance(call, CallError) and call.code == 200 and "was not sent" in call.message
    assert items == [] and isinstance(opened, FeedClosed)
    for act in (feed.wait, feed.get, called_back.get):
        with pytest.raises(FeedClosed):
            act()
    for act in (lambda: nowhere.call("add"), lambda: nowhere.subscribe("x"), nowhere.wait_until_open):
        with pytest.raises(ClientError, match="the client was closed"):
            act()
    assert not seen


def test_a_server_that_wants_us_gone_is_told_to_whoever_waits(site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "rtbridge")
    loop = ThreadLoop()
    with loop.turn():  # so that the server's no comes after we subscribed
        origin = {"Origin": "https://evil.example"}
        client = Client(site.mount, transport="longpoll", headers=origin, loop=loop)
        client.subscribe("news", print)
    with pytest.raises((ConnectionStopped, CallError)) as told:
        client.call("add", {"a": 1, "b": 2})
    assert "forbidden_origin" in str(told.value)
    until(lambda: "The feed of news ended: the server ended it: 112 forbidden_origin" in caplog.text)
    with pytest.raises(ConnectionStopped):
        connect(site.mount, transport="longpoll", headers={"Origin": "https://evil.example"})
    # What was on its way to the loop when it came to its end:
    box = client._loop.mailbox()
    with loop.turn():
        client._stopped, stopped = None, client._stopped
        feed = client.subscribe("late")
        client._stopped = stopped
    with pytest.raises(ConnectionStopped):
        feed.wait(SECONDS)
    client._loop.call_soon(client._await, None, box)
    assert isinstance(box.get(SECONDS), ConnectionStopped)
    client.close()


def test_callbacks_that_raise_end_nothing(site, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Item | Gap] = []
    done = threading.Event()

    def take(item: Item | Gap) -> None:
        seen.append(item)
        if isinstance(item, Item) and item.data == "last":
            done.set()
        raise RuntimeError("of the application")

    with connect(site.mount) as client:
        # Only gaps are of interest here; publications pass by.
        only_gaps = client.subscribe("price", on_gap=take)
        feed = client.subscribe("news", take, on_gap=take, position="other.1")
        feed.wait(), only_gaps.wait()
        site.publish("price", 1)
        site.publish("news", "first", "last")
        assert done.wait(SECONDS)
    assert [type(item) for item in seen] == [Gap, Item, Item]
    until(lambda: caplog.text.count("A callback of the feed of news failed") == 3)


def test_params_that_cannot_travel_are_refused_where_they_are_given(nowhere: Client) -> None:
    with pytest.raises(DataError, match=r"params\.a"):
        nowhere.call("add", {"a": object()})
    with pytest.raises(DataError):
        nowhere.call("add", {"a": float("nan")})


def test_a_call_that_names_itself_is_the_cause_of_what_it_publishes(site) -> None:
    with connect(site.mount) as client:
        assert client.call("add", {"a": 1, "b": 2}, call_id="my-own-call-id") == 3
        assert client.call("add", {"a": 5, "b": 5}, call_id="my-own-call-id") == 3, "it is the same call"


def test_much_at_once_leaves_piece_by_piece(site) -> None:
    """More than a socket's buffers hold; the site's limits refuse it when they have seen it."""
    with connect(site.mount, transport="longpoll") as client:
        with pytest.raises(CallError) as error:
            client.call("echo", {"value": "x" * 60_000_000})
        assert error.value.code in (108, 200, 300)
        assert client.call("add", {"a": 1, "b": 2}) == 3


def test_every_address_of_a_name_is_tried(site, monkeypatch: pytest.MonkeyPatch) -> None:
    good = socket.getaddrinfo("127.0.0.1", site.server.port, type=socket.SOCK_STREAM)
    refused = socket.getaddrinfo("127.0.0.1", free_port(), type=socket.SOCK_STREAM)
    impossible = [(*good[0][:4], ("not an address", -1))]
    monkeypatch.setattr(
        "rtbridge.client.pipe.socket.getaddrinfo", lambda *a, **k: [*refused, *refused, *good]
    )
    with connect(site.mount) as client:
        assert client.call("add", {"a": 1, "b": 2}) == 3
    monkeypatch.setattr("rtbridge.client.pipe.socket.getaddrinfo", lambda *a, **k: [*impossible, *good])
    with connect(site.mount) as client:
        assert client.call("add", {"a": 1, "b": 2}) == 3
