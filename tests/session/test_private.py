"""`~me`: letters reach whom they are for and nobody else, over sockets and polls, and none is lost silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtbridge.config import Limits
from rtbridge.protocol.private import PRIVATE, Note, Question
from rtbridge.session.addresses import (
    MAILBOXES,
    client_address,
    mailbox_channel,
    mailbox_of_client,
    mailbox_of_user,
    new_client_id,
    user_address,
)
from rtbridge.session.mail import mail_keep, sealed
from support.house import House, StubClient


def write(house: House, user: str, value: object) -> None:
    from rtbridge.protocol.data import encode

    mail = sealed(user_address(user), Note("user", encode(value)))
    house.bus.publish(mailbox_channel(mailbox_of_user(user)), mail, mail_keep(house.limits))


def write_client(house: House, client_id: str, value: object) -> None:
    from rtbridge.protocol.data import encode

    mail = sealed(client_address(client_id), Note("client", encode(value)))
    house.bus.publish(mailbox_channel(mailbox_of_client(client_id)), mail, mail_keep(house.limits))


def follow(house: House, user: str | None, transport: str = "websocket", **fields: Any) -> StubClient:
    client = house.client(transport, {} if user is None else {"USER": user})
    client.hello(instance=f"instance-{id(client)}"[:40])
    client.send({"type": "subscribe", "channel": PRIVATE, "id": 2, **fields})
    return client


def letters(messages: list[dict[str, Any]]) -> list[object]:
    found: list[object] = []
    for message in messages:
        if message["type"] == "gap":
            found.append("gap")
        for publication in message.get("publications", ()):
            found.append(publication["data"]["data"])
    return found


def test_a_client_and_its_user_share_a_mailbox():
    for user in (None, "7", "ada", "ü"):
        client_id = new_client_id(user)
        assert 0 <= mailbox_of_client(client_id) < MAILBOXES
        if user is not None:
            assert mailbox_of_client(client_id) == mailbox_of_user(user)
    assert len({mailbox_of_user(str(number)) for number in range(500)}) == MAILBOXES
    assert mailbox_of_client("something else") == mailbox_of_client("something else")
    assert user_address("7") != client_address("7")


def test_letters_reach_all_tabs_of_a_user_and_nobody_else():
    house = House()
    first, second, other, nobody = (follow(house, user) for user in ("ada", "ada", "bob", None))
    write(house, "ada", {"unread": 3})
    write_client(house, second.session.known_identity.client_id, "only you")
    assert letters(first.take()) == [{"unread": 3}]
    assert letters(second.take()) == [{"unread": 3}, "only you"]
    assert other.take() == nobody.take() == []


def test_everybody_in_one_mailbox_still_gets_only_their_own():
    house = House()
    users = [str(number) for number in range(200) if mailbox_of_user(str(number)) == 5][:6]
    clients = {user: follow(house, user) for user in users}
    for number in range(30):
        write(house, users[number % 6], number)
    for index, user in enumerate(users):
        assert letters(clients[user].take()) == list(range(index, 30, 6))


def test_nobody_can_read_a_mailbox_by_its_name():
    house = House()
    client = follow(house, "ada")
    channel = mailbox_channel(mailbox_of_user("ada"))
    (reply,) = client.send({"type": "subscribe", "channel": channel, "id": 3})
    assert reply["code"] == 104


def test_the_reply_brings_what_came_while_the_client_was_away():
    house = House()
    client = follow(house, "ada")
    start = client.session.private.position
    client.session.close()
    write(house, "ada", 1)
    write(house, "somebody else", 2)
    write(house, "ada", 3)
    again = house.client(environ={"USER": "ada"})
    again.hello()
    (reply,) = again.send({"type": "subscribe", "channel": PRIVATE, "id": 2, "position": str(start)})
    assert (reply["keep"], reply["recovered"], letters([reply])) == ("private", True, [1, 3])
    assert again.take() == []


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
def test_a_position_that_is_no_longer_kept_is_a_gap(transport: str):
    house = House(Limits(mailbox_size=5, tail_publications=3))
    client = follow(house, "ada")
    start = client.session.private.position
    client.session.close()
    for number in range(9):
        write(house, "ada", number)
    again = house.client(transport, {"USER": "ada"})
    again.hello()
    (reply,) = again.send({"type": "subscribe", "channel": PRIVATE, "id": 2, "position": str(start)})
    assert reply["recovered"] is False and reply["publications"] == []
    write(house, "ada", "later")
    assert letters(again.take()) == ["later"]


def test_a_forgotten_mailbox_is_a_gap_for_who_is_connected():
    house = House()
    client = follow(house, "ada")
    write(house, "ada", 1)
    assert letters(client.take()) == [1]
    log = house.bus._logs[mailbox_channel(mailbox_of_user("ada"))]
    log.epoch, log.last = "another", 0
    log.entries.clear()
    write(house, "ada", 2)
    assert letters(client.take()) == ["gap"]
    write(house, "ada", 3)
    assert letters(client.take()) == [3]


def test_a_slow_reader_costs_a_position():
    house = House(Limits(tail_publications=10, mailbox_size=50))
    client = follow(house, "ada")
    client.blocked = True
    for number in range(40):
        write(house, "ada", number)
        house.loop.run()
    assert client.session.unsent == 0
    assert letters(client.unblock()) == list(range(40))


def test_the_cursor_moves_on_while_others_get_mail():
    house = House(Limits(mailbox_size=20))
    client = follow(house, "ada")
    other = next(str(n) for n in range(100) if mailbox_of_user(str(n)) == mailbox_of_user("ada"))
    for number in range(60):
        write(house, other, number)
        house.loop.run()
    moves = client.take()
    assert moves and all(message["publications"] == [] for message in moves)
    assert len(moves) < 20
    client.session.close()
    again = house.client(environ={"USER": "ada"})
    again.hello()
    (reply,) = again.send(
        {"type": "subscribe", "channel": PRIVATE, "id": 2, "position": moves[-1]["position"]}
    )
    assert reply["recovered"] is True


def test_the_cursor_moves_on_in_time():
    house = House(Limits(mailbox_ttl=100.0, token_ttl=3_000.0))
    client = follow(house, "ada")
    other = next(str(n) for n in range(100) if mailbox_of_user(str(n)) == mailbox_of_user("ada"))
    write(house, other, 1)
    assert client.take() == []
    house.loop.advance(26)
    (move,) = client.take()
    assert move["publications"] == [] and move["channel"] == PRIVATE
    house.loop.advance(180)
    assert client.take() == []


def test_a_question_that_has_expired_is_not_delivered():
    house = House()
    client = follow(house, "ada")
    start = client.session.private.position
    client.session.close()
    client_id = client.session.known_identity.client_id
    for until in (house.loop.now() + 5, house.loop.now() + 50):
        mail = sealed(client_address(client_id), Question("q" * 16, "n", int(until)))
        house.bus.publish(mailbox_channel(mailbox_of_client(client_id)), mail, mail_keep(house.limits))
    house.loop.advance(20)
    again = StubClient(house, "websocket", {"USER": "ada"})
    token = house.access.token_for(client.session.known_identity)
    again.hello(token)
    (reply,) = again.send({"type": "subscribe", "channel": PRIVATE, "id": 2, "position": str(start)})
    assert [each["data"]["until"] for each in reply["publications"]] == [int(until)]
    assert house.bus.get("asked:" + "q" * 16) == b"1"


def test_leaving_and_coming_back():
    house = House()
    client = follow(house, "ada")
    assert client.send({"type": "subscribe", "channel": PRIVATE, "id": 3})[0]["code"] == 109
    assert client.send({"type": "unsubscribe", "channel": PRIVATE, "id": 4}) == [
        {"type": "unsubscribed", "id": 4, "channel": PRIVATE}
    ]
    assert client.send({"type": "unsubscribe", "channel": PRIVATE, "id": 5})[0]["code"] == 110
    write(house, "ada", 1)
    assert client.take() == []
    client.send({"type": "subscribe", "channel": PRIVATE, "id": 6})
    write(house, "ada", 2)
    assert letters(client.take()) == [2]


def test_nothing_is_kept_for_who_left():
    house = House()
    clients = [follow(house, str(number)) for number in range(50)]
    for client in clients:
        client.session.close()
    assert all(not box.places for box in house.services.mailboxes._boxes.values())


class Machine(RuleBasedStateMachine):
    """Three users in one mailbox, each with a socket that comes, goes and stops reading: a plain list is the model."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House(Limits(mailbox_size=12, tail_publications=6, page_publications=4, tail_prime=3))
        numbers = (str(number) for number in range(500))
        self.users = [user for user in numbers if mailbox_of_user(user) == 3][:3]
        self.clients: dict[str, StubClient | None] = dict.fromkeys(self.users)
        self.cursor: dict[str, str | None] = dict.fromkeys(self.users)
        self.written: list[tuple[str, int]] = []
        self.seen: dict[str, list[object]] = {user: [] for user in self.users}

    def take(self, user: str, messages: list[Mapping[str, Any]]) -> None:
        for message in messages:
            if message.get("channel") != PRIVATE:
                continue
            if message["type"] == "gap" or message.get("recovered") is False:
                self.seen[user].append("gap")
            self.seen[user] += [each["data"]["data"] for each in message.get("publications", ())]
            self.cursor[user] = message["position"]

    @rule(who=st.integers(0, 2), count=st.integers(1, 8))
    def write(self, who: int, count: int) -> None:
        for _ in range(count):
            number = len(self.written)
            self.written.append((self.users[who], number))
            write(self.house, self.users[who], number)

    @rule(who=st.integers(0, 2), with_id=st.booleans(), transport=st.sampled_from(["websocket", "longpoll"]))
    def come(self, who: int, with_id: bool, transport: str) -> None:
        user = self.users[who]
        if self.clients[user] is not None:
            return
        client = self.clients[user] = self.house.client(transport, {"USER": user})
        client.hello()
        if self.cursor[user] is None:
            with_id = True
            self.seen[user].append(("from", len(self.written)))
        command = {"type": "subscribe", "channel": PRIVATE}
        if with_id:
            command["id"] = 2
        if self.cursor[user] is not None:
            command["position"] = self.cursor[user]
        self.take(user, client.send(command))

    @rule(who=st.integers(0, 2))
    def go(self, who: int) -> None:
        user = self.users[who]
        client = self.clients[user]
        if client is not None:
            client.session.close()
            self.clients[user] = None

    @rule(who=st.integers(0, 2))
    def block(self, who: int) -> None:
        client = self.clients[self.users[who]]
        if client is not None:
            client.blocked = True

    @rule(who=st.integers(0, 2))
    def look(self, who: int) -> None:
        user = self.users[who]
        client = self.clients[user]
        if client is not None:
            self.take(user, client.unblock())

    @rule()
    @precondition(lambda self: self.written)
    def time(self) -> None:
        self.house.loop.advance(61)

    @invariant()
    def nobody_sees_what_is_for_others_or_anything_twice(self) -> None:
        for user, seen in self.seen.items():
            numbers = [item for item in seen if isinstance(item, int)]
            assert numbers == sorted(set(numbers))
            assert all(self.written[number][0] == user for number in numbers)

    def teardown(self) -> None:
        for who, user in enumerate(self.users):
            self.come(who, True, "websocket")
            self.look(who)
            seen = self.seen[user]
            first = seen[0]
            assert isinstance(first, tuple)
            own = [number for owner, number in self.written if owner == user and number >= first[1]]
            # Between two gaps nothing is missing: what is missing lies before a gap.
            lost = [number for number in own if number not in seen]
            for number in lost:
                later = [item for item in seen if isinstance(item, int) and item > number]
                place = seen.index(later[0]) if later else len(seen)
                assert "gap" in seen[:place], (number, seen)
                earlier = [
                    index for index, item in enumerate(seen) if isinstance(item, int) and item < number
                ]
                start = earlier[-1] if earlier else 0
                assert "gap" in seen[start:place], (number, seen)
        assert self.house.loop.errors == []


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
