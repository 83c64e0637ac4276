"""The client against a real rtbridge on gevent, in another process: the same behaviour on every transport."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from rtbridge.client import (
    CallError,
    Client,
    ClientError,
    ConnectionStopped,
    FeedError,
    Gap,
    Item,
    connect,
)
from rtbridge.client.ladder import RUNGS
from support.client_stubs import until

SECONDS = 15


def values(feed: object, count: int) -> list[object]:
    return [feed.get(SECONDS).data for _ in range(count)]  # type: ignore[attr-defined]


@pytest.fixture(params=RUNGS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_following_and_calling(site, transport: str, codec: str) -> None:
    with connect(site.mount, transport=transport, codec=codec) as client:
        feed = client.subscribe("news")
        feed.wait()
        assert client.status.transport == transport and client.client_id
        position = site.publish("news", {"n": 1}, "ü", [None, 1.5])
        assert values(feed, 3) == [{"n": 1}, "ü", [None, 1.5]]
        assert feed.position == position
        assert client.call("add", {"a": 1, "b": 2}) == 3
        assert client.call("echo", {"value": {"bytes": b"\x00\xff"}}) == {"bytes": b"\x00\xff"}


def test_errors_of_calls(site, transport: str) -> None:
    with connect(site.mount, transport=transport) as client:
        with pytest.raises(CallError) as refused:
            client.call("refuse")
        assert (refused.value.code, refused.value.message) == (111, "not today")
        assert refused.value.data == {"until": "tomorrow"}
        with pytest.raises(CallError) as invalid:
            client.call("add", {"a": "x", "b": 2})
        assert invalid.value.reason == "invalid" and invalid.value.fields[0][0] == "a"
        with pytest.raises(CallError) as failed:
            client.call("boom")
        assert failed.value.reason == "failed"
        with pytest.raises(CallError) as unknown:
            client.call("no.such.call")
        assert unknown.value.reason == "no_such_call"
        assert client.call("add", {"a": 1, "b": 1}) == 2, "and none of this harmed the connection"


def test_going_on_from_a_position(site, transport: str) -> None:
    with Client(site.mount, transport=transport) as client:
        start = client.subscribe("news").wait()
    site.publish("news", 1, 2, 3)
    with Client(site.mount, transport=transport) as client:
        feed = client.subscribe("news", position=start)
        assert values(feed, 2) == [1, 2]
        position = feed.position
    with Client(site.mount, transport=transport) as client:
        assert values(client.subscribe("news", position=position), 1) == [3]
    with Client(site.mount, transport=transport) as client:
        assert values(client.subscribe("news", recent=2), 2) == [2, 3]


def test_a_gap_is_told(site, transport: str) -> None:
    with Client(site.mount, transport=transport) as client:
        feed = client.subscribe("news", position="anotherlog.5")
        gap = feed.get(SECONDS)
        assert isinstance(gap, Gap) and gap.position == feed.position
        site.publish("news", "after")
        assert values(feed, 1) == ["after"]


def test_a_channel_that_is_not_for_us(site, transport: str) -> None:
    with Client(site.mount, transport=transport, headers={"X-User": "chess"}) as client:
        allowed = client.subscribe("clubs/chess")
        refused = client.subscribe("clubs/go")
        with pytest.raises(FeedError) as error:
            refused.wait(SECONDS)
        assert error.value.reason == "no_such_channel"
        with pytest.raises(FeedError):
            next(refused)
        allowed.wait()
        site.publish("clubs/chess", "e4")
        assert values(allowed, 1) == ["e4"]
        assert client.subscribe("clubs/go") is not refused


def test_channels_come_and_go(site, transport: str) -> None:
    with Client(site.mount, transport=transport) as client:
        news = client.subscribe("news")
        news.wait()
        price = client.subscribe("price")
        price.wait()
        with pytest.raises(ValueError, match="followed already"):
            client.subscribe("price")
        number = time.monotonic_ns()
        site.publish("price", number)
        while price.get(SECONDS).data != number:
            pass
        news.close()
        assert list(news) == []
        again = client.subscribe("news")
        again.wait()
        site.publish("news", "again")
        assert values(again, 1) == ["again"]


def test_callbacks(site, transport: str) -> None:
    seen: list[object] = []
    gaps: list[Gap] = []

    def on_publication(item: Item) -> None:
        # A call within a callback, as callbacks do.
        seen.append(client.call("add", {"a": item.data, "b": 1}))
        if item.data == 1:
            raise RuntimeError("of the application; it ends nothing")

    with Client(site.mount, transport=transport) as client:
        feed = client.subscribe("news", on_publication, on_gap=gaps.append, position="anotherlog.1")
        until(lambda: bool(gaps))
        site.publish("news", 1, 2)
        until(lambda: seen == [2, 3])
        assert feed.position


def test_a_slow_reader_costs_a_box_and_loses_nothing(site, transport: str) -> None:
    count = 200
    with Client(site.mount, transport=transport, inbox=10) as client:
        feed = client.subscribe("news")
        feed.wait()
        site.publish("news", *range(count))
        # Calls go on while nobody reads.
        assert client.call("add", {"a": 1, "b": 2}) == 3
        most = 0
        for number in range(count):
            most = max(most, feed._put - feed._taken)
            assert feed.get(SECONDS).data == number
        assert most < count, "the box was never that full"
        site.publish("news", "and on")
        assert values(feed, 1) == ["and on"]


def test_a_call_made_before_there_is_a_connection(site, transport: str) -> None:
    client = Client(site.mount, transport=transport)
    assert client.call("add", {"a": 2, "b": 2}) == 4
    client.close()


def test_many_threads_call_at_once(site, transport: str) -> None:
    results: dict[int, object] = {}
    with connect(site.mount, transport=transport) as client:

        def work(number: int) -> None:
            for step in range(10):
                results[number * 10 + step] = client.call("add", {"a": number * 10, "b": step})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {number: number for number in range(100)}


def test_switching_in_mid_stream(site) -> None:
    with connect(site.mount) as client:
        feed = client.subscribe("news")
        feed.wait()
        client_id, number = client.client_id, 0
        for transport in (*RUNGS, *reversed(RUNGS)):
            client.use(transport)
            site.publish("news", number)
            client.wait_until_open(transport)
            site.publish("news", number + 1)
            assert values(feed, 2) == [number, number + 1]
            number += 2
        assert client.client_id == client_id


def test_closing_ends_the_session_on_the_server(site, transport: str) -> None:
    client = connect(site.mount, transport=transport)
    client_id = client.client_id
    feed = client.subscribe("news")
    feed.wait()
    client.close()
    client.close()
    until(lambda: str(client_id) in site.get("/ended"))
    assert list(feed) == [] and client.status.state == "closed"
    with pytest.raises(ClientError):
        client.call("add", {"a": 1, "b": 2})
    with pytest.raises(ClientError):
        client.subscribe("price")


def test_another_origin_is_refused_for_good(site, transport: str) -> None:
    with Client(site.mount, transport=transport, headers={"Origin": "https://evil.example"}) as client:
        feed = client.subscribe("news")
        with pytest.raises(ConnectionStopped) as error:
            feed.wait(SECONDS)
        assert error.value.code in (112, 4304)
        with pytest.raises(ConnectionStopped):
            client.subscribe("price")
        assert client.status.state == "stopped" and "forbidden_origin" in str(client.status.error)


def test_cookies_need_no_further_thought(site, transport: str) -> None:
    """A WebSocket with cookies needs an Origin; the client sends its own."""
    with connect(site.mount, transport=transport, headers={"Cookie": "a=b"}) as client:
        assert client.call("add", {"a": 1, "b": 2}) == 3


def test_arguments_that_cannot_be_used(site) -> None:
    with pytest.raises(ValueError, match="no such transport"):
        Client(site.mount, transport="pigeon")
    with pytest.raises(ValueError, match="no such codec"):
        Client(site.mount, codec="xml")
    with pytest.raises(ValueError, match="not the URL of a mount"):
        Client("ftp://example.org/rt/")
    with pytest.raises(ValueError, match="no query"):
        Client(site.mount + "?a=b")
    with pytest.raises(ValueError, match="cannot be sent"):
        Client(site.mount, headers={"X": "a\r\nY: b"})
    with Client(site.mount) as client:
        with pytest.raises(ValueError, match="no such channel"):
            client.subscribe("../secret")
        with pytest.raises(ValueError, match="not a position"):
            client.subscribe("news", position="nowhere")
        with pytest.raises(ValueError, match="a count"):
            client.subscribe("news", recent=-1)
        with pytest.raises(ValueError, match="without position"):
            client.subscribe("news", recent=1, position="E.1")
        with pytest.raises(ValueError, match="no such transport"):
            client.use("pigeon")


def test_nobody_there(free: int) -> None:
    with pytest.raises(TimeoutError, match=r"not connected within 0\.5 s: .*ECONNREFUSED"):
        connect(f"http://127.0.0.1:{free}/rt/", timeout=0.5)
    with Client(f"http://127.0.0.1:{free}/rt/") as client:
        with pytest.raises(CallError) as error:
            client.call("add", {"a": 1, "b": 2}, timeout=0.2)
        assert error.value.code == 200 and "was not sent" in error.value.message
        assert "ECONNREFUSED" in error.value.message


@pytest.fixture
def free() -> int:
    from support.needs import free_port

    return free_port()


GEVENT = """
{patch}
import gevent
from rtbridge.client import connect

def tick():
    for _ in range(5):
        gevent.sleep(0.01)
    print("others run while we wait", flush=True)

def main():
    client = connect("{mount}", transport="{transport}")
    assert client._loop.name == "gevent", client._loop.name
    feed = client.subscribe("news")
    feed.wait()
    gevent.spawn(tick)
    assert [feed.get({seconds}).data for _ in range(2)] == ["a", "b"]
    assert client.call("add", {{"a": 1, "b": 2}}) == 3
    client.close()
    print("done")

{main}
"""


@pytest.mark.parametrize(
    ("patch", "main"),
    [("from gevent import monkey; monkey.patch_all()", "main()"), ("", "gevent.spawn(main).get()")],
    ids=["patched", "in a greenlet"],
)
def test_under_gevent(site, transport: str, patch: str, main: str) -> None:
    code = GEVENT.format(patch=patch, main=main, mount=site.mount, transport=transport, seconds=SECONDS)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "others run while we wait\n"
        site.publish("news", "a", "b")
        assert process.communicate(timeout=SECONDS)[0] == "done\n"
