"""Snapshots as sessions serve them: pinned, single-flight, in place of gaps, spread, bounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rtbridge.bus.contract import History
from rtbridge.config import Limits
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.errors import DeclarationError
from support.house import House, StubClient


class State:
    """What the application knows: a list that grows with each publication, and how often it was asked for."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.rows: list[int] = []
        self.asked = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def add(self, channel: str = "news") -> str:
        self.rows.append(len(self.rows) + 1)
        return str(self.house.publish(channel, self.rows[-1]))

    def __call__(self, ctx: Any) -> list[int]:
        self.asked += 1
        found = list(self.rows)
        self.meanwhile()
        return found


@pytest.fixture
def house() -> House:
    return make_house()


def make_house(**limits: Any) -> House:
    house = House(Limits(**limits))
    house.channel("news", public=True, keep=History(5, ttl=3600))
    house.state = State(house)  # type: ignore[attr-defined]
    found = house.registry.channel_for("news")
    assert found is not None
    found[0].snapshot(state_of(house))
    return house


def state_of(house: House) -> State:
    state = house.state  # type: ignore[attr-defined]
    assert isinstance(state, State)
    return state


def declared(house: House, name: str) -> ChannelDeclaration:
    found = house.registry.channel_for(name)
    assert found is not None
    return found[0]


def subscribe(channel: str = "news", **fields: Any) -> dict[str, Any]:
    return {"type": "subscribe", "id": 2, "channel": channel, "snapshot": True, **fields}


def greeted(house: House, transport: str = "websocket", **environ: Any) -> StubClient:
    client = house.client(transport, environ)
    client.hello(instance=f"instance-{id(client)}")
    return client


def lose(house: House, channel: str = "news") -> None:
    """The bus forgets the log, as after a restart."""
    log = house.bus._logs[channel]
    log.epoch, log.last = "another", 0
    log.entries.clear()


def snapshots(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["data"] for message in messages if message["type"] == "snapshot"]


def test_the_state_comes_first_and_then_what_is_published(house: House) -> None:
    state = state_of(house)
    state.add()
    last = state.add()
    client = greeted(house)
    reply, push = client.send(subscribe())
    assert (reply["type"], reply["snapshot"], reply["publications"]) == ("subscribed", True, [])
    assert push == {"type": "snapshot", "channel": "news", "position": last, "data": [1, 2]}
    state.add()
    (push,) = client.take()
    assert push["publications"] == [{"offset": 3, "data": 3}]


def test_what_is_published_while_it_is_made_follows_it(house: House) -> None:
    state = state_of(house)
    pinned = state.add()
    state.meanwhile = state.add
    _, snapshot, push = greeted(house).send(subscribe())
    assert (snapshot["data"], snapshot["position"]) == ([1], pinned)
    assert push["publications"] == [{"offset": 2, "data": 2}]


def test_nothing_of_the_channel_is_sent_before_it(house: House) -> None:
    state = state_of(house)
    client = greeted(house)
    client.session.receive([subscribe()])
    while house.loop.run_calls() and not house.loop.jobs:
        pass
    state.add()
    while house.loop.run_calls():
        pass
    assert [message["type"] for message in client.messages] == ["subscribed"]
    assert snapshots(client.take()) in ([[]], [[1]])


def test_who_does_not_ask_gets_none(house: House) -> None:
    client = greeted(house)
    (reply,) = client.send({"type": "subscribe", "id": 2, "channel": "news"})
    assert "snapshot" not in reply and state_of(house).asked == 0


def test_a_channel_without_one_begins_with_recent_ones(house: House) -> None:
    house.channel("plain", public=True)
    house.publish("plain", "x")
    (reply,) = greeted(house).send(subscribe("plain", recent=5))
    assert "snapshot" not in reply and len(reply["publications"]) == 1


def test_who_has_a_position_gets_none_unless_there_is_a_gap(house: House) -> None:
    state = state_of(house)
    first = state.add()
    last = state.add()
    (reply,) = greeted(house).send(subscribe(position=first))
    assert reply["recovered"] is True and state.asked == 0
    reply, push = greeted(house).send(subscribe(position="elsewhere.1"))
    assert (reply["recovered"], reply["snapshot"], reply["publications"]) == (False, True, [])
    assert (push["recovered"], push["position"], push["data"]) == (False, last, state.rows)


def test_many_who_ask_at_once_are_one_query(house: House) -> None:
    state = state_of(house)
    clients = [greeted(house) for _ in range(20)]
    for client in clients:
        client.session.receive([subscribe()])
    house.loop.run()
    assert all(snapshots(client.messages) == [[]] for client in clients)
    assert state.asked == 1


def test_a_fresh_one_is_given_again_with_what_came_since(house: House) -> None:
    state = state_of(house)
    greeted(house).send(subscribe())
    state.add()
    house.loop.run()
    messages = greeted(house).send(subscribe())
    assert (snapshots(messages), messages[-1]["publications"]) == ([[]], [{"offset": 1, "data": 1}])
    assert state.asked == 1
    house.loop.advance(house.limits.snapshot_reuse + 0.1)
    assert snapshots(greeted(house).send(subscribe())) == [[1]]
    assert state.asked == 2


def test_a_poll_waits_for_it(house: House) -> None:
    client = greeted(house, "shortpoll")
    client.session.receive([subscribe()])
    while house.loop.run_calls():
        pass
    assert not client.session.at_rest
    house.loop.run()
    assert client.session.at_rest and snapshots(client.messages) == [[]]


def test_a_poll_that_repeats_its_subscription_without_an_id(house: House) -> None:
    state = state_of(house)
    state.add()
    quiet = {"type": "subscribe", "channel": "news", "snapshot": True}
    (push,) = greeted(house, "longpoll").send(quiet)
    assert push["data"] == [1]
    (push,) = greeted(house, "longpoll").send({**quiet, "position": "elsewhere.1"})
    assert (push["recovered"], push["data"]) == (False, state.rows)


def test_a_log_that_is_lost_is_a_snapshot_for_everybody_within_the_jitter(house: House) -> None:
    state = state_of(house)
    clients = [greeted(house) for _ in range(5)]
    for client in clients:
        client.send(subscribe())
    house.loop.advance(2)
    plain = greeted(house)
    plain.send({"type": "subscribe", "id": 2, "channel": "news"})
    lose(house)
    state.add()
    (gap,) = plain.take()
    assert gap["type"] == "gap" and 0 <= gap["fetch_after"] <= house.limits.gap_jitter
    asked = state.asked
    for client in clients:
        client.take()
    house.loop.advance(house.limits.gap_jitter)
    for client in clients:
        (push,) = client.take()
        assert (push["type"], push["recovered"], push["data"]) == ("snapshot", False, [1])
    assert state.asked == asked + 1


def test_who_falls_behind_alone_waits_for_nobody() -> None:
    house = make_house(tail_publications=3)
    state = state_of(house)
    client = greeted(house)
    client.send(subscribe())
    house.loop.advance(2)
    client.blocked = True
    for _ in range(20):
        last = state.add()
    house.loop.run()
    (push,) = client.unblock()
    assert (push["recovered"], push["position"], push["data"]) == (False, last, state.rows)


def test_a_function_that_raises_is_told_and_not_called_again_at_once(house: House) -> None:
    state = state_of(house)

    def fail() -> None:
        raise ZeroDivisionError

    state.meanwhile = fail
    for _ in range(5):
        _, push = greeted(house).send(subscribe())
        assert (push["type"], push["code"], push["channel"]) == ("unsubscribed", 202, "news")
        assert 1.0 <= push["retry_after"] <= 1.0 + house.limits.gap_jitter
    assert state.asked == 1 and house.metrics.snapshot()["snapshot_failures"] == 1
    state.meanwhile = lambda: None
    house.loop.advance(2)
    assert snapshots(greeted(house).send(subscribe())) == [[]]


def test_one_that_is_too_large_is_a_failure() -> None:
    house = make_house(max_snapshot=10)
    state_of(house).rows = list(range(100))
    _, push = greeted(house).send(subscribe())
    assert (push["type"], push["code"]) == ("unsubscribed", 202)


def test_an_answer_is_bounded() -> None:
    house = make_house(page_bytes=3000)
    for number in range(10):
        house.channel(f"big{number}", public=True).snapshot(lambda ctx: "x" * 600)
    client = greeted(house, "shortpoll")
    client.session.receive([subscribe(f"big{number}", id=number + 2) for number in range(10)])
    client.blocked = True
    house.loop.run()
    taken = snapshots([json.loads(piece) for piece in client.session.collect(3000)])
    assert 1 <= len(taken) <= 4
    assert client.session.at_rest  # the others come with the next answers
    assert len(snapshots(client.unblock())) == 10 - len(taken)


def test_leaving_while_it_is_made(house: House) -> None:
    client = greeted(house)
    client.session.receive([subscribe(), {"type": "unsubscribe", "id": 3, "channel": "news"}])
    assert [message["type"] for message in client.take()] == ["subscribed", "unsubscribed"]
    assert client.session.at_rest
    other = greeted(house)
    other.session.receive([subscribe()])
    other.session.close()
    house.loop.run()
    assert not house.loop.errors


def test_one_for_each_user(house: House) -> None:
    inbox = house.channel("inbox")
    inbox.authorize(lambda ctx: True)
    asked: list[str] = []

    @inbox.snapshot(per_user=True)
    def mine(ctx: Any) -> str:
        asked.append(ctx.user)
        return f"mail of {ctx.user}"

    assert snapshots(greeted(house, USER="ann").send(subscribe("inbox"))) == ["mail of ann"]
    assert snapshots(greeted(house, USER="bob").send(subscribe("inbox"))) == ["mail of bob"]
    assert snapshots(greeted(house, USER="ann").send(subscribe("inbox"))) == ["mail of ann"]
    assert asked == ["ann", "bob"]


def test_a_shared_one_has_no_user(house: House, caplog: pytest.LogCaptureFixture) -> None:
    shared = house.channel("shared", public=True)
    shared.snapshot(lambda ctx: ctx.user)
    _, push = greeted(house, USER="ann").send(subscribe("shared"))
    assert push["code"] == 202
    assert "per_user=True" in caplog.text


def test_its_parameters_are_the_channels(house: House) -> None:
    groups = house.channel("groups/{group_id:int}/photos", public=True)
    groups.snapshot(lambda ctx, group_id: group_id * 2)
    assert snapshots(greeted(house).send(subscribe("groups/7/photos"))) == [14]


def test_what_was_published_of_a_volatile_channel_meanwhile_follows(house: House) -> None:
    typing = house.channel("typing", public=True, keep="volatile")
    typing.snapshot(lambda ctx: house.publish("typing", "ann").offset)
    _, snapshot, push = greeted(house).send(subscribe("typing"))
    assert (snapshot["data"], snapshot["position"][-2:]) == (1, ".0")
    assert push["publications"] == [{"offset": 1, "data": "ann"}]
    # A second one is not given what was made before somebody typed: that could not follow any more.
    _, snapshot, _ = greeted(house).send(subscribe("typing"))
    assert snapshot["data"] == 2


def test_latest_goes_on_with_the_newest(house: House) -> None:
    price = house.channel("price", public=True, keep="latest")
    price.snapshot(lambda ctx: "closed")
    house.publish("price", 5)
    client = greeted(house)
    assert snapshots(client.send(subscribe("price"))) == ["closed"]
    house.publish("price", 6)
    house.publish("price", 7)
    (push,) = client.take()
    assert push["publications"][-1]["data"] == 7


def test_where_the_channel_may_not_be_followed_it_is_for_a_get(house: House) -> None:
    slow = house.channel("slow", public=True, transport="shortpoll", every=7)
    slow.snapshot(lambda ctx: pytest.fail("it is not made"))
    (reply,) = greeted(house).send(subscribe("slow"))
    assert reply["limit"]["every"] == 7 and reply["snapshot"] is True


def test_a_few_at_a_time() -> None:
    house = make_house(snapshot_workers=2)
    for number in range(6):
        house.channel(f"c{number}", public=True).snapshot(lambda ctx: 1)
    client = greeted(house)
    client.session.receive([subscribe(f"c{number}", id=number + 2) for number in range(6)])
    while house.loop.run_calls():
        pass
    assert len(house.loop.jobs) == 2
    assert snapshots(client.take()) == [1] * 6


def test_declaring(house: House) -> None:
    with pytest.raises(DeclarationError, match="already"):
        declared(house, "news").snapshot(lambda ctx: 1)
    with pytest.raises(DeclarationError, match="same for every user"):
        house.channel("everybodys", public=True).snapshot(per_user=True)(lambda ctx: 1)
    with pytest.raises(DeclarationError, match=r"called with \(ctx, lot\)"):
        house.channel("lots/{lot}").snapshot(lambda ctx: 1)


def test_its_return_annotation_is_checked(house: House) -> None:
    def wrong(ctx: Any) -> list[int]:
        return ["x"]  # type: ignore[list-item]

    house.channel("typed", public=True).snapshot(wrong)
    _, push = greeted(house).send(subscribe("typed"))
    assert push["code"] == 202
