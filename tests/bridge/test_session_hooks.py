"""session_started and session_ended, on a fake clock: each once for a session, however its connections come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rtbridge.contract.context import Context
from support.house import House, StubClient


class Diary:
    def __init__(self, house: House) -> None:
        self.started: list[Context] = []
        self.ended: list[Context] = []
        house.hooks.started.append(self.started.append)
        house.hooks.ended.append(self.ended.append)

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.started), len(self.ended)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def diary(house: House) -> Diary:
    return Diary(house)


def long_silence(house: House) -> float:
    """More than a lease lives, and the time until somebody looks."""
    return house.hooks._ttl + house.limits.session_grace


def test_a_session_starts_once(house: House, diary: Diary) -> None:
    client = house.client(environ={"USER": "ann"})
    reply = client.hello()
    assert diary.counts == (1, 0)
    assert (diary.started[0].client_id, diary.started[0].user_id) == (reply["client_id"], "ann")
    house.client("longpoll", {"USER": "ann"}).hello(reply["token"])
    assert diary.counts == (1, 0)


def test_while_a_connection_lives_so_does_the_session(house: House, diary: Diary) -> None:
    house.client(environ={"USER": "ann"}).hello()
    house.loop.advance(10 * long_silence(house))
    assert diary.counts == (1, 0)


def test_who_is_not_heard_of_has_left(house: House, diary: Diary) -> None:
    client = house.client(environ={"USER": "ann"})
    reply = client.hello()
    client.session.close()
    house.loop.advance(house.limits.session_grace - 1)
    assert diary.counts == (1, 0)
    house.loop.advance(long_silence(house))
    assert diary.counts == (1, 1)
    assert (diary.ended[0].client_id, diary.ended[0].user_id) == (reply["client_id"], "ann")
    house.loop.advance(long_silence(house))
    assert diary.counts == (1, 1)


def test_polls_that_keep_coming_are_one_session(house: House, diary: Diary) -> None:
    token = None
    for _ in range(20):
        client = house.client("longpoll")
        token = client.hello(token).get("token", token)
        house.loop.advance(house.limits.poll_wait)
        client.session.close()
        house.loop.advance(house.limits.poll_interval)
    assert diary.counts == (1, 0)
    house.loop.advance(long_silence(house))
    assert diary.counts == (1, 1)


def test_bye_ends_it_at_once(house: House, diary: Diary) -> None:
    client = house.client()
    client.hello()
    client.send({"type": "bye"})
    assert diary.counts == (1, 1)
    house.loop.advance(long_silence(house))
    assert diary.counts == (1, 1)


def test_a_client_that_leaves_while_it_is_let_in_has_left(house: House, diary: Diary) -> None:
    """The connection was closed while authenticate and the hooks ran: nobody else would ever say that it is gone."""
    client = house.client()
    client.session.receive([{"type": "hello", "id": 1, "version": 1, "instance": "instance-1"}])
    house.loop.run_calls()
    assert house.loop.run_job()
    client.session.close()
    house.loop.run()
    assert diary.counts == (1, 0)
    house.loop.advance(long_silence(house))
    assert diary.counts == (1, 1)


def test_a_hook_that_raises_keeps_no_other_from_running(
    house: House, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(ctx: Context) -> None:
        raise ValueError("an odd hook")

    house.hooks.started.insert(0, broken)
    assert house.client().hello()["type"] == "hello"
    assert diary.counts == (1, 0)
    assert "an odd hook" in caplog.text


def test_without_hooks_nothing_is_leased(house: House) -> None:
    house.client().hello()
    assert house.bus.held("sessions") == {}


@pytest.mark.parametrize(
    "leave", [lambda client: client.session.close(), lambda client: client.send({"type": "bye"})]
)
def test_nothing_is_kept_of_a_session_that_ended(
    house: House, diary: Diary, leave: Callable[[StubClient], Any]
) -> None:
    client = house.client()
    client.hello()
    leave(client)
    house.loop.advance(long_silence(house))
    assert (house.hooks._attached, house.bus.held("sessions"), diary.counts) == ({}, {}, (1, 1))
