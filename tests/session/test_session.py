"""Sessions over a real bus and fanout, on a fake loop: commands, replies, pushes, gaps, endings."""

from __future__ import annotations

from typing import Any

import pytest

from rtbridge.bus.contract import History
from rtbridge.config import Limits
from support.house import House


@pytest.fixture
def house() -> House:
    house = House()
    house.channel("news", public=True, keep=History(5, ttl=3600))
    house.channel("price", public=True, keep="latest")
    house.channel("typing", public=True, keep="volatile")
    closed = house.channel("groups/{group_id:int}/photos")
    closed.authorize(lambda ctx, group_id: ctx.user == f"member-of-{group_id}")
    house.channel("slow", public=True, transport="shortpoll", every=7)
    house.channel("nobodys")
    return house


def subscribe(channel: str, **fields: Any) -> dict[str, Any]:
    return {"type": "subscribe", "id": 2, "channel": channel, **fields}


def offsets(message: dict[str, Any]) -> list[int]:
    return [publication["offset"] for publication in message["publications"]]


def test_nothing_goes_before_hello(house: House) -> None:
    client = house.client()
    (reply,) = client.send(subscribe("news"))
    assert (reply["type"], reply["code"], reply["id"]) == ("error", 103, 2)
    assert client.hello()["type"] == "hello"


def test_a_second_hello_is_refused(house: House) -> None:
    client = house.client()
    client.hello()
    (reply,) = client.send({"type": "hello", "id": 9, "version": 1, "instance": "instance-1"})
    assert (reply["code"], reply["id"]) == (103, 9)


def test_the_token_goes_on_with_the_session_without_authenticating(house: House) -> None:
    first = house.client(environ={"USER": "ann"}).hello()
    assert first["resumed"] is False and house.site.asked == 1
    second = house.client(environ={"USER": "ann"}).hello(first["token"])
    assert second["resumed"] is True and second["client_id"] == first["client_id"]
    assert house.site.asked == 1


def test_other_credentials_are_another_session(house: House) -> None:
    first = house.client(environ={"USER": "ann"}).hello()
    second = house.client(environ={"USER": "bob"}).hello(first["token"])
    assert second["resumed"] is False and second["client_id"] != first["client_id"]


def test_an_expired_token_authenticates_again_and_goes_on(house: House) -> None:
    first = house.client("longpoll", {"USER": "ann"}).hello()
    house.loop.advance(house.limits.token_ttl + 1)
    second = house.client(environ={"USER": "ann"}).hello(first["token"])
    assert second["resumed"] is True and second["client_id"] == first["client_id"]
    assert house.site.asked == 2


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é" * 10, "A" * 20_000])
def test_a_forged_token_is_a_new_session(house: House, token: str) -> None:
    assert house.client().hello(token)["resumed"] is False


def test_subscribing_without_a_position_begins_now(house: House) -> None:
    house.publish("news", "old")
    client = house.client()
    client.hello()
    (reply,) = client.send(subscribe("news"))
    assert (reply["type"], offsets(reply), "recovered" in reply) == ("subscribed", [], False)
    house.publish("news", "new")
    (push,) = client.take()
    assert (push["type"], push["publications"]) == ("publications", [{"offset": 2, "data": "new"}])
    assert push["position"].endswith(".2")


def test_recent_publications_come_with_the_reply(house: House) -> None:
    for value in range(8):
        house.publish("news", value)
    client = house.client()
    client.hello()
    (reply,) = client.send(subscribe("news", recent=3))
    assert offsets(reply) == [6, 7, 8]


def test_more_recent_ones_than_are_kept(house: House) -> None:
    for value in range(8):
        house.publish("news", value)
    client = house.client()
    client.hello()
    (reply,) = client.send(subscribe("news", recent=100))
    assert offsets(reply) == [4, 5, 6, 7, 8]


def test_a_position_inside_the_history_is_recovered_whole(house: House) -> None:
    position = house.publish("news", 1)
    for value in (2, 3, 4):
        house.publish("news", value)
    client = house.client()
    client.hello()
    (reply,) = client.send(subscribe("news", position=str(position)))
    assert (reply["recovered"], offsets(reply)) == (True, [2, 3, 4])


def test_a_position_outside_the_history_is_a_gap(house: House) -> None:
    position = house.publish("news", 1)
    last = position
    for value in range(9):
        last = house.publish("news", value)
    client = house.client()
    client.hello()
    (reply,) = client.send(subscribe("news", position=str(position)))
    assert (reply["recovered"], reply["publications"], reply["position"]) == (False, [], str(last))


def test_another_epoch_is_a_gap(house: House) -> None:
    last = house.publish("news", 1)
    client = house.client()
    client.hello()
    (reply,) = client.send(subscribe("news", position="elsewhere.1"))
    assert (reply["recovered"], reply["position"]) == (False, str(last))


def test_a_subscribe_without_an_id_says_only_what_is_new(house: House) -> None:
    position = house.publish("news", 1)
    client = house.client()
    client.hello()
    quiet = {"type": "subscribe", "channel": "news", "position": str(position)}
    assert client.send(quiet) == []
    house.publish("news", 2)
    (push,) = client.take()
    assert offsets(push) == [2]


def test_a_subscribe_without_an_id_is_told_of_a_gap_and_of_a_refusal(house: House) -> None:
    last = house.publish("news", 1)
    client = house.client()
    client.hello()
    gap, refusal = client.send(
        {"type": "subscribe", "channel": "news", "position": "elsewhere.1"},
        {"type": "subscribe", "channel": "nobodys"},
    )
    told = {message["type"]: message for message in (gap, refusal)}
    assert told["gap"]["position"] == str(last)
    assert told["unsubscribed"]["code"] == 104


def test_latest_gives_the_newest_at_once_and_skips_without_a_gap(house: House) -> None:
    for value in (1, 2, 3):
        house.publish("price", value)
    client = house.client()
    client.hello()
    (reply,) = client.send(subscribe("price"))
    assert reply["publications"] == [{"offset": 3, "data": 3}]
    client.blocked = True
    for value in (4, 5, 6):
        house.publish("price", value)
    house.loop.run()
    (push,) = client.unblock()
    assert push["publications"][-1] == {"offset": 6, "data": 6}
    (again,) = house_client_after(house, "price", "elsewhere.9")
    assert (again["recovered"], again["publications"]) == (True, [{"offset": 6, "data": 6}])


def house_client_after(house: House, channel: str, position: str) -> list[dict[str, Any]]:
    client = house.client()
    client.hello(instance="instance-2")
    return client.send(subscribe(channel, position=position))


def test_volatile_reaches_who_is_there_and_is_never_a_gap(house: House) -> None:
    client = house.client()
    client.hello()
    (reply,) = client.send(subscribe("typing"))
    assert reply["keep"] == "volatile"
    house.publish("typing", "ann")
    (push,) = client.take()
    assert push["publications"][0]["data"] == "ann"
    (late,) = house_client_after(house, "typing", reply["position"])
    assert late["recovered"] is True


def test_undeclared_unopened_and_forbidden_channels_answer_alike(house: House) -> None:
    client = house.client(environ={"USER": "stranger"})
    client.hello()
    names = ("unknown", "nobodys", "groups/7/photos", "groups/x/photos")
    answers = [client.send(subscribe(name))[0] for name in names]
    assert {(answer["type"], answer["code"]) for answer in answers} == {("error", 104)}
    words = {answer["message"].replace(name, "") for answer, name in zip(answers, names, strict=True)}
    assert words == {"no such channel: ''"}


def test_a_grant_in_the_token_spares_authorising(house: House) -> None:
    asked: list[int] = []
    channel = house.channel("rooms/{room:int}")
    channel.authorize(lambda ctx, room: asked.append(room) or True)
    client = house.client(environ={"USER": "ann"})
    client.hello()
    messages = client.send(subscribe("rooms/1"))
    token = next(message["token"] for message in messages if message["type"] == "token")
    again = house.client(environ={"USER": "ann"})
    again.hello(token)
    assert [message["type"] for message in again.send(subscribe("rooms/1"))] == ["subscribed"]
    assert asked == [1] and house.site.asked == 1


def test_a_failing_authorize_is_no_refusal(house: House) -> None:
    channel = house.channel("broken")
    channel.authorize(lambda ctx: 1 / 0)
    client = house.client()
    client.hello()
    assert client.send(subscribe("broken"))[0]["code"] == 202


def test_unsubscribing_ends_it(house: House) -> None:
    client = house.client()
    client.hello()
    client.send(subscribe("news"))
    (reply,) = client.send({"type": "unsubscribe", "id": 3, "channel": "news"})
    assert reply == {"type": "unsubscribed", "id": 3, "channel": "news"}
    house.publish("news", 1)
    assert client.take() == []
    assert client.send({"type": "unsubscribe", "id": 4, "channel": "news"})[0]["code"] == 110


def test_subscribing_twice_is_refused(house: House) -> None:
    client = house.client()
    client.hello()
    client.send(subscribe("news"))
    assert client.send(subscribe("news"))[0]["code"] == 109


def test_too_many_channels_are_refused() -> None:
    house = House(Limits(max_channels=2))
    house.channel("n/{n:int}", public=True)
    client = house.client()
    client.hello()
    replies = [client.send(subscribe(f"n/{n}"))[0] for n in range(3)]
    assert [reply.get("code") for reply in replies] == [None, None, 108]


def test_a_stopped_channel_is_only_pointed_to(house: House) -> None:
    house.publish("slow", 1)
    client = house.client()
    client.hello()
    (reply,) = client.send(subscribe("slow"))
    assert reply["limit"] == {"transport": "shortpoll", "every": 7, "public": True}
    house.publish("slow", 2)
    assert client.take() == []


def test_who_cannot_take_more_is_a_position_and_catches_up(house: House) -> None:
    client = house.client()
    client.hello()
    client.send(subscribe("news"))
    client.blocked = True
    for value in range(4):
        house.publish("news", value)
    house.loop.run()
    (push,) = client.unblock()
    assert offsets(push) == [1, 2, 3, 4]


def test_who_falls_off_the_log_is_told(house: House) -> None:
    limits = Limits(tail_publications=3)
    house = House(limits)
    house.channel("news", public=True, keep=History(5, ttl=3600))
    client = house.client()
    client.hello()
    client.send(subscribe("news"))
    client.blocked = True
    for value in range(20):
        last = house.publish("news", value)
    house.loop.run()
    (gap,) = client.unblock()
    assert gap == {"type": "gap", "channel": "news", "position": str(last)}
    house.publish("news", "on")
    assert offsets(client.take()[0]) == [21]


def test_what_left_the_tail_is_read_from_the_bus() -> None:
    house = House(Limits(tail_publications=3))
    house.channel("news", public=True, keep=History(100, ttl=3600))
    client = house.client()
    client.hello()
    client.send(subscribe("news"))
    client.blocked = True
    for value in range(20):
        house.publish("news", value)
    house.loop.run()
    got = [offset for push in client.unblock() for offset in offsets(push)]
    assert got == list(range(1, 21))


def test_a_newer_stream_of_one_page_closes_the_older_and_polls_do_not(house: House) -> None:
    first = house.client("websocket")
    token = first.hello()["token"]
    poll = house.client("longpoll")
    poll.hello(token)
    assert first.ended is None
    second = house.client("eventstream")
    second.hello(token)
    assert first.ended is not None and first.ended[0] == 4005
    third = house.client("websocket")
    third.hello(token, instance="another-tab")
    assert second.ended is None


def test_bye_ends_the_session(house: House) -> None:
    client = house.client()
    client.hello()
    client.send(subscribe("news"))
    client.send({"type": "bye"})
    assert client.ended is not None and client.ended[0] == 4303
    assert not client.session.subscriptions


def test_ping_is_answered(house: House) -> None:
    client = house.client()
    client.hello()
    assert client.send({"type": "ping", "id": 5}) == [{"type": "pong", "id": 5}]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("text", 100), (None, 100), ([], 100), ({}, 100), ({"type": 7}, 100),
        ({"type": "dance", "id": 3}, 101),
        ({"type": "subscribe", "id": 3}, 100),
        ({"type": "subscribe", "id": 3, "channel": "../etc"}, 104),
        ({"type": "subscribe", "id": 3, "channel": "news", "position": "x"}, 107),
        ({"type": "subscribe", "id": 3, "channel": "news", "position": "e." + "9" * 400}, 107),
        ({"type": "subscribe", "id": 3, "channel": "news", "recent": -1}, 100),
        ({"type": "subscribe", "id": True, "channel": "news"}, 100),
        ({"type": "call", "id": 3, "call_id": "12345678", "name": "none"}, 105),
        ({"type": "call", "id": 3, "call_id": "!", "name": "none"}, 100),
    ],
)  # fmt: skip
def test_bad_commands_get_their_error_and_the_session_goes_on(house: House, command: Any, code: int) -> None:
    client = house.client()
    client.hello()
    (reply,) = client.send(command)
    assert (reply["type"], reply["code"]) == ("error", code)
    assert client.send({"type": "ping", "id": 9})[0]["type"] == "pong"


def test_live_access_ends_with_the_users_access(house: House) -> None:
    members = {"ann"}
    house.channel("club").authorize(lambda ctx: ctx.user in members)
    client = house.client(environ={"USER": "ann"})
    client.hello()
    client.send(subscribe("club"))
    house.loop.advance(house.limits.token_ttl)
    assert [message["type"] for message in client.take()] == ["token"]
    members.clear()
    house.loop.advance(house.limits.token_ttl)
    told = {message["type"]: message for message in client.take()}
    assert told["unsubscribed"]["code"] == 104
    house.publish("club", "secret")
    assert client.take() == []


def test_a_changed_user_ends_the_connection(house: House) -> None:
    environ = {"USER": "ann"}
    client = house.client(environ=environ)
    client.hello()
    house.site.authenticate = lambda environ: None  # type: ignore[method-assign]
    house.loop.advance(house.limits.token_ttl)
    assert client.ended is not None and client.ended[0] == 4100


def test_a_failing_database_keeps_access_until_it_expires(house: House) -> None:
    house.channel("club").authorize(lambda ctx: True)
    client = house.client(environ={"USER": "ann"})
    client.hello()
    client.send(subscribe("club"))

    def down(environ: object) -> object:
        raise OSError("the database is down")

    house.site.authenticate = down  # type: ignore[method-assign]
    house.loop.advance(house.limits.token_ttl * 0.95)
    assert client.ended is None
    house.loop.advance(house.limits.token_ttl * 0.3)
    assert client.ended is not None and client.ended[0] == 4100


def test_many_commands_in_one_message_do_not_add_up_without_bound() -> None:
    house = House(Limits(page_bytes=2_000))
    house.channel("news", public=True, keep=History(5, ttl=3600))
    for number in range(5):
        house.publish("news", "x" * 390 + str(number))
    client = house.client("shortpoll")
    client.hello()
    pairs = [(subscribe("news", recent=5), {"type": "unsubscribe", "channel": "news"})] * 50
    client.session.receive([command for pair in pairs for command in pair])
    replies = client.take()
    assert len(replies) == 50
    assert sum(len(str(reply)) for reply in replies) < 50 * 200 + 3 * 2_000
    cut = replies[-1]
    assert (cut["publications"], cut["more"]) == ([], True)
    (rest,) = client.send(subscribe("news", position=cut["position"]))
    assert [*offsets(rest)][:1] == [1]


def test_a_token_that_still_says_everything_is_kept(house: House) -> None:
    first = house.client("longpoll", {"USER": "ann"}).hello()
    again = house.client("longpoll", {"USER": "ann"}).hello(first["token"])
    assert "token" not in again
    assert again["expires_in"] == first["expires_in"]
    house.loop.advance(house.limits.token_ttl + 1)
    late = house.client("longpoll", {"USER": "ann"}).hello(first["token"])
    assert late["token"] != first["token"] and late["expires_in"] == house.limits.token_ttl
