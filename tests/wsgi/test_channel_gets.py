"""`GET channels/NAME` as the protocol's page has it: headers, caching, tokens, waiting, event streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rtbridge import Bridge, Context, History, Limits, RealtimeMiddleware
from rtbridge.protocol.codecs import msgpack_codec
from rtbridge.protocol.polls import parse_channel_answer
from rtbridge.protocol.positions import Position
from support.inprocess import Answer, Background, Client, Joined, close, settle
from support.needs import missing
from support.readers import readers


class Site:
    """A bridge with every kind of channel, which counts how often it was asked who and whether."""

    def __init__(self, lock_file: Path, limits: Limits | None = None) -> None:
        self.asked: list[str] = []
        self.bridge = Bridge(
            secret="of the tests", lock_file=lock_file, limits=limits, authenticate=self._authenticate
        )
        self.news = self.bridge.channel("news", public=True, keep=History(5, ttl=3600))
        self.price = self.bridge.channel("price", public=True, keep="latest")
        self.typing = self.bridge.channel("typing", public=True, keep="volatile")
        self.slow = self.bridge.channel("slow", public=True, transport="shortpoll", every=7)
        self.parked = self.bridge.channel("parked", public=True, transport="longpoll")
        self.club = self.bridge.channel("clubs/{name}")
        self.nobodys = self.bridge.channel("nobodys")
        self.club.authorize(self._authorize)
        self.client = Client(RealtimeMiddleware(lambda environ, start_response: [], self.bridge))

    def _authenticate(self, environ: Mapping[str, Any]) -> object:
        self.asked.append("who")
        return environ.get("HTTP_AUTHORIZATION")

    def _authorize(self, ctx: Context, name: str) -> bool:
        self.asked.append("whether")
        return bool(ctx.user == name)

    def get(self, channel: str, **headers: str) -> Answer:
        settle(self.bridge)
        return self.client.get(f"/rt/channels/{channel}", **headers)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(**limits: Any) -> Site:
        made.append(Site(tmp_path / "lock", Limits(**limits)))
        return made[-1]

    yield make
    for site in made:
        close(site.bridge)


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make()


def data(answer: Answer) -> list[object]:
    return [each["data"] for each in answer.json()["publications"]]


# ---- what is answered


def test_an_empty_channel_has_a_position(site: Site) -> None:
    answer = site.get("news")
    assert answer.json() == {"channel": "news", "position": str(site.news.position()), "publications": []}
    assert answer.headers["content-type"] == "application/json"


def test_the_newest_come_first_and_then_what_came_since(site: Site) -> None:
    for value in range(3):
        site.news.publish(value)
    answer = site.get("news")
    assert data(answer) == [0, 1, 2]
    position = answer.json()["position"]
    assert data(site.get(f"news?after={position}")) == []
    site.news.publish("new")
    since = site.get(f"news?after={position}")
    assert data(since) == ["new"] and "recovered" not in since.json()
    assert since.json()["position"] == str(site.news.position())


@pytest.mark.parametrize(
    "recent, got", [(0, []), (2, [6, 7]), (5, [3, 4, 5, 6, 7]), (999_999, [3, 4, 5, 6, 7])]
)
def test_recent(site: Site, recent: int, got: list[int]) -> None:
    for value in range(8):
        site.news.publish(value)
    answer = site.get(f"news?recent={recent}")
    assert data(answer) == got and answer.json()["position"] == str(site.news.position())


@pytest.mark.parametrize("after", ["another.3", "epoch.0", "before", "ahead"])
def test_what_cannot_be_served_whole_is_a_gap(site: Site, after: str) -> None:
    first = site.news.publish("first").position
    assert first is not None
    for value in range(9):
        site.news.publish(value)
    after = {"before": str(first), "ahead": f"{first.epoch}.99"}.get(after, after)
    assert site.get(f"news?after={after}").json() == {
        "channel": "news", "position": str(site.news.position()), "recovered": False, "publications": [],
    }  # fmt: skip


def test_what_is_too_much_for_one_answer_comes_in_several(make: Callable[..., Site]) -> None:
    site = make(page_publications=2)
    position = str(site.news.position())
    for value in range(5):
        site.news.publish(value)
    got: list[object] = []
    answers = 0
    while True:
        answer = site.get(f"news?after={position}")
        got += data(answer)
        answers += 1
        position = answer.json()["position"]
        if not answer.json().get("more"):
            break
    assert (got, answers) == ([0, 1, 2, 3, 4], 3)


def test_latest(site: Site) -> None:
    assert data(site.get("price")) == []
    first = site.price.publish(1).position
    for value in (2, 3):
        site.price.publish(value)
    assert data(site.get("price")) == [3]
    skipped = site.get(f"price?after={first}")
    assert data(skipped) == [3] and "recovered" not in skipped.json()
    assert data(site.get(f"price?after={site.price.position()}")) == []
    assert data(site.get("price?after=other.9")) == [3]


def test_volatile_is_for_who_waits(site: Site) -> None:
    before = site.typing.position()
    site.typing.publish("missed by everyone")
    missed = site.get(f"typing?after={before}")
    assert data(missed) == [] and "recovered" not in missed.json()
    joined = Joined(site.bridge)
    waiting = Background(lambda: site.get(f"typing?after={missed.json()['position']}&wait=10"))
    joined.wait()
    site.typing.publish("seen")
    assert data(waiting.result()) == ["seen"]


@pytest.mark.parametrize(
    "query, code",
    [
        ("after=nonsense", 107), ("after=a.01", 107), ("after=a.9007199254740992", 107),
        ("recent=-1", 100), ("recent=x", 100), ("recent=1e3", 100), ("recent=٣", 100), ("recent=", 100),
        ("wait=-1", 100), ("wait=inf", 100), ("wait=nan", 100), ("wait=soon", 100),
        ("after=%ff", 100), ("&".join(f"a{n}=1" for n in range(50)), 100),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(site: Site, query: str, code: int) -> None:
    answer = site.get(f"news?{query}")
    assert (answer.status, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize("channel", ["undeclared", "nobodys", "clubs/eve", "a//b", "../x", "", "clubs/%00"])
def test_undeclared_unopened_and_forbidden_answer_alike(site: Site, channel: str) -> None:
    answer = site.get(channel, Authorization="ann")
    assert answer.status == 404
    error = answer.json()["error"]
    assert (error["code"], error["reason"]) == (104, "no_such_channel")
    assert answer.headers["cache-control"] == "private, no-store"


# ---- validators and caches


def test_the_etag_is_the_position(site: Site) -> None:
    site.news.publish("x")
    answer = site.get("news")
    assert answer.headers["etag"] == f'"{site.news.position()}"'
    assert "Accept" in answer.headers["vary"]


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"other",W/{}', "*"])
def test_a_matching_etag_is_not_modified(site: Site, form: str) -> None:
    etag = site.get("news").headers["etag"]
    answer = site.get("news", If_None_Match=form.format(etag))
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
    assert "cache-control" in answer.headers and "vary" in answer.headers
    site.news.publish("new")
    assert site.get("news", If_None_Match=etag).status == 200


@pytest.mark.parametrize("form", ['"x"', "x", "", '"x', ","])
def test_another_etag_is_answered(site: Site, form: str) -> None:
    assert site.get("news", If_None_Match=form).status == 200


def test_nothing_new_alone_is_no_304(site: Site) -> None:
    assert site.get(f"news?after={site.news.position()}").status == 200


def test_a_gap_and_a_whole_answer_are_not_the_same_thing(site: Site) -> None:
    site.news.publish("x")
    whole = site.get("news").headers["etag"]
    assert site.get("news?after=other.1", If_None_Match=whole).json()["recovered"] is False


@pytest.mark.parametrize(
    "channel, caching",
    [
        ("news", "public, max-age=1"),
        ("slow", "public, max-age=7"),
        ("clubs/ann", "private, no-store"),
    ],
)
def test_who_may_keep_it(site: Site, channel: str, caching: str) -> None:
    assert site.get(channel, Authorization="ann").headers["cache-control"] == caching


def test_a_parked_answer_is_kept_by_nobody(make: Callable[..., Site]) -> None:
    site = make()
    site.news.publish("x")
    assert site.get("news?wait=5").headers["cache-control"] == "no-store"


def test_public_answers_are_the_same_for_everyone(site: Site) -> None:
    for value in ("ä", {"b": 1, "a": [1, 2]}):
        site.news.publish(value)
    client, url = site.client, "/rt/channels/news"
    answers = [
        client.get(url),
        client.get(url, Authorization="ann", Cookie="sessionid=1"),
        client.get(url, Cookie="sessionid=2", Accept="*/*", User_Agent="x", Accept_Language="de"),
        client.get(url, Rtbridge_Token="whatever", Origin="http://testserver"),
    ]
    assert len({answer.body for answer in answers}) == 1
    assert len({tuple(answer.header_list) for answer in answers}) == 1
    assert "rtbridge-token" not in answers[0].headers and "set-cookie" not in answers[0].headers
    assert site.asked == []


# ---- tokens


def test_the_token_spares_authenticate_and_authorize(site: Site) -> None:
    first = site.get("clubs/ann", Authorization="ann")
    token = first.headers["rtbridge-token"]
    assert site.asked == ["who", "whether"]
    again = site.get("clubs/ann", Authorization="ann", Rtbridge_Token=token)
    assert again.status == 200 and "rtbridge-token" not in again.headers
    assert site.asked == ["who", "whether"]


def test_one_token_grows_to_hold_all_channels(make: Callable[..., Site]) -> None:
    site = make()
    site.bridge.channel("extra").authorize(lambda ctx: site.asked.append("extra") is None)
    token = site.get("clubs/ann", Authorization="ann").headers["rtbridge-token"]
    larger = site.get("extra", Authorization="ann", Rtbridge_Token=token).headers["rtbridge-token"]
    assert site.asked == ["who", "whether", "extra"]
    for channel in ("clubs/ann", "extra"):
        assert site.get(channel, Authorization="ann", Rtbridge_Token=larger).status == 200
    assert site.asked == ["who", "whether", "extra"]


def test_a_token_is_worth_nothing_with_other_credentials(site: Site) -> None:
    token = site.get("clubs/ann", Authorization="ann").headers["rtbridge-token"]
    for headers in ({"Authorization": "eve"}, {}):
        assert site.get("clubs/ann", Rtbridge_Token=token, **headers).status == 404
    assert site.get("clubs/ann", Authorization="ann", Rtbridge_Token="forged").status == 200
    assert site.asked.count("who") == 4


def test_a_token_of_get_and_of_poll_are_the_same(site: Site) -> None:
    token = site.get("clubs/ann", Authorization="ann").headers["rtbridge-token"]
    hello = {"type": "hello", "id": 1, "version": 1, "instance": "instance-1", "token": token}
    command = {"type": "subscribe", "id": 2, "channel": "clubs/ann"}
    answer = site.client.poll(hello, command, Authorization="ann")
    assert [message["type"] for message in answer["messages"]] == ["hello", "subscribed"]
    assert answer["messages"][0]["resumed"] is True
    assert site.asked == ["who", "whether"]


# ---- msgpack


def test_msgpack_where_it_is_accepted(site: Site) -> None:
    codec = msgpack_codec()
    if codec is None:
        missing("msgpack is not installed")
    site.news.publish({"bytes": b"\x00\xff"})
    answer = site.get("news", Accept="application/msgpack")
    assert answer.headers["content-type"] == "application/msgpack"
    assert answer.headers["etag"] != site.get("news").headers["etag"]
    assert codec.decode(answer.body)["publications"] == [  # type: ignore[index]
        {"offset": 1, "data": {"bytes": b"\x00\xff"}}
    ]
    parsed = parse_channel_answer(codec.decode(answer.body))
    assert parsed.position == site.news.position()
    assert site.get("news", Accept="*/*").headers["content-type"] == "application/json"


# ---- waiting


def test_a_parked_get_is_answered_by_a_publish(site: Site) -> None:
    joined = Joined(site.bridge)
    waiting = Background(lambda: site.get(f"news?after={site.news.position()}&wait=10"))
    joined.wait()
    assert not waiting.done
    position = site.news.publish("at last").position
    answer = waiting.result()
    assert data(answer) == ["at last"] and answer.json()["position"] == str(position)
    assert readers(site.bridge.services().fanout) == 0


def test_a_parked_get_ends_with_its_time(site: Site) -> None:
    answer = site.get(f"news?after={site.news.position()}&wait=0.05")
    assert answer.status == 200 and data(answer) == []
    assert readers(site.bridge.services().fanout) == 0


def test_nobody_waits_longer_than_the_server_will(make: Callable[..., Site]) -> None:
    site = make(poll_wait=0.05)
    assert site.get(f"news?after={site.news.position()}&wait=3600").status == 200


def test_who_has_something_to_read_does_not_wait(site: Site) -> None:
    position = site.news.position()
    site.news.publish("here")
    assert data(site.get(f"news?after={position}&wait=3600")) == ["here"]
    assert site.get("news?after=other.1&wait=3600").json()["recovered"] is False


def test_above_its_ceiling_a_channel_is_not_followed(site: Site) -> None:
    """Asked to wait, a channel of short polls answers at once; a stream of it does not exist."""
    answer = site.get(f"slow?after={site.slow.position()}&wait=3600")
    assert answer.status == 200 and answer.headers["cache-control"] == "public, max-age=7"
    for channel in ("slow", "parked"):
        refused = site.get(channel, Accept="text/event-stream")
        assert (refused.status, refused.json()["error"]["code"]) == (501, 204)


def test_a_server_with_one_thread_answers_at_once_and_advises_a_pause(site: Site) -> None:
    site.client.environ = {"multithread": False}
    answer = site.get(f"news?after={site.news.position()}&wait=3600")
    assert answer.status == 200
    refused = site.get("news", Accept="text/event-stream")
    assert (refused.status, refused.json()["error"]["code"]) == (501, 204)


# ---- event streams


class Events:
    """Reads an event stream."""

    def __init__(self, answer: Answer) -> None:
        assert answer.status == 200, answer.body
        self.answer = answer
        self.left: list[str] = []

    def next(self) -> dict[str, str]:
        """The fields of the next event, comments passed over."""
        while True:
            while not self.left:
                piece = self.answer.piece()
                assert piece is not None, "the stream ended"
                assert piece.endswith(b"\n\n")
                self.left = piece.decode().removesuffix("\n\n").split("\n\n")
            lines = [line for line in self.left.pop(0).split("\n") if not line.startswith(":")]
            if lines:
                return dict(line.split(": ", 1) for line in lines)


def stream(site: Site, url: str, **headers: str) -> Answer:
    return site.get(url, Accept="text/event-stream", **headers)


def test_a_stream_begins_with_its_position_and_goes_on_from_there(site: Site) -> None:
    site.news.publish("old")
    start = site.news.position()
    with stream(site, "news") as answer:
        events = Events(answer)
        assert events.next() == {"id": str(start)}
        site.news.publish({"text": "line\nbreak"})
        assert events.next() == {"id": str(site.news.position()), "data": '{"text":"line\\nbreak"}'}
        site.news.publish(2)
        site.news.publish(3)
        assert [events.next()["data"], events.next()["data"]] == ["2", "3"]
    assert readers(site.bridge.services().fanout) == 0


def test_a_stream_catches_up_first(site: Site) -> None:
    start = site.news.position()
    for value in range(3):
        site.news.publish(value)
    with stream(site, f"news?after={start}") as answer:
        events = Events(answer)
        assert events.next() == {"id": str(start)}
        assert [events.next() for _ in range(3)] == [
            {"id": f"{start.epoch}.{value + 1}", "data": str(value)} for value in range(3)
        ]
    with stream(site, "news?recent=1") as answer:
        events = Events(answer)
        assert [events.next().get("data"), events.next().get("data")] == [None, "2"]


def test_last_event_id_goes_before_after(site: Site) -> None:
    start = site.news.position()
    for value in range(3):
        site.news.publish(value)
    last = str(Position(start.epoch, 2))
    with stream(site, f"news?after={start}", Last_Event_ID=last) as answer:
        events = Events(answer)
        assert events.next() == {"id": last}
        assert events.next()["data"] == "2"


def test_a_stream_tells_of_a_gap(site: Site) -> None:
    site.news.publish("x")
    with stream(site, "news?after=other.3") as answer:
        events = Events(answer)
        assert events.next() == {"id": "other.3"}
        gap = events.next()
        assert (gap["event"], gap["id"]) == ("gap", str(site.news.position()))
        assert json.loads(gap["data"]) == {"position": str(site.news.position())}
        site.news.publish("after it")
        assert events.next()["data"] == '"after it"'


def test_a_stream_of_latest_begins_with_the_newest(site: Site) -> None:
    for value in (1, 2):
        site.price.publish(value)
    with stream(site, "price") as answer:
        events = Events(answer)
        events.next()
        assert events.next()["data"] == "2"


def test_a_forbidden_stream_is_an_answer_like_any_other(site: Site) -> None:
    refused = stream(site, "clubs/ann", Authorization="eve")
    assert (refused.status, refused.headers["content-type"]) == (404, "application/json")
    assert stream(site, "news?after=x").status == 400


def test_a_stream_of_a_closed_channel_carries_a_token_and_is_no_ones_to_keep(site: Site) -> None:
    with stream(site, "clubs/ann", Authorization="ann") as answer:
        assert answer.headers["rtbridge-token"]
        assert answer.headers["cache-control"].startswith("private, no-store")


def test_a_stream_ends_with_the_access_it_began_with(make: Callable[..., Site]) -> None:
    """EventSource comes back by itself, with its position, and is asked again who it is."""
    site = make(token_ttl=0.1)
    with stream(site, "clubs/ann", Authorization="ann") as answer:
        pieces = []
        while (piece := answer.piece()) is not None:
            pieces.append(piece)
        assert len(pieces) == 1
    assert readers(site.bridge.services().fanout) == 0
    with stream(site, "news") as answer:
        events = Events(answer)
        events.next()
        site.news.publish("public channels go on")
        assert events.next()["data"] == '"public channels go on"'


@pytest.mark.parametrize("how", ["stream", "poll"])
def test_what_is_taken_back_while_it_is_given(site: Site, how: str) -> None:
    """Authorize says yes to what was true when it looked; a stream would live on that until the grant expires."""
    rooms = site.bridge.channel("rooms/{name}")

    @rooms.authorize
    def found_before(ctx: Context, name: str) -> bool:
        site.bridge.revoke(user="ann", channel=rooms(name=name))
        settle(site.bridge)
        settle(site.bridge)
        return True

    if how == "stream":
        answer = stream(site, "rooms/1", Authorization="ann")
    else:
        answer = site.get("rooms/1", Authorization="ann")
    assert answer.status == 404
    assert readers(site.bridge.services().fanout) == 0
    assert not site.bridge.services().revocations.reads
