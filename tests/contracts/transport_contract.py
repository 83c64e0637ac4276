"""What every transport keeps. A new one is a class with the fixture `open`, beside those in tests/transports/.

`open(house, channels)` gives a `Follower`: a tiny client that follows channels as the protocol's page says, asks again
where the page says so, and merges nothing. What it saw is in `seen`, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from rtbridge.bus.contract import History
from rtbridge.config import Limits
from support.house import House
from support.readers import readers

GAP = "a gap"


class Follower:
    """Follows channels on some transport, and takes snapshots where there are some.

    Attributes:
        waits: whether it is there while nothing is published.
        seen: channel -> what was delivered of it, data or `GAP`.
        refused: channel -> the code it was refused with.
        results: call id -> the reply.
    """

    waits = True

    def __init__(self, house: House, cursor: Mapping[str, str | None]) -> None:
        self.house = house
        self.cursor = dict(cursor)
        self.seen: dict[str, list[Any]] = {channel: [] for channel in cursor}
        self.refused: dict[str, int] = {}
        self.results: dict[str, dict[str, Any]] = {}

    def look(self) -> None:
        """Let everything happen that can happen now, and take what came."""
        raise NotImplementedError

    def close(self) -> None:
        """Be gone, as a tab is that was closed."""
        raise NotImplementedError

    # Where the transport can.

    def call(self, call_id: str, name: str, **params: Any) -> None:
        raise NotImplementedError

    def unsubscribe(self, channel: str) -> None:
        raise NotImplementedError

    # For implementations.

    def take(self, message: Mapping[str, Any]) -> None:
        """Take one message, or one answer of a GET, as the protocol's page has it."""
        kind = message.get("type", "subscribed")
        channel = message.get("channel", "")
        if kind in ("subscribed", "publications") and channel in self.cursor:
            if message.get("snapshot") is True:
                return
            if "snapshot" in message:
                self.take({**message, "type": "snapshot", "data": message["snapshot"]})
                return
            if message.get("recovered") is False:
                self.seen[channel].append(GAP)
            self.seen[channel] += [each["data"] for each in message["publications"]]
            self.cursor[channel] = message["position"]
        elif kind == "snapshot":
            mark = GAP if message.get("recovered") is False else "now"
            self.seen[channel].append((mark, message["data"]))
            self.cursor[channel] = message["position"]
        elif kind == "gap":
            self.seen[channel].append(GAP)
            self.cursor[channel] = message["position"]
        elif kind == "unsubscribed" and "code" in message:
            self.refused[channel] = message["code"]
        elif kind == "result":
            self.results[message["call_id"]] = dict(message)


Open = Callable[..., Follower]


class ChannelContract:
    """For transports of any kind."""

    @pytest.fixture
    def open(self) -> Open:
        raise NotImplementedError

    @pytest.fixture
    def house(self) -> House:
        house = House(Limits(tail_prime=10, tail_publications=20, page_publications=15))
        house.channel("news", public=True, keep=History(60, ttl=3600))
        house.channel("price", public=True, keep="latest")
        house.channel("club").authorize(lambda ctx: False)
        house.channel("nobodys")
        house.channel("typing", public=True, keep="volatile")
        rows = house.channel("rows", public=True, keep=History(60, ttl=3600))
        rows.snapshot(lambda ctx: house.fanout.tail("rows").position().offset)
        house.call("add", lambda ctx, a, b: a + b)
        return house

    @pytest.fixture(autouse=True)
    def _nothing_failed(self, house: House) -> Any:
        yield
        assert house.loop.errors == []

    @pytest.mark.parametrize("missed", [0, 1, 8, 18, 50])
    def test_history_after_a_position(self, house: House, open: Open, missed: int) -> None:
        """From the tail, from the bus, in one page or several: all of it, in order."""
        start = house.publish("news", "seen")
        for value in range(missed):
            house.publish("news", value)
        follower = open(house, {"news": str(start)})
        follower.look()
        assert follower.seen["news"] == list(range(missed))
        follower.close()

    def test_live_publications_in_order(self, house: House, open: Open) -> None:
        start = house.publish("news", "seen")
        follower = open(house, {"news": str(start)})
        follower.look()
        for burst in range(5):
            for value in range(10):
                house.publish("news", burst * 10 + value)
            follower.look()
        assert follower.seen["news"] == list(range(50))
        follower.close()

    def test_history_and_then_live(self, house: House, open: Open) -> None:
        start = house.publish("news", "seen")
        for value in range(30):
            house.publish("news", value)
        follower = open(house, {"news": str(start)})
        house.publish("news", 30)
        follower.look()
        house.publish("news", 31)
        follower.look()
        assert follower.seen["news"] == list(range(32))
        follower.close()

    def test_a_gap_is_told(self, house: House, open: Open) -> None:
        start = house.publish("news", "seen")
        for value in range(100):
            house.publish("news", value)
        follower = open(house, {"news": str(start)})
        follower.look()
        assert follower.seen["news"] == [GAP]
        house.publish("news", "after it")
        follower.look()
        assert follower.seen["news"] == [GAP, "after it"]
        follower.close()

    def test_another_log_is_a_gap(self, house: House, open: Open) -> None:
        house.publish("news", "seen")
        follower = open(house, {"news": "other.1"})
        follower.look()
        assert follower.seen["news"] == [GAP]
        follower.close()

    def test_latest_skips_without_a_gap(self, house: House, open: Open) -> None:
        start = house.publish("price", 0)
        for value in (1, 2, 3):
            house.publish("price", value)
        follower = open(house, {"price": str(start)})
        follower.look()
        assert follower.seen["price"] == [3]
        house.publish("price", 4)
        follower.look()
        assert follower.seen["price"] == [3, 4]
        follower.close()

    def test_volatile_reaches_who_waits(self, house: House, open: Open) -> None:
        house.publish("typing", "before")
        follower = open(house, {"typing": None})
        follower.look()
        house.publish("typing", "ann")
        follower.look()
        house.publish("typing", "bob")
        house.publish("typing", "eve")
        follower.look()
        assert follower.seen["typing"] == (["ann", "bob", "eve"] if follower.waits else [])
        follower.close()

    def test_volatile_is_gone_for_who_comes_later(self, house: House, open: Open) -> None:
        other = open(house, {"typing": None})
        other.look()
        start = house.publish("typing", "seen")
        house.publish("typing", "while nobody of us waited")
        other.look()
        house.loop.advance(3 * house.limits.sweep_interval)
        follower = open(house, {"typing": str(start)})
        follower.look()
        assert follower.seen["typing"] == []
        house.publish("typing", "now")
        follower.look()
        assert follower.seen["typing"] == (["now"] if follower.waits else [])
        other.close()
        follower.close()

    def test_the_newest_of_latest_at_first(self, house: House, open: Open) -> None:
        for value in (1, 2, 3):
            house.publish("price", value)
        follower = open(house, {"price": None})
        follower.look()
        assert follower.seen["price"] == [3]
        follower.close()

    def test_the_snapshot_and_then_live(self, house: House, open: Open) -> None:
        for value in range(1, 4):
            house.publish("rows", value)
        follower = open(house, {"rows": None})
        follower.look()
        house.publish("rows", 4)
        follower.look()
        house.publish("rows", 5)
        follower.look()
        assert follower.seen["rows"] == [("now", 3), 4, 5]
        follower.close()

    def test_a_snapshot_in_place_of_a_gap(self, house: House, open: Open) -> None:
        house.publish("rows", 1)
        follower = open(house, {"rows": "other.1"})
        follower.look()
        house.publish("rows", 2)
        follower.look()
        assert follower.seen["rows"] == [(GAP, 1), 2]
        follower.close()

    def test_what_is_published_while_the_snapshot_is_made(self, house: House, open: Open) -> None:
        """Pinned first: nothing is left out, whatever happens meanwhile."""
        busy = house.channel("busy", public=True)
        busy.snapshot(lambda ctx: [house.publish("busy", value).offset for value in (1, 2)] and "taken")
        follower = open(house, {"busy": None})
        follower.look()
        follower.look()
        assert follower.seen["busy"] == [("now", "taken"), 1, 2]
        follower.close()

    @pytest.mark.parametrize("channel", ["club", "nobodys", "undeclared"])
    def test_undeclared_and_forbidden_are_refused_alike(self, house: House, open: Open, channel: str) -> None:
        follower = open(house, {channel: None})
        follower.look()
        assert follower.refused == {channel: 104}
        assert readers(house.fanout) == 0
        follower.close()

    def test_who_is_gone_leaves_no_reader_behind(self, house: House, open: Open) -> None:
        position = house.publish("news", "seen")
        follower = open(house, {"news": str(position)})
        follower.look()
        follower.close()
        assert readers(house.fanout) == 0
        house.publish("news", "to nobody")
        house.loop.run()
        assert follower.seen["news"] == []
        house.loop.advance(house.limits.tail_linger + house.limits.sweep_interval + 1)
        assert [name for name in house.fanout._channels if name[0] != "~"] == []

    def test_who_is_gone_before_it_began_leaves_no_reader_behind(self, house: House, open: Open) -> None:
        follower = open(house, {"news": str(house.publish("news", "seen"))})
        follower.close()
        house.loop.run()
        assert readers(house.fanout) == 0


class TransportContract(ChannelContract):
    """For those that carry messages: many channels, and calls."""

    def test_many_channels(self, house: House, open: Open) -> None:
        cursor = {"news": str(house.publish("news", "seen")), "price": str(house.publish("price", 0))}
        follower = open(house, cursor)
        follower.look()
        for value in range(3):
            house.publish("news", value)
            house.publish("price", value)
        follower.look()
        assert follower.seen["news"] == [0, 1, 2] and follower.seen["price"][-1] == 2
        follower.close()
        assert readers(house.fanout) == 0

    def test_one_refused_channel_does_not_hinder_another(self, house: House, open: Open) -> None:
        follower = open(house, {"news": str(house.publish("news", "seen")), "club": None})
        house.publish("news", 1)
        follower.look()
        assert (follower.seen["news"], follower.refused) == ([1], {"club": 104})
        follower.close()

    def test_a_call_has_its_result(self, house: House, open: Open) -> None:
        follower = open(house, {})
        follower.call("call-id-1", "add", a=1, b=2)
        follower.look()
        assert follower.results["call-id-1"]["data"] == 3
        follower.close()

    def test_unsubscribing_leaves_no_reader_behind(self, house: House, open: Open) -> None:
        follower = open(house, {"news": str(house.publish("news", "seen"))})
        follower.look()
        follower.unsubscribe("news")
        follower.look()
        assert readers(house.fanout) == 0
        house.publish("news", "to nobody")
        follower.look()
        assert follower.seen["news"] == []
        follower.close()
