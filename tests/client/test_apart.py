"""Channels with a limit: asked for by GET, each by itself."""

from __future__ import annotations

from typing import Any

from rtbridge.client import events as e
from rtbridge.client.apart import AFTER_FAILURE, HURRY, Apart
from rtbridge.client.core import Core
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.messages import FollowLimit
from rtbridge.protocol.positions import Position
from support.client_stubs import StubHttp


class Bench:
    """One channel with a limit, followed from E.5."""

    def __init__(self, transport: str = "shortpoll", every: float = 2.0, public: bool = False) -> None:
        self.http: Any = StubHttp()
        self.loop = self.http.loop
        self.core = Core("instance-1", "test")
        self.core.token = "t-1"
        self.events: list[e.Event] = []
        self.apart = Apart(self.core, self.http, JSON, 10.0, self.events.append)
        self.core.follow("slow", Position("E", 5), None)
        self.core.channels["slow"].limit = FollowLimit(transport, every, public)
        self.apart.sync()

    def answer(
        self, offset: int, *offsets: int, headers: dict[str, str] | None = None, **fields: Any
    ) -> None:
        publications = [{"offset": number, "data": number} for number in offsets]
        body = {"channel": "slow", "position": f"E.{offset}", "publications": publications, **fields}
        self.http.last.reply(body, **(headers or {}))

    def count(self) -> int:
        return len(self.http.exchanges)


def test_it_asks_from_the_cursor_as_often_as_the_limit_says() -> None:
    bench = Bench()
    first = bench.http.last
    assert (first.method, first.target, first.timeout) == ("GET", "channels/slow?after=E.5", 10)
    assert first.headers == {"Accept": "application/json", "Rtbridge-Token": "t-1"}
    bench.answer(7, 6, 7, headers={"etag": '"E.7"', "rtbridge-token": "t-2"})
    assert [type(event) for event in bench.events] == [e.Delivered, e.Confirmed]
    bench.loop.advance(1.9)
    assert bench.count() == 1
    bench.loop.advance(0.1)
    second = bench.http.last
    assert second.target == "channels/slow?after=E.7"
    assert second.headers["Rtbridge-Token"] == "t-2" and second.headers["If-None-Match"] == '"E.7"'
    second.reply(b"", 304)
    bench.loop.advance(2)
    assert bench.count() == 3
    bench.answer(8, 8, more=True)
    bench.loop.run()
    assert bench.count() == 4, "there is more at once"


def test_public_channels_are_asked_for_without_our_token() -> None:
    assert "Rtbridge-Token" not in Bench(public=True).http.last.headers


def test_without_a_position_it_asks_for_nothing_but_one() -> None:
    bench = Bench()
    bench.core.unfollow("slow")
    bench.core.follow("slow", None, None)
    bench.core.channels["slow"].limit = FollowLimit("shortpoll", 2.0, False)
    bench.apart.sync()
    assert bench.http.exchanges[0].cancelled and bench.http.last.target == "channels/slow?recent=0"
    bench.answer(9)
    assert bench.events == [e.Confirmed("slow", Position("E", 9))]


def test_a_gap_is_told() -> None:
    bench = Bench()
    bench.answer(99, recovered=False)
    assert bench.events[0] == e.GapFound("slow", Position("E", 99))


def test_long_polls_wait_and_are_repeated_at_once() -> None:
    bench = Bench("longpoll")
    assert bench.http.last.target == "channels/slow?after=E.5&wait=25" and bench.http.last.timeout == 35
    bench.answer(6, 6)
    bench.loop.run()
    assert bench.count() == 2
    bench.answer(6)
    bench.loop.advance(HURRY - 0.1)
    assert bench.count() == 2, "it was not parked"
    bench.loop.advance(0.1)
    assert bench.count() == 3


def test_failures_cost_time_and_nothing_else() -> None:
    for fail in (
        lambda x: x.lose(),
        lambda x: x.reply(b"<html>", 502),
        lambda x: x.reply(b"<html>"),
        lambda x: x.refuse(200, 503),
    ):
        bench = Bench()
        fail(bench.http.last)
        bench.loop.advance(AFTER_FAILURE - 0.1)
        assert bench.count() == 1 and not bench.events
        bench.loop.advance(0.1)
        assert bench.count() == 2
    bench = Bench()
    bench.http.last.refuse(201, 429, retry_after=9)
    bench.loop.advance(8.9)
    assert bench.count() == 1


def test_a_refusal_ends_the_feed() -> None:
    bench = Bench()
    bench.http.last.refuse(104, 404)
    assert bench.events == [e.FeedOver("slow", 104, "no")]
    bench.loop.advance(100)
    assert bench.count() == 1


def test_a_reader_that_is_behind_is_left_alone_until_it_has_room() -> None:
    bench = Bench()
    bench.core.hold("slow")
    bench.apart.sync()
    assert bench.http.last.cancelled
    bench.core.release("slow")
    bench.apart.sync()
    assert bench.count() == 2 and bench.http.last.target == "channels/slow?after=E.5"
    bench.core.hold("slow")
    bench.answer(6, 6)
    bench.loop.advance(100)
    assert bench.count() == 2 and not bench.events
    bench.core.release("slow")
    bench.apart.sync()
    assert bench.count() == 3


def test_another_limit_is_another_follower_and_none_is_none() -> None:
    bench = Bench()
    bench.apart.sync()
    assert bench.count() == 1
    bench.core.channels["slow"].limit = FollowLimit("longpoll", 0.0, False)
    bench.apart.sync()
    assert bench.http.exchanges[0].cancelled and "wait" in bench.http.last.target
    bench.core.channels["slow"].limit = None
    bench.apart.sync()
    assert bench.http.last.cancelled
    bench.core.channels["slow"].limit = FollowLimit("longpoll", 0.0, False)
    bench.apart.sync()
    bench.apart.close()
    assert bench.http.last.cancelled
