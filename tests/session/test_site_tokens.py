"""Tokens that the site hands out: they stand in for authenticate and authorize, bound to what they were bound to, and
only the site renews them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from support.house import House, StubClient

ANN = {"USER": "ann"}


@pytest.fixture
def house() -> House:
    house = House()
    house.channel("groups/{group_id:int}/photos")  # closed: nobody is authorised
    return house


def token(
    house: House,
    environ: dict[str, str] | None = ANN,
    channels: Iterable[str] = (),
    previous: str | None = None,
) -> str:
    return house.access.hand_out(environ, "ann", channels, previous)


def follows(client: StubClient, channel: str = "groups/7/photos") -> bool:
    (reply,) = client.send({"type": "subscribe", "id": 2, "channel": channel})
    return str(reply["type"]) == "subscribed"


def test_it_stands_in_for_authenticate_and_authorize(house: House) -> None:
    client = house.client(environ=ANN)
    hello = client.hello(token(house, channels=["groups/7/photos"]))
    assert hello["resumed"] is True
    assert follows(client)
    assert not follows(client, "groups/8/photos")
    assert house.site.asked == 0


@pytest.mark.parametrize("transport", ["websocket", "shortpoll"])
def test_with_other_credentials_it_is_worth_nothing(house: House, transport: str) -> None:
    client = house.client(transport, {"USER": "eve"})
    client.send({"type": "hello", "id": 1, "version": 1, "instance": "instance-1", "token": token(house)})
    assert client.ended is not None and client.ended[0] == 4100
    assert house.site.asked == 0


def test_bound_to_nothing_it_holds_for_whoever_has_it(house: House) -> None:
    assert house.client(environ={"USER": "eve"}).hello(token(house, None))["resumed"] is True


def test_a_session_of_our_own_cannot_be_taken_for_one_of_the_sites(house: House) -> None:
    ours = house.client(environ=ANN).hello()["token"]
    assert house.client(environ={"USER": "eve"}).hello(ours)["resumed"] is False


def test_when_it_has_expired_the_client_is_sent_for_another(house: House) -> None:
    late = token(house)
    house.loop.advance(house.limits.token_ttl + 1)
    client = house.client(environ=ANN)
    client.send({"type": "hello", "id": 1, "version": 1, "instance": "instance-1", "token": late})
    assert client.ended is not None and client.ended[0] == 4100
    assert house.site.asked == 0


def test_a_socket_is_sent_for_another_before_it_expires(house: House) -> None:
    given = token(house, channels=["groups/7/photos"])
    house.loop.advance(house.limits.token_ttl / 2)  # the page was open for a while before it connected
    client = house.client(environ=ANN)
    client.hello(given)
    assert follows(client)
    house.loop.advance(house.limits.token_ttl / 4)
    assert client.ended is None
    house.loop.advance(house.limits.token_ttl / 4)
    assert client.ended is not None and client.ended[0] == 4100
    assert house.site.asked == 0


def test_what_it_is_exchanged_for_here_lives_no_longer(house: House) -> None:
    house.channel("open/{name}").authorize(lambda ctx, name: True)
    given = token(house)
    house.loop.advance(100)
    client = house.client("shortpoll", ANN)
    client.hello(given)
    said = client.send({"type": "subscribe", "id": 2, "channel": "open/a"})
    (renewed,) = [message for message in said if message["type"] == "token"]
    assert renewed["expires_in"] == pytest.approx(house.limits.token_ttl - 100)
    house.loop.advance(house.limits.token_ttl - 100 + 1)
    late = house.client("shortpoll", ANN)
    late.send({"type": "hello", "id": 1, "version": 1, "instance": "instance-1", "token": renewed["token"]})
    assert late.ended is not None and late.ended[0] == 4100


def test_the_session_goes_on_with_the_next_one(house: House) -> None:
    first = token(house)
    client_id = house.client(environ=ANN).hello(first)["client_id"]
    house.loop.advance(house.limits.token_ttl * 2)
    assert house.client(environ=ANN).hello(token(house, previous=first))["client_id"] == client_id
    # But not for another user, nor with other credentials, nor from what is no token of ours.
    other = house.access.hand_out(ANN, "bob", (), first)
    moved = token(house, {"USER": "eve"}, previous=first)
    for strange, environ in ((other, ANN), (moved, {"USER": "eve"}), (token(house, previous="x.y"), ANN)):
        assert house.client(environ=environ).hello(strange)["client_id"] != client_id
