"""`GET channels/NAME?snapshot=1`, and snapshots in polls, as they look over HTTP, with threads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware
from rtbridge.protocol.codecs import msgpack_codec
from support.inprocess import HELLO, Answer, Client, close, settle, subscribe
from support.needs import missing


class Site:
    """Channels with snapshots that are what was published."""

    def __init__(self, lock_file: Path) -> None:
        self.rows: list[int] = []
        self.fails = False
        self.bridge = Bridge(
            secret="of the tests",
            lock_file=lock_file,
            limits=Limits(snapshot_reuse=0.0),
            authenticate=lambda environ: environ.get("HTTP_AUTHORIZATION"),
        )
        self.news = self.bridge.channel("news", public=True, keep=History(5, ttl=3600))
        self.news.snapshot(self._rows)
        self.slow = self.bridge.channel("slow", public=True, transport="shortpoll", every=7)
        self.slow.snapshot(lambda ctx: "slow")
        self.inbox = self.bridge.channel("inbox/{name}")
        self.inbox.authorize(lambda ctx, name: ctx.user == name)
        self.inbox.snapshot(per_user=True)(lambda ctx, name: f"{name}, asked by {ctx.user}")
        self.plain = self.bridge.channel("plain", public=True)
        self.client = Client(RealtimeMiddleware(lambda environ, start_response: [], self.bridge))

    def _rows(self, ctx: Context) -> list[int]:
        if self.fails:
            raise ZeroDivisionError
        return list(self.rows)

    def add(self) -> None:
        self.rows.append(len(self.rows) + 1)
        self.news.publish(self.rows[-1])

    def get(self, path: str, **headers: str) -> Answer:
        settle(self.bridge)
        return self.client.get(f"/rt/channels/{path}", **headers)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "lock")
    yield site
    close(site.bridge)


def test_the_snapshot_and_where_to_go_on(site: Site) -> None:
    site.add()
    answer = site.get("news?snapshot=1")
    position = str(site.news.position())
    assert answer.json() == {"channel": "news", "position": position, "snapshot": [1], "publications": []}
    site.add()
    (publication,) = site.get(f"news?snapshot=1&after={position}").json()["publications"]
    assert publication["data"] == 2


def test_in_place_of_a_gap(site: Site) -> None:
    site.add()
    found = site.get("news?snapshot=1&after=elsewhere.1").json()
    assert (found["recovered"], found["snapshot"], found["publications"]) == (False, [1], [])
    assert "snapshot" not in site.get("news?after=elsewhere.1").json()


def test_only_where_it_is_asked_for_and_there_is_one(site: Site) -> None:
    site.add()
    assert "snapshot" not in site.get("news").json()
    assert "snapshot" not in site.get("plain?snapshot=1").json()


def test_a_long_poll_gives_it_at_once(site: Site) -> None:
    assert site.get("news?snapshot=1&wait=20").json()["snapshot"] == []


def test_a_public_one_may_be_cached_like_any_answer(site: Site) -> None:
    answer = site.get("slow?snapshot=1")
    assert answer.headers["cache-control"] == "public, max-age=7"
    assert answer.json()["snapshot"] == "slow"
    assert site.get("slow?snapshot=1", If_None_Match=answer.headers["etag"]).status == 304
    # The same position without the snapshot is another answer.
    assert site.get("slow").headers["etag"] != answer.headers["etag"]


def test_one_for_each_user(site: Site) -> None:
    assert site.get("inbox/ann?snapshot=1", Authorization="ann").json()["snapshot"] == "ann, asked by ann"
    assert site.get("inbox/ann?snapshot=1", Authorization="bob").status == 404
    token = site.get("inbox/ann?snapshot=1", Authorization="ann").headers["rtbridge-token"]
    again = site.get("inbox/ann?snapshot=1", Authorization="ann", Rtbridge_Token=token)
    assert again.json()["snapshot"] == "ann, asked by ann"


def test_one_that_fails(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.fails = True
    answer = site.get("news?snapshot=1")
    assert (answer.status, answer.json()["error"]["reason"]) == (500, "failed")
    assert "ZeroDivisionError" in caplog.text
    stream = site.get("news?snapshot=1", Accept="text/event-stream")
    assert stream.status == 500
    assert site.get("news").status == 200


def test_in_messagepack(site: Site) -> None:
    codec = msgpack_codec()
    if codec is None:
        missing("msgpack is not installed")
    site.add()
    body: Any = codec.decode(site.get("news?snapshot=1", Accept="application/msgpack").body)
    assert (body["snapshot"], body["publications"]) == ([1], [])


def test_an_event_stream_begins_with_it(site: Site) -> None:
    site.add()
    position = str(site.news.position())
    settle(site.bridge)
    with site.client.get("/rt/channels/news?snapshot=1", Accept="text/event-stream") as stream:
        assert stream.piece() == f"event: snapshot\nid: {position}\ndata: [1]\n\n".encode()
        site.add()
        after = str(site.news.position())
        assert stream.piece() == f"id: {after}\ndata: 2\n\n".encode()


def test_an_event_stream_that_comes_back_gets_it_only_after_a_gap(site: Site) -> None:
    site.add()
    position = str(site.news.position())
    site.add()
    settle(site.bridge)
    url, accept = "/rt/channels/news?snapshot=1", "text/event-stream"
    with site.client.get(url, Accept=accept, Last_Event_Id=position) as stream:
        assert b"data: 2" in (stream.piece() or b"")
    with site.client.get(url, Accept=accept, Last_Event_Id="elsewhere.1") as stream:
        first = stream.piece() or b""
        assert first.startswith(b"id: elsewhere.1\n\nevent: snapshot\n") and b"data: [1,2]" in first


def test_in_a_poll(site: Site) -> None:
    site.add()
    settle(site.bridge)
    asked = subscribe("news", id=2, snapshot=True)
    _, subscribed, snapshot = site.client.poll(HELLO, asked)["messages"]
    assert (subscribed["snapshot"], snapshot["type"], snapshot["data"]) == (True, "snapshot", [1])
    quiet = subscribe("news", snapshot["position"], snapshot=True)
    assert len(site.client.poll(HELLO, quiet)["messages"]) == 1
    lost = subscribe("news", "elsewhere.1", snapshot=True)
    _, again = site.client.poll(HELLO, lost, wait=20)["messages"]
    assert (again["recovered"], again["data"]) == (False, [1])
    assert json.dumps(again)
