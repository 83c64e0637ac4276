"""What a server says to people, from anywhere: letters, rooms and questions, on a bridge that serves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rtbridge import (
    AskFailed,
    AskTimeout,
    Bridge,
    ClientGone,
    DataError,
    DeclarationError,
    Limits,
    RealtimeMiddleware,
)
from rtbridge.protocol.private import PRIVATE
from support.inprocess import HELLO, PATIENCE, Background, Client, close, subscribe

ONE_FOR_EACH = "Thread-1 (process_request_thread)"
"""The name of a thread of a server that has one for each request, so that any number may park."""


@dataclass
class Note:
    text: str


class Tab:
    """A client that polls: it keeps its token and its cursor, and what came in `~me`."""

    def __init__(self, bridge: Bridge, user: str | None = None, instance: str = "instance-1") -> None:
        self.client = Client(RealtimeMiddleware(nothing, bridge))
        self.headers = {} if user is None else {"X_User": user}
        self.hello = {**HELLO, "instance": instance}
        self.position: str | None = None
        self.letters: list[dict[str, Any]] = []
        self.client_id = ""
        self.poll()

    def poll(self, *commands: Any, wait: float = 0) -> list[dict[str, Any]]:
        first = self.position is None
        me = subscribe(PRIVATE, self.position, **({"id": 2} if first else {}))
        answer = self.client.poll(self.hello, me, *commands, wait=wait, **self.headers)["messages"]
        for message in answer:
            if "token" in message:
                self.hello["token"] = message["token"]
                self.client_id = message.get("client_id", self.client_id)
            if message.get("channel") == PRIVATE:
                self.letters += [each["data"] for each in message["publications"]]
                self.position = message["position"]
        return answer

    def until(self, type_: str) -> dict[str, Any]:
        """Poll until a letter of this type came."""
        for _ in range(10):
            for letter in self.letters:
                if letter["type"] == type_:
                    self.letters.remove(letter)
                    return letter
            self.poll(wait=2)
        raise AssertionError(f"no letter {type_}")

    def answer(self, **fields: Any) -> Background:
        """In the background: take the next question and answer it."""

        def run() -> list[dict[str, Any]]:
            question = self.until("call")
            return self.poll({"type": "answer", "id": 9, "ask_id": question["ask_id"], **fields})

        return Background(run)


def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []


Make = Callable[..., Bridge]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Bridge] = []

    def make(**limits: Any) -> Bridge:
        bridge = Bridge(
            lock_file=tmp_path / "lock",
            authenticate=lambda environ: environ.get("HTTP_X_USER"),
            limits=Limits(**limits),
        )
        made.append(bridge)
        return bridge

    yield make
    for bridge in made:
        close(bridge)


def test_a_letter_to_a_user_and_one_to_a_client(make: Make):
    bridge = make()
    tab, other, stranger = Tab(bridge, "7"), Tab(bridge, "7", "instance-2"), Tab(bridge, "8", "instance-3")
    published = bridge.user(7).publish(Note("hello"))
    bridge.client(other.client_id).publish({"raw": b"\xff"})
    assert published.position is not None and repr(bridge.user(7)) == "<user '7'>"
    for each in (tab, other, stranger):
        each.poll()
    note = {"type": "data", "to": "user", "data": {"text": "hello"}}
    assert tab.letters == [note]
    assert other.letters == [note, {"type": "data", "to": "client", "data": {"raw": {"$bytes": "/w=="}}}]
    assert stranger.letters == []


def test_a_parked_poll_is_answered_by_a_letter(make: Make):
    bridge = make()
    tab = Tab(bridge, "7")
    parked = Background(lambda: tab.poll(wait=20))
    bridge.user("7").publish(1)
    parked.result()
    assert [letter["data"] for letter in tab.letters] == [1]


def test_the_same_key_is_one_letter(make: Make):
    bridge = make()
    tab = Tab(bridge, "7")
    for _ in range(2):
        bridge.user("7").publish(1, key="once")
    tab.poll()
    assert len(tab.letters) == 1


def test_what_cannot_be_sent(make: Make):
    bridge = make(max_publication=100)
    with pytest.raises(DataError, match="max_publication"):
        bridge.user("7").publish("x" * 200)
    with pytest.raises(DataError):
        bridge.user("7").publish(object())
    with pytest.raises(DataError, match="no user"):
        bridge.user(None)


def test_being_put_into_a_channel_and_taken_out(make: Make):
    bridge = make()
    room = bridge.channel("rooms/{name}")
    tab, stranger = Tab(bridge, "7"), Tab(bridge, "8", "instance-2")
    want = subscribe("rooms/blue", id=3)
    assert tab.poll(want)[1]["code"] == 104
    bridge.subscribe("7", room(name="blue"))
    room(name="blue").publish("first")
    letter = tab.until("subscribe")
    assert letter["channel"] == "rooms/blue"
    subscribed = next(
        m for m in tab.poll({**want, "position": letter["position"]}) if m["type"] == "subscribed"
    )
    assert [each["data"] for each in subscribed["publications"]] == ["first"]
    assert stranger.poll(want)[1]["code"] == 104
    bridge.unsubscribe("7", "rooms/blue")
    assert tab.until("unsubscribe") == {"type": "unsubscribe", "channel": "rooms/blue"}
    assert Tab(bridge, "7", "instance-3").poll(want)[1]["code"] == 104


def test_putting_one_client_into_a_channel_from_a_call(make: Make):
    bridge = make()
    bridge.channel("games/{number:int}")

    @bridge.call("join")
    def join(ctx) -> None:
        bridge.client(ctx.client_id).subscribe("games/3")

    tab, other = Tab(bridge, "7"), Tab(bridge, "7", "instance-2")
    tab.poll({"type": "call", "id": 5, "call_id": "c" * 16, "name": "join"})
    assert tab.until("subscribe")["channel"] == "games/3"
    assert any(m["type"] == "subscribed" for m in tab.poll(subscribe("games/3", id=3))[1:])
    assert other.poll(subscribe("games/3", id=3))[1]["code"] == 104
    with pytest.raises(DeclarationError):
        bridge.subscribe("7", "nothing")


def test_asking_a_client(make: Make):
    bridge = make()
    tab = Tab(bridge, "7")
    answering = tab.answer(data={"choice": "left"})
    assert bridge.client(tab.client_id).call("pick", {"from": [1, 2]}) == {"choice": "left"}
    assert {"type": "done", "id": 9} in answering.result()


def test_the_params_reach_the_client(make: Make):
    bridge = make(ask_taken=0.2)
    tab = Tab(bridge, "7")
    with pytest.raises(ClientGone, match="pick"):
        bridge.client(tab.client_id).call("pick", {"from": [1, 2]}, timeout=5)
    question = tab.until("call")
    assert (question["name"], question["params"]) == ("pick", {"from": [1, 2]})


def test_a_client_that_fails(make: Make):
    bridge = make()
    tab = Tab(bridge, "7")
    tab.answer(code=105, message="nobody here knows pick")
    with pytest.raises(AskFailed, match="nobody here knows pick") as caught:
        bridge.client(tab.client_id).call("pick")
    assert caught.value.code == 105


def test_a_client_that_does_not_answer(make: Make):
    bridge = make()
    tab = Tab(bridge, "7")
    taking = Background(lambda: tab.until("call"))
    with pytest.raises(AskTimeout, match="did not answer"):
        bridge.client(tab.client_id).call("pick", timeout=0.7)
    taking.result()


def test_only_the_client_that_was_asked_can_answer_and_once(make: Make):
    bridge = make()
    tab, thief = Tab(bridge, "7"), Tab(bridge, "7", "instance-2")
    asking = Background(lambda: bridge.client(tab.client_id).call("pick", timeout=PATIENCE))
    ask_id = tab.until("call")["ask_id"]
    stolen = {"type": "answer", "id": 9, "ask_id": ask_id, "data": "stolen"}
    assert {"type": "done", "id": 9} in thief.poll(stolen)
    tab.poll({**stolen, "data": "mine"}, {**stolen, "id": 10, "data": "second thoughts"})
    assert asking.result() == "mine"
    assert {"type": "done", "id": 9} in tab.poll({**stolen, "data": "too late"})


def test_many_ask_at_once(make: Make):
    bridge = make()
    tabs = [Tab(bridge, str(number), f"instance-{number}") for number in range(5)]
    for number, tab in enumerate(tabs):
        tab.answer(data=number)
    found: dict[int, object] = {}

    def ask(number: int) -> None:
        found[number] = bridge.client(tabs[number].client_id).call("number")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == {number: number for number in range(5)}


def test_reserved_names(make: Make):
    bridge = make()
    with pytest.raises(DeclarationError, match="reserved"):
        bridge.channel("~me", public=True)
    anything = bridge.channel("{name}/{more}", public=True)
    with pytest.raises(DataError, match="reserved"):
        anything(name="~mail", more="3")
    tab = Tab(bridge)
    assert tab.poll(subscribe("~mail/3", id=3))[1]["code"] == 104
    assert tab.client.get("/rt/channels/~mail/3").status == 404
    assert tab.client.get("/rt/channels/~me").status == 404


def test_revoking_and_disconnecting(make: Make):
    bridge = make()
    members = {"7"}
    rooms = bridge.channel("rooms/{name}")
    rooms.authorize(lambda ctx, name: ctx.user_id in members)
    tab = Tab(bridge, "7")
    subscribed = next(m for m in tab.poll(subscribe("rooms/blue", id=3)) if m["type"] == "subscribed")
    follow = subscribe("rooms/blue", subscribed["position"])
    parked = Background(lambda: tab.poll(follow, wait=20), ONE_FOR_EACH)
    getting = Background(
        lambda: tab.client.get(
            "/rt/channels/rooms/blue?wait=20&after=" + subscribed["position"], **tab.headers
        ),
        ONE_FOR_EACH,
    )
    until(lambda: len(bridge.services().fanout._channels["rooms/blue"].readers) == 2)
    members.clear()
    bridge.revoke(user="7", channel=rooms)
    assert [m["code"] for m in parked.result() if m["type"] == "unsubscribed"] == [104]
    assert getting.result().status == 404
    until(lambda: [m["code"] for m in tab.poll(follow) if m["type"] == "unsubscribed"] == [104])
    bridge.disconnect(client=tab.client_id)
    until(lambda: [m["code"] for m in tab.poll() if m["type"] == "disconnect"] == [4303])
    for wrong in ({}, {"user": "7", "client": "c-1"}):
        with pytest.raises(DataError, match="whose"):
            bridge.revoke(**wrong)


def test_disconnecting_a_user_that_may_come_back(make: Make):
    bridge = make()
    tab = Tab(bridge, "7")
    parked = Background(lambda: tab.poll(wait=20))
    until(lambda: bridge.services().parked)
    bridge.disconnect(user="7", come_back=True)
    assert [m["code"] for m in parked.result() if m["type"] == "disconnect"] == [4100]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_who_is_on_a_channel(make: Make):
    bridge = make(presence_window=0.01)
    rooms = bridge.channel("rooms/{name}", presence=True)
    rooms.authorize(lambda ctx, name: True)
    rooms.presence_info(lambda ctx, name: {"name": ctx.user.upper()})
    assert rooms(name="blue").presence().people == ()
    tab = Tab(bridge, "ada")
    tab.poll(subscribe("rooms/blue", id=3, presence={"typing": True}))
    until(lambda: rooms(name="blue").presence().count)
    (person,) = rooms(name="blue").presence().people
    assert (person.user, person.info, person.data) == ("ada", {"name": "ADA"}, {"typing": True})
    answer = tab.client.get("/rt/channels/~presence/rooms/blue?snapshot=1", **tab.headers).json()
    (telling,) = answer["snapshot"]
    assert [each["user"] for each in telling["all"].values()] == ["ada"]
    with pytest.raises(DeclarationError, match="presence=True"):
        bridge.channel("news", public=True).presence()
    with pytest.raises(DeclarationError, match="presence"):
        bridge.channel("old", public=True, transport="shortpoll", presence=True)
