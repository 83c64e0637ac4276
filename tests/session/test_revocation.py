"""Taking back access: what is alive ends at once, tokens prove nothing any more, and nothing slips through between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rtbridge.config import Limits
from rtbridge.contract.revocations import SKEW, Revocation
from rtbridge.errors import BusUnavailable
from rtbridge.session.revocation import CONTROL, control_keep
from support.house import House, StubClient


@pytest.fixture
def house() -> House:
    return club()


def club(limits: Limits | None = None) -> House:
    """A house whose channels are for members: `house.members` holds pairs of user and channel."""
    house = House(limits)
    house.members = {(user, f"rooms/{room}") for user in ("ada", "bob") for room in ("blue", "red")}
    house.during = lambda: None
    house.asked = 0

    def allowed(ctx: Any, name: str) -> bool:
        house.asked += 1
        answer = (ctx.user_id, f"rooms/{name}") in house.members
        house.during()
        return answer

    house.channel("rooms/{name}").authorize(allowed)
    house.channel("news", public=True)
    return house


def revoke(house: House, **what: Any) -> None:
    house.bus.publish(CONTROL, Revocation(house.loop.now(), **what).dump(), control_keep(house.limits))


def come(house: House, user: str, *channels: str, transport: str = "websocket") -> StubClient:
    client = house.client(transport, {"USER": user})
    client.token = client.hello()["token"]
    for number, channel in enumerate(channels, 2):
        take(client, client.send({"type": "subscribe", "channel": channel, "id": number}))
    return client


def take(client: StubClient, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for message in messages:
        client.token = message.get("token", client.token)
    return [message for message in messages if message["type"] != "token"]


def ended(messages: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(each["channel"], each["code"]) for each in messages if each["type"] == "unsubscribed"]


def test_living_subscriptions_end(house: House):
    ada, bob = come(house, "ada", "rooms/blue", "rooms/red", "news"), come(house, "bob", "rooms/blue")
    revoke(house, user="ada", channel="rooms/blue")
    assert ended(take(ada, ada.take())) == [("rooms/blue", 104)]
    assert bob.take() == [] and {each.channel for each in ada.session.subscriptions} == {"rooms/red", "news"}
    house.publish("rooms/blue", 1)
    house.publish("rooms/red", 2)
    assert [each["channel"] for each in ada.take()] == ["rooms/red"]


def test_everywhere_but_in_public(house: House):
    ada = come(house, "ada", "rooms/blue", "rooms/red", "news")
    revoke(house, user="ada")
    assert {channel for channel, _ in ended(ada.take())} == {"rooms/blue", "rooms/red"}
    assert {each.channel for each in ada.session.subscriptions} == {"news"}


def test_a_family(house: House):
    ada = come(house, "ada", "rooms/blue", "news")
    revoke(house, user="ada", channel="rooms/{name}")
    assert ended(ada.take()) == [("rooms/blue", 104)]


@pytest.mark.parametrize("transport", ["websocket", "eventstream", "longpoll"])
def test_a_session_ends(house: House, transport: str):
    ada, bob = come(house, "ada", "news", transport=transport), come(house, "bob", transport=transport)
    revoke(house, user="ada", code=4303)
    house.loop.run()
    assert ada.ended is not None and ada.ended[0] == 4303 and bob.ended is None
    again = house.client(transport, {"USER": "ada"})
    again.send({"type": "hello", "id": 1, "version": 1, "instance": "instance-1", "token": ada.token})
    assert again.ended is not None and again.ended[0] == 4303
    fresh = house.client(transport, {"USER": "ada"})
    assert fresh.hello()["resumed"] is False


def test_a_grant_in_a_token_is_asked_for_anew(house: House):
    ada = come(house, "ada", "rooms/blue", "rooms/red")
    ada.session.close()
    revoke(house, user="ada", channel="rooms/blue")
    house.loop.run()
    asked = house.asked
    again = house.client("shortpoll", {"USER": "ada"})
    assert again.hello(ada.token)["resumed"] is True
    house.members.discard(("ada", "rooms/blue"))
    again.send({"type": "subscribe", "channel": "rooms/red", "id": 2})
    assert house.asked == asked
    (refused, *_) = again.send({"type": "subscribe", "channel": "rooms/blue", "id": 3})
    assert refused["code"] == 104 and house.asked == asked + 1


def test_who_is_still_a_member_may_come_back_at_once(house: House):
    ada = come(house, "ada", "rooms/blue")
    revoke(house, user="ada", channel="rooms/blue")
    ada.take()
    reply = ada.send({"type": "subscribe", "channel": "rooms/blue", "id": 9})[0]
    assert reply["type"] == "subscribed"
    house.loop.advance(SKEW / 2)
    house.publish("rooms/blue", 1)
    assert [each["type"] for each in ada.take()] == ["publications"]


def test_authorize_that_was_asked_before_does_not_win(house: House):
    """It looks, the member is put out and the grant taken back, then its answer arrives."""

    def during() -> None:
        house.during = lambda: None
        house.members.discard(("ada", "rooms/blue"))
        revoke(house, user="ada", channel="rooms/blue")

    house.during = during
    ada = house.client(environ={"USER": "ada"})
    ada.hello()
    messages = ada.send({"type": "subscribe", "channel": "rooms/blue", "id": 2})
    assert ended(messages) == [("rooms/blue", 104)] or messages[0]["code"] == 104
    assert not ada.session.subscriptions and not ada.session.known_identity.grants()


def test_authorize_that_is_asked_while_it_is_heard_is_asked_again(house: House):
    def during() -> None:
        house.during = lambda: None
        house.members.discard(("ada", "rooms/blue"))
        revoke(house, user="ada", channel="rooms/blue")
        house.loop.run_calls()
        house.loop.run_calls()

    house.during = during
    ada = house.client(environ={"USER": "ada"})
    ada.hello()
    refused = ada.send({"type": "subscribe", "channel": "rooms/blue", "id": 2})[0]
    assert refused["code"] == 104 and house.asked == 2


def test_a_renewal_that_was_asked_before_does_not_win(house: House):
    ada = come(house, "ada", "rooms/blue")

    def during() -> None:
        house.during = lambda: None
        house.members.discard(("ada", "rooms/blue"))
        revoke(house, user="ada", channel="rooms/blue")

    house.during = during
    house.loop.advance(house.limits.token_ttl * 0.95)
    assert ended(ada.take()) == [("rooms/blue", 104)]
    assert "rooms/blue" not in ada.session.known_identity.grants()


def test_authenticate_that_was_asked_before_does_not_win(house: House):
    authenticate = house.site.authenticate

    def during(environ: Any) -> object:
        revoke(house, user="ada", code=4303)
        return authenticate(environ)

    house.site.authenticate = during
    ada = house.client(environ={"USER": "ada"})
    ada.send({"type": "hello", "id": 1, "version": 1, "instance": "instance-1"})
    assert ada.ended is not None and ada.ended[0] == 4303


def test_a_process_that_begins_knows_what_still_matters(house: House):
    ada = come(house, "ada", "rooms/blue")
    for _ in range(150):
        revoke(house, user="somebody")
    revoke(house, user="ada", channel="rooms/blue")
    house.members.clear()
    second = second_process(house)
    again = second.client("shortpoll", {"USER": "ada"})
    again.hello(ada.token)
    assert again.send({"type": "subscribe", "channel": "rooms/blue", "id": 3})[0]["code"] == 104
    assert len(second.services.revocations.list) == 151


def second_process(first: House) -> House:
    """Another process on the same bus; it hears what the first one no longer does."""
    second = club(first.limits)
    second.members = first.members
    second.loop, second.bus = first.loop, first.bus
    rebuilt = House.__new__(House)
    rebuilt.__dict__.update(second.__dict__)
    from rtbridge.fanout import Fanout
    from rtbridge.session.access import Access
    from rtbridge.session.services import Services

    rebuilt.fanout = Fanout(first.bus, first.loop, first.limits, second.metrics)
    first.bus.listen(rebuilt.fanout)
    rebuilt.access = Access(second.site, None, first.access.tokens, first.limits, first.loop.now)
    old = second.services
    rebuilt.services = Services(
        second.registry, rebuilt.access, first.bus, rebuilt.fanout, first.loop, old.calls, second.hooks,
        first.limits, second.metrics,
    )  # fmt: skip
    return rebuilt


def test_more_than_are_kept_means_that_nobody_is_trusted():
    house = club(Limits(revocations=20))
    ada = come(house, "ada", "rooms/blue")
    house.loop.advance(10)
    revoke(house, user="ada", channel="rooms/blue")
    for _ in range(30):
        revoke(house, user="somebody")
    second = second_process(house)
    assert second.access.recall(ada.token, {"USER": "ada"}) is None
    house.loop.advance(SKEW + 1)
    fresh = come(second, "bob")
    assert second.access.recall(fresh.token, {"USER": "bob"}) is not None


def test_a_process_that_fell_behind_asks_everybody_anew(house: House):
    ada = come(house, "ada", "rooms/blue", "rooms/red")
    log = house.bus._logs[CONTROL]
    log.epoch, log.last = "another", 0
    house.members.discard(("ada", "rooms/blue"))
    revoke(house, user="somebody")
    house.loop.run()
    assert house.access.recall(ada.token, {"USER": "ada"}) is None
    house.loop.advance(11)
    assert ended(ada.take()) == [("rooms/blue", 104)]


def test_who_is_cut_off_grants_nothing_and_access_ends_by_expiry(house: House):
    ada = come(house, "ada", "rooms/blue")
    revocations = house.services.revocations
    house.bus.blocking = True

    def gone(*_: object) -> None:
        raise BusUnavailable("out of reach")

    house.bus.position = house.bus.positions = gone
    house.loop.advance(house.limits.cut_off + 1)
    assert not revocations.trusted
    (refused, *_) = ada.send({"type": "subscribe", "channel": "rooms/red", "id": 5})
    assert refused["code"] == 200
    house.loop.advance(house.limits.token_ttl * 1.2)
    assert ada.ended is not None or ada.session.subscription_to("rooms/blue") is None


class Machine(RuleBasedStateMachine):
    """Members come and go, tokens are kept and tried again later, the clock goes on: nobody reads what is not theirs.

    The rule of the application: whoever is put out is put out of the database first, then revoked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.house = club(Limits(token_ttl=60.0))
        self.tokens: dict[str, list[str]] = {"ada": [], "bob": []}
        self.alive: list[tuple[str, StubClient]] = []

    users = st.sampled_from(["ada", "bob"])
    rooms = st.sampled_from(["rooms/blue", "rooms/red"])

    @rule(
        user=users, transport=st.sampled_from(["websocket", "longpoll"]), old=st.integers(0, 20), room=rooms
    )
    def come(self, user: str, transport: str, old: int, room: str) -> None:
        client = self.house.client(transport, {"USER": user})
        tokens = self.tokens[user]
        token = tokens[old % len(tokens)] if tokens and old < 15 else None
        hello = client.send(
            {"type": "hello", "id": 1, "version": 1, "instance": f"instance-{len(tokens)}"}
            | ({} if token is None else {"token": token})
        )
        if client.ended is not None:
            return
        client.token = hello[0].get("token", token)
        messages = take(client, client.send({"type": "subscribe", "channel": room, "id": 2}))
        allowed = (user, room) in self.house.members
        assert (messages[0]["type"] == "subscribed") == allowed
        tokens.append(client.token)
        self.alive.append((user, client))

    @rule(user=users, room=rooms)
    def put_out(self, user: str, room: str) -> None:
        self.house.members.discard((user, room))
        revoke(self.house, user=user, channel=room)
        self.house.loop.run()

    @rule(user=users, room=rooms)
    def let_in(self, user: str, room: str) -> None:
        self.house.members.add((user, room))

    @rule(user=users)
    def disconnect(self, user: str) -> None:
        revoke(self.house, user=user, code=4303)
        self.house.loop.run()
        assert all(client.ended for owner, client in self.alive if owner == user)
        self.alive = [(owner, client) for owner, client in self.alive if owner != user]

    @rule(seconds=st.sampled_from([0.5, 3.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.house.loop.advance(seconds)

    @invariant()
    def nobody_follows_what_is_not_theirs(self) -> None:
        self.alive = [(user, client) for user, client in self.alive if client.ended is None]
        for user, client in self.alive:
            assert {(user, each.channel) for each in client.session.subscriptions} <= self.house.members

    def teardown(self) -> None:
        assert self.house.loop.errors == []


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
