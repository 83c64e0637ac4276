"""Polls, streams and the lane beside them: what is asked, when it is asked again, and what ends a link."""

from __future__ import annotations

from typing import Any

import pytest

from rtbridge.client import events as e
from rtbridge.client.core import Core, PendingCall
from rtbridge.client.errors import CallError
from rtbridge.client.eventstream import EventStreamLink
from rtbridge.client.lane import BATCH
from rtbridge.client.link import Link
from rtbridge.client.polling import HURRY, PollLink
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.positions import Position
from support.client_stubs import StubHttp, StubOwner


class Bench:
    """A link over stub HTTP, started."""

    def __init__(self, transport: str = "longpoll", *channels: str) -> None:
        self.http: Any = StubHttp()
        self.loop = self.http.loop
        self.owner = StubOwner()
        self.core = Core("instance-1", "test")
        for channel in channels:
            self.core.follow(channel, None, None)
        self.link: Link
        if transport == "eventstream":
            self.link = EventStreamLink(self.owner, self.core, JSON, 10.0, self.http)
        else:
            self.link = PollLink(transport, self.owner, self.core, JSON, 10.0, self.http)
        self.link.start()

    def subscribed(self, channel: str, offset: int, **fields: Any) -> dict[str, Any]:
        """The reply to the newest subscribe for a channel."""
        command_id = self.link.conversation.standing[channel].command_id
        return {
            "type": "subscribed", "id": command_id, "channel": channel, "keep": "history",
            "position": f"E.{offset}", "publications": [], **fields,
        }  # fmt: skip

    def call(self, call_id: str = "call-0001") -> None:
        self.core.calls[call_id] = PendingCall(call_id, "add", {"a": 1}, self.loop.now() + 100)
        self.link.stir()

    def count(self) -> int:
        return len(self.http.exchanges)


def publications(channel: str, offset: int, **fields: Any) -> dict[str, Any]:
    return {
        "type": "publications", "channel": channel, "position": f"E.{offset}",
        "publications": [{"offset": offset, "data": offset}], **fields,
    }  # fmt: skip


# -- polls


def test_the_first_poll_is_short_and_the_next_ones_wait() -> None:
    bench = Bench("longpoll", "news")
    first = bench.http.last
    assert first.body["wait"] == 0 and first.timeout == 10
    assert (first.method, first.target) == ("POST", "poll")
    assert first.headers == {"Content-Type": "application/json", "Accept": "application/json"}
    first.answer(bench.subscribed("news", 5))
    assert bench.owner.log == ["opened"]
    second = bench.http.last
    assert second is not first and second.body["wait"] == 25 and second.timeout == 35
    assert second.commands == [{"type": "subscribe", "channel": "news", "position": "E.5"}]
    second.answer(publications("news", 6))
    assert bench.http.last.commands[0]["position"] == "E.6"
    assert bench.owner.events[-1] == e.Delivered("news", "E", bench.owner.events[-1].publications)  # type: ignore[union-attr]


def test_short_polls_keep_the_advised_pause() -> None:
    bench = Bench("shortpoll", "news")
    bench.http.last.answer(bench.subscribed("news", 5))
    bench.loop.advance(4.9)
    assert bench.count() == 1
    bench.loop.advance(0.1)
    assert bench.count() == 2 and bench.http.last.body["wait"] == 0
    bench.http.last.answer(interval=2.0)
    bench.loop.advance(1.9)
    assert bench.count() == 2
    bench.loop.advance(0.1)
    assert bench.count() == 3


@pytest.mark.parametrize("transport", ["shortpoll", "longpoll"])
def test_an_answer_that_was_cut_is_followed_up_at_once(transport: str) -> None:
    bench = Bench(transport, "news")
    bench.http.last.answer(bench.subscribed("news", 5, more=True))
    assert bench.count() == 2
    bench.http.last.answer(publications("news", 6, more=True))
    assert bench.count() == 3


def test_a_long_poll_keeps_the_pause_of_a_server_that_cannot_park_it() -> None:
    bench = Bench("longpoll", "news")
    bench.http.last.answer(bench.subscribed("news", 5), interval=3.0)
    bench.loop.advance(2.9)
    assert bench.count() == 1
    bench.loop.advance(0.1)
    assert bench.count() == 2


def test_a_long_poll_that_comes_back_at_once_with_nothing_is_not_repeated_at_once() -> None:
    bench = Bench("longpoll", "news")
    bench.http.last.answer(bench.subscribed("news", 5))
    bench.http.last.answer()
    bench.loop.advance(HURRY - 0.1)
    assert bench.count() == 2
    bench.loop.advance(0.1)
    assert bench.count() == 3
    bench.loop.advance(24)
    bench.http.last.answer()
    assert bench.count() == 4, "that one was parked"


def test_a_new_channel_is_asked_for_at_once() -> None:
    bench = Bench("longpoll", "news")
    bench.core.follow("early", None, None)
    bench.link.stir()
    assert bench.count() == 1, "not before we know that this transport works"
    bench.http.last.answer(bench.subscribed("news", 5))
    parked = bench.http.last
    assert [command["channel"] for command in parked.commands] == ["news", "early"]
    bench.core.follow("more", None, None)
    bench.link.stir()
    assert parked.cancelled and [c["channel"] for c in bench.http.last.commands] == ["news", "early", "more"]
    bench.core.unfollow("news")
    bench.link.stir()
    assert not bench.http.last.cancelled


def test_a_short_poll_does_not_let_a_new_channel_wait_for_the_next_one() -> None:
    bench = Bench("shortpoll", "news")
    bench.core.follow("early", None, None)
    bench.http.last.answer(bench.subscribed("news", 5))
    assert bench.count() == 2
    bench.http.last.answer(bench.subscribed("early", 5))
    bench.core.unfollow("early")
    bench.core.follow("early", Position("E", 1), None)
    bench.link.stir()
    assert bench.http.last.commands[1]["position"] == "E.1"


@pytest.mark.parametrize("transport", ["longpoll", "eventstream"])
def test_what_ends_a_link(transport: str) -> None:
    for act, step in (
        (lambda x: x.lose(), "resume"),
        (lambda x: x.refuse(200, 503), "resume"),
        (lambda x: x.refuse(204, 501), "lower"),
        (lambda x: x.refuse(112, 403), "stop"),
        (lambda x: x.reply(b"<html>", 502), "resume"),
        (lambda x: x.reply(b"", 302, location="/login"), "resume"),
    ):
        bench = Bench(transport, "news")
        act(bench.http.last)
        assert bench.owner.ending is not None and bench.owner.ending.step == step
        assert bench.owner.log == ["ended"] and bench.link.over
        bench.loop.advance(100)
        assert bench.count() == 1, "it never tries again by itself"


def test_what_the_server_says_about_coming_back_is_kept() -> None:
    bench = Bench()
    bench.http.last.reply({"error": {"code": 201, "message": "too many"}}, 429, **{"retry-after": "7"})
    assert bench.owner.ending == e.Ending("resume", "201 too_many: too many", 201, 7.0)
    bench = Bench()
    bench.http.last.reply(b"", 302, location="https://example.org/rt/")
    assert bench.owner.ending is not None and "https://example.org/rt/" in bench.owner.ending.message
    bench = Bench()
    bench.http.last.answer({"type": "disconnect", "code": 4000, "message": "", "retry_after": 2})
    assert bench.owner.ending is not None and bench.owner.ending.retry_after == 2


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"messages": [1]}', b'{"messages": [{"type": "gap"}]}'])
def test_an_answer_that_is_not_of_the_protocol_sends_us_down(body: bytes) -> None:
    bench = Bench()
    bench.http.last.reply(body)
    assert bench.owner.ending is not None and bench.owner.ending.step == "lower"


def test_an_answer_without_a_hello_ends_the_link() -> None:
    bench = Bench()
    bench.http.last.reply({"messages": []})
    assert bench.owner.ending is not None and bench.owner.ending.step == "resume"


def test_closing_leaves_nothing_behind() -> None:
    for transport in ("longpoll", "shortpoll", "eventstream"):
        bench = Bench(transport, "news")
        bench.link.close()
        bench.link.close()
        assert bench.http.last.cancelled
        bench.link.stir()
        bench.loop.advance(100)
        assert bench.count() == 1 and bench.owner.log == []


# -- the lane


def test_calls_go_beside_the_parked_poll() -> None:
    bench = Bench("longpoll")
    bench.call()
    assert bench.count() == 1, "not before there is a session"
    bench.http.last.answer()
    poll, lane = bench.http.exchanges[1:]
    assert poll.body["wait"] == 25 and "wait" not in lane.body
    assert lane.body["commands"][0]["token"] == "t-1" and lane.commands[0]["call_id"] == "call-0001"
    bench.call("call-0002")
    assert bench.count() == 3, "one request at a time, so that calls stay in order"
    call_id = lane.commands[0]["id"]
    lane.answer({"type": "result", "id": call_id, "call_id": "call-0001", "data": 3, "positions": {}})
    assert bench.owner.events[-1] == e.CallOver("call-0001", b"3")
    assert bench.http.last.commands[0]["call_id"] == "call-0002" and not poll.cancelled


def test_a_call_without_an_answer_goes_out_again() -> None:
    bench = Bench("longpoll")
    bench.http.last.answer()
    bench.call()
    bench.http.last.answer()
    assert bench.http.last.commands[0]["call_id"] == "call-0001" and bench.count() == 4
    bench.http.last.lose()
    assert bench.owner.log == ["opened", "ended"] and bench.core.calls["call-0001"].where is None


def test_a_call_that_is_too_large_fails_by_itself() -> None:
    bench = Bench("longpoll")
    bench.http.last.answer()
    for number in range(3):
        bench.core.calls[f"call-000{number}"] = PendingCall(f"call-000{number}", "add", {}, 1e9)
    bench.link.stir()
    assert len(bench.http.last.commands) == 3
    bench.http.last.refuse(108, 413)
    assert len(bench.http.last.commands) == 1, "one of them is to blame: which?"
    bench.http.last.refuse(108, 413)
    over = bench.owner.events[-1]
    assert isinstance(over, e.CallOver) and over.call_id == "call-0000"
    assert isinstance(over.answer, CallError) and over.answer.code == 108
    (command,) = bench.http.last.commands
    assert command["call_id"] == "call-0001" and not bench.link.over
    bench.http.last.reply(b"garbage")
    assert bench.owner.ending is not None and bench.owner.ending.step == "lower"


def test_calls_go_in_batches() -> None:
    bench = Bench("longpoll")
    bench.http.last.answer()
    for number in range(BATCH + 5):
        bench.core.calls[f"call-{number:04}"] = PendingCall(f"call-{number:04}", "add", {}, 1e9)
    bench.link.stir()
    assert len(bench.http.last.commands) == BATCH


def test_goodbye_is_a_request_of_its_own() -> None:
    for transport in ("longpoll", "eventstream"):
        bench = Bench(transport)
        if transport == "longpoll":
            bench.http.last.answer()
        else:
            bench.http.last.stream(bench.http.last.hello())
        bench.link.say_goodbye()
        assert bench.http.last.commands == [{"type": "bye"}]
        bench.http.last.answer({"type": "disconnect", "code": 4303, "message": "bye"})
        assert bench.owner.ending is not None and bench.owner.ending.code == 4303


# -- streams


def test_a_stream_says_all_at_its_beginning_and_delivers_as_it_comes() -> None:
    bench = Bench("eventstream", "news")
    request = bench.http.last
    assert request.headers["Accept"] == "text/event-stream" and "wait" not in request.body
    request.stream(request.hello(), bench.subscribed("news", 5), {"type": "ping"}, {"type": "new one"})
    assert bench.owner.log == ["opened"]
    for piece in (
        b": comment\n\nid: 1\nda",
        b'ta: {"type":"gap","channel":"news",',
        b'"position":"E.9"}\r\n\r\n',
    ):
        request.on_part(piece)
    assert bench.owner.events[-1] == e.GapFound("news", Position("E", 9))
    bench.call()
    assert bench.http.last.commands[0]["type"] == "call" and not request.cancelled


def test_a_stream_that_follows_the_wrong_channels_is_outdated() -> None:
    bench = Bench("eventstream", "news")
    bench.core.follow("more", None, None)
    bench.link.stir()
    assert bench.owner.log == []
    bench.http.last.stream(bench.http.last.hello(), bench.subscribed("news", 5))
    assert bench.owner.log == ["opened", "outdated"]


def test_a_stream_that_ends_or_falls_silent_or_never_begins_is_over() -> None:
    bench = Bench("eventstream")
    bench.loop.advance(10)
    assert bench.owner.ending is not None and "no hello came" in bench.owner.ending.message
    bench = Bench("eventstream")
    bench.http.last.stream(bench.http.last.hello())
    bench.loop.advance(49)
    bench.http.last.on_part(b":\n\n")
    bench.loop.advance(49.9)
    assert bench.owner.log == ["opened"]
    bench.loop.advance(0.2)
    assert bench.owner.ending is not None and "nothing was heard for 50 s" in bench.owner.ending.message
    bench = Bench("eventstream")
    bench.http.last.stream(bench.http.last.hello())
    bench.http.last.reply(b"")
    assert bench.owner.ending is not None and bench.owner.ending.step == "resume"


def test_a_stream_of_something_else_sends_us_down() -> None:
    bench = Bench("eventstream")
    bench.http.last.on_part(b"data: <html>\n\n")
    assert bench.owner.ending is not None and bench.owner.ending.step == "lower"
    bench = Bench("eventstream")
    bench.http.last.on_part(b"x" * 9_000_000)
    bench.http.last.on_part(b"x" * 9_000_000)
    assert bench.owner.ending is not None and bench.owner.ending.step == "lower"
