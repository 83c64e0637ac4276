"""Presence: who is on a channel is told to whoever asks, whatever connections and processes do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from rtbridge.config import Limits
from rtbridge.protocol.presence import Roster, parse_snapshot, parse_telling, presence_channel
from support.cluster import Cluster
from support.house import House, StubClient

SOON = 0.25  # more than the window
CHANNEL = "rooms/blue"


def rooms(house: House) -> None:
    channel = house.channel("rooms/{name}", presence=True)
    channel.authorize(lambda ctx, name: name != "secret")
    channel.presence_info(lambda ctx, name: {"name": f"{ctx.user_id} in {name}"} if ctx.user_id else None)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(set_up=rooms)


def come(
    house: House, user: str | None, transport: str = "websocket", instance: str = "instance-1", **fields: Any
) -> StubClient:
    client = house.client(transport, {} if user is None else {"USER": user})
    client.hello(fields.pop("token", None), instance=instance)
    client.replies = client.send({"type": "subscribe", "channel": CHANNEL, "id": 2, **fields})
    return client


class Watcher:
    """Follows the presence of the channel as the protocol's page says, over a socket that may come again elsewhere."""

    def __init__(self, house: House) -> None:
        self.roster = Roster()
        self.position: str | None = None
        self.keys: set[str] = set()
        self.joined: list[str] = []
        self.left: list[str] = []
        self.gaps = 0
        self.connect(house)

    def connect(self, house: House) -> None:
        self.client = house.client(environ={"USER": "watcher"})
        self.client.hello()
        command = {"type": "subscribe", "channel": presence_channel(CHANNEL), "id": 2, "snapshot": True}
        if self.position is not None:
            command["position"] = self.position
        self.take(self.client.send(command))

    def look(self) -> dict[str, dict[str, Any]]:
        self.take(self.client.take())
        return {
            key: {"info": dict(person.info), "data": dict(person.data), "tabs": person.tabs}
            for key, person in self.roster.people().items()
        }

    def take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message["type"] == "snapshot":
                self.gaps += message.get("recovered") is False
                self.roster = Roster(parse_snapshot(message["data"]))
            for publication in message.get("publications", ()):
                self.roster.apply(parse_telling(publication["data"]))
            if "position" in message and not message.get("snapshot"):
                self.position = message["position"]
            now = set(self.roster.people())
            self.joined += sorted(now - self.keys)
            self.left += sorted(self.keys - now)
            self.keys = now


def test_joining_changing_and_leaving(cluster: Cluster):
    house = cluster.worker()
    watcher = Watcher(house)
    assert watcher.look() == {}
    ada = come(house, "ada", presence={"typing": False})
    come(house, None)
    cluster.run(SOON)
    found = watcher.look()
    assert found["user:ada"] == {"info": {"name": "ada in blue"}, "data": {"typing": False}, "tabs": 1}
    assert len(found) == 2 and watcher.roster.count == 2 and watcher.roster.complete
    assert ada.send({"type": "presence", "id": 5, "channel": CHANNEL, "data": {"typing": True}}) == [
        {"type": "done", "id": 5}
    ]
    cluster.run(SOON)
    assert watcher.look()["user:ada"]["data"] == {"typing": True}
    ada.send({"type": "unsubscribe", "channel": CHANNEL})
    cluster.run(SOON)
    assert "user:ada" not in watcher.look() and watcher.left == ["user:ada"]


def test_tabs_of_one_user_on_two_workers_are_one_person(cluster: Cluster):
    one, two = cluster.worker(), cluster.worker()
    watcher = Watcher(two)
    first = come(one, "ada", presence={"a": 1, "at": "home"})
    cluster.run(SOON)
    second = come(two, "ada", instance="instance-2", presence={"b": 2, "at": "work"})
    cluster.run(SOON)
    assert watcher.look()["user:ada"] == {
        "info": {"name": "ada in blue"}, "data": {"a": 1, "b": 2, "at": "work"}, "tabs": 2,
    }  # fmt: skip
    second.send({"type": "unsubscribe", "channel": CHANNEL})
    cluster.run(SOON)
    assert watcher.look()["user:ada"]["data"] == {"a": 1, "at": "home"}
    first.session.close()
    cluster.run(4)
    assert (watcher.look(), watcher.joined, watcher.left) == ({}, ["user:ada"], ["user:ada"])


def test_a_socket_that_comes_back_in_time_never_left(cluster: Cluster):
    one, two = cluster.worker(), cluster.worker()
    watcher = Watcher(one)
    ada = come(one, "ada")
    token = one.access.token_for(ada.session.known_identity)
    cluster.run(SOON)
    ada.session.close()
    cluster.run(1)
    again = come(two, "ada", token=token)
    cluster.run(10)
    assert list(watcher.look()) == ["user:ada"] and watcher.left == []
    again.session.close()
    cluster.run(2)
    assert list(watcher.look()) == ["user:ada"]
    cluster.run(2)
    assert watcher.look() == {}


@pytest.mark.parametrize(("transport", "pause"), [("shortpoll", 5.0), ("longpoll", 0.5)])
def test_polls_are_held_until_the_next_should_have_come(cluster: Cluster, transport: str, pause: float):
    workers = [cluster.worker(), cluster.worker()]
    watcher = Watcher(workers[0])
    token = None
    for number in range(6):
        poll = come(workers[number % 2], "ada", transport, token=token, presence={"n": 1})
        token = workers[0].access.token_for(poll.session.known_identity)
        poll.session.close()
        cluster.run(pause)
        assert watcher.look()["user:ada"]["data"] == {"n": 1}
    assert watcher.left == []
    cluster.run(5)
    assert watcher.look() == {}


def test_a_worker_that_is_killed_takes_its_tabs_with_it(cluster: Cluster):
    one, two = cluster.worker(), cluster.worker()
    watcher = Watcher(two)
    come(one, "ada")
    come(two, "bob")
    cluster.run(10)
    assert set(watcher.look()) == {"user:ada", "user:bob"}
    cluster.kill(one)
    cluster.run(10)
    assert set(watcher.look()) == {"user:bob"} and watcher.left == ["user:ada"]
    assert cluster.bus.held(f"presence:{CHANNEL}").keys() == {two.services.presence._holder}


def test_nobody_watched_while_it_died(cluster: Cluster):
    one, two = cluster.worker(), cluster.worker()
    watcher = Watcher(two)
    come(one, "ada")
    cluster.run(1)
    watcher.look()
    watcher.client.session.close()
    cluster.run(100)
    cluster.kill(one)
    cluster.run(30)
    watcher.connect(two)
    cluster.run(1)
    assert watcher.look() == {} and watcher.gaps == 0


def test_a_worker_that_slept_comes_back_under_another_name(cluster: Cluster):
    one, two = cluster.worker(), cluster.worker()
    watcher = Watcher(two)
    come(one, "ada")
    cluster.run(10)
    holder = one.services.presence._holder
    one.bus.cut = True
    cluster.run(15)
    assert watcher.look() == {}
    one.bus.cut = False
    cluster.run(10)
    assert set(watcher.look()) == {"user:ada"} and one.services.presence._holder != holder


def test_a_bus_that_is_away_kills_nobody(cluster: Cluster):
    one, two = cluster.worker(), cluster.worker()
    watcher = Watcher(two)
    come(one, "ada")
    come(two, "bob")
    cluster.run(10)
    for link in cluster.links:
        link.cut = True
    cluster.run(20)
    for link in cluster.links:
        link.cut = False
    cluster.run(20)
    assert set(watcher.look()) == {"user:ada", "user:bob"} and watcher.left == []


def test_nobody_finds_an_instance_with_anothers_name(cluster: Cluster):
    """The names are shown to everybody, and instances are the client's to choose: 96 bits cannot be searched."""
    house = cluster.worker()
    watcher = Watcher(house)
    come(house, None)
    cluster.run(SOON)
    (key,) = watcher.look()
    assert len(key.removeprefix("tab:")) == 16


def test_too_many_are_only_counted():
    cluster = Cluster(Limits(presence_named=5), rooms)
    house = cluster.worker()
    watcher = Watcher(house)
    clients = [come(house, str(number), instance=f"instance-{number}") for number in range(8)]
    cluster.run(SOON)
    assert (watcher.look(), watcher.roster.count, watcher.roster.complete) == ({}, 8, False)
    assert Watcher(house).roster.count == 8
    for client in clients[:5]:
        client.send({"type": "unsubscribe", "channel": CHANNEL})
    cluster.run(SOON)
    assert (set(watcher.look()), watcher.roster.complete) == ({"user:5", "user:6", "user:7"}, True)


def test_one_user_with_hundreds_of_tabs_hides_nobody():
    cluster = Cluster(Limits(presence_named=5, presence_tabs=2), rooms)
    house = cluster.worker()
    watcher = Watcher(house)
    bob = come(house, "bob")
    clients = [
        come(house, "ada", instance=f"instance-{number}", presence={f"tab{number}": 1}) for number in range(30)
    ]
    cluster.run(SOON)
    seen = watcher.look()
    assert (set(seen), watcher.roster.complete) == ({"user:ada", "user:bob"}, True)
    assert seen["user:ada"]["tabs"] == 2 and seen["user:ada"]["data"] == {"tab0": 1, "tab1": 1}
    assert Watcher(house).look() == seen
    clients[0].send({"type": "unsubscribe", "channel": CHANNEL})  # another tab is named in its place
    clients[7].send({"type": "unsubscribe", "channel": CHANNEL})  # nobody knew of this one
    cluster.run(SOON)
    assert watcher.look()["user:ada"]["data"] == {"tab1": 1, "tab2": 1}
    for client in [*clients[1:7], *clients[8:]]:
        client.send({"type": "unsubscribe", "channel": CHANNEL})
    cluster.run(SOON)
    assert set(watcher.look()) == {"user:bob"}
    bob.send({"type": "unsubscribe", "channel": CHANNEL})
    cluster.run(SOON)
    assert (watcher.look(), watcher.left) == ({}, ["user:ada", "user:bob"])


def test_who_may_not_follow_the_channel_may_not_see_who_does(cluster: Cluster):
    client = cluster.worker().client()
    client.hello()
    for channel in ("~presence/rooms/secret", "~presence/nothing", "~presence/rooms"):
        assert client.send({"type": "subscribe", "channel": channel, "id": 3})[0]["code"] == 104


def test_what_a_tab_may_say(cluster: Cluster):
    house = cluster.worker()
    client = come(house, "ada", presence={"x": "y" * 2000})
    assert client.replies[0]["code"] == 108
    assert client.send({"type": "presence", "id": 3, "channel": CHANNEL, "data": {}})[0]["code"] == 110
    client.send({"type": "subscribe", "channel": CHANNEL, "id": 4})
    big = {"type": "presence", "id": 5, "channel": CHANNEL, "data": {"x": "y" * 2000}}
    assert client.send(big)[0]["code"] == 108


def test_a_burst_is_told_in_one_go(cluster: Cluster):
    house = cluster.worker()
    watcher = Watcher(house)
    for number in range(20):
        come(house, str(number), instance=f"instance-{number}")
    cluster.run(SOON)
    assert cluster.bus.position(presence_channel(CHANNEL)).offset <= 2
    assert len(watcher.look()) == 20


def test_a_quiet_channel_costs_one_heartbeat(cluster: Cluster):
    """However many tabs there are: two calls of the bus for each beat."""
    house = cluster.worker()
    for number in range(50):
        come(house, str(number), instance=f"instance-{number}")
    cluster.run(10)
    calls: list[str] = []
    call = house.bus._call
    house.bus._call = lambda name: calls.append(name) or call(name)
    cluster.run(6)
    assert 2 * 2 <= len(calls) <= 2 * 4, calls


class Machine(RuleBasedStateMachine):
    """Two workers, of which one may be killed and another begins; users with a socket each; one who watches."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(set_up=rooms)
        self.workers = [self.cluster.worker(), self.cluster.worker()]
        self.alive: dict[tuple[str, int], tuple[House, StubClient]] = {}
        self.data: dict[tuple[str, int], dict[str, Any]] = {}
        self.watcher = Watcher(self.workers[0])
        self.watched_by = self.workers[0]

    users = st.sampled_from(["ada", "bob", "cy"])
    tabs = st.integers(1, 2)
    which = st.integers(0, 1)

    @rule(user=users, tab=tabs, which=which, said=st.sampled_from([{}, {"x": 1}, {"y": 2}]))
    def come(self, user: str, tab: int, which: int, said: Mapping[str, Any]) -> None:
        if (user, tab) in self.alive:
            return
        house = self.workers[which]
        self.alive[user, tab] = house, come(house, user, instance=f"instance-{tab}", presence=dict(said))
        self.data[user, tab] = dict(said)

    @rule(user=users, tab=tabs, said=st.sampled_from([{}, {"x": 3}]))
    def say(self, user: str, tab: int, said: Mapping[str, Any]) -> None:
        if (user, tab) in self.alive:
            _, client = self.alive[user, tab]
            client.send({"type": "presence", "channel": CHANNEL, "data": dict(said)})
            self.data[user, tab] = dict(said)

    @rule(user=users, tab=tabs, politely=st.booleans())
    def go(self, user: str, tab: int, politely: bool) -> None:
        if (user, tab) in self.alive:
            _, client = self.alive.pop((user, tab))
            if politely:
                client.send({"type": "unsubscribe", "channel": CHANNEL})
            client.session.close()

    @rule(which=which)
    def kill(self, which: int) -> None:
        dead = self.workers[which]
        self.cluster.kill(dead)
        self.alive = {key: found for key, found in self.alive.items() if found[0] is not dead}
        self.workers[which] = self.cluster.worker()
        if self.watched_by is dead:
            self.watcher.client.session.close()
            self.watched_by = self.workers[which]
            self.watcher.connect(self.watched_by)

    @rule(which=which)
    def watch_elsewhere(self, which: int) -> None:
        self.watcher.look()
        self.watcher.client.session.close()
        self.watched_by = self.workers[which]
        self.watcher.connect(self.watched_by)

    @rule(seconds=st.sampled_from([0.25, 2.0]))
    def wait(self, seconds: float) -> None:
        self.cluster.run(seconds)

    @rule()
    def settle(self) -> None:
        self.cluster.run(16)
        found = self.watcher.look()
        expected = {f"user:{user}" for user, _ in self.alive}
        assert set(found) == expected
        for user in {user for user, _ in self.alive}:
            own = [self.data[key] for key in self.alive if key[0] == user]
            assert found[f"user:{user}"]["tabs"] == len(own)
            assert found[f"user:{user}"]["data"].keys() == set().union(*own)

    def teardown(self) -> None:
        self.settle()
        assert self.cluster.loop.errors == []


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
