"""Calls: validated, in order, at most once, with their cause."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from annotated_types import MaxLen

from rtbridge.config import Limits
from rtbridge.errors import BusUnavailable, Refused
from rtbridge.protocol.codes import ErrorCode
from rtbridge.session.calls import Outcome, current_call
from support.house import House, StubClient


def call(name: str, call_id: str = "call-0001", /, **params: Any) -> dict[str, Any]:
    return {"type": "call", "id": 5, "call_id": call_id, "name": name, "params": params}


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def client(house: House) -> StubClient:
    client = house.client(environ={"USER": "ann"})
    client.hello()
    return client


def test_a_call_is_answered_with_its_result(house: House, client: StubClient) -> None:
    def add(ctx: Any, a: int, b: int = 1) -> int:
        assert (ctx.user, ctx.call_id) == ("ann", "call-0001")
        return a + b

    house.call("add", add)
    assert client.send(call("add", a=2)) == [
        {"type": "result", "id": 5, "call_id": "call-0001", "data": 3, "positions": {}}
    ]


def test_params_are_validated_with_the_field_and_the_reason(house: House, client: StubClient) -> None:
    def comment(ctx: Any, photo_id: int, text: Annotated[str, MaxLen(3)]) -> None: ...

    house.call("comment", comment)
    (reply,) = client.send(call("comment", photo_id="7", text="toolong", extra=1))
    assert (reply["code"], reply["reason"]) == (106, "invalid")
    assert {field["field"] for field in reply["fields"]} == {"photo_id", "text", "extra"}
    assert all(field["reason"] for field in reply["fields"])


def test_a_refusal_carries_the_applications_words_and_data(house: House, client: StubClient) -> None:
    def bid(ctx: Any) -> None:
        raise Refused("too low", data={"price": 12})

    house.call("bid", bid)
    (reply,) = client.send(call("bid"))
    assert (reply["code"], reply["message"], reply["data"]) == (111, "too low", {"price": 12})


def test_a_handler_that_raises_says_nothing_of_its_inside(house: House, client: StubClient) -> None:
    def boom(ctx: Any) -> None:
        raise ValueError("the password is swordfish")

    house.call("boom", boom)
    (reply,) = client.send(call("boom"))
    assert reply["code"] == 202 and "swordfish" not in str(reply)


def test_a_retry_gets_the_stored_reply(house: House, client: StubClient) -> None:
    ran: list[int] = []
    house.call("once", lambda ctx: ran.append(1) or len(ran))
    first, second = client.send(call("once"))[0], client.send(call("once"))[0]
    assert first["data"] == second["data"] == 1 and ran == [1]
    assert client.send(call("once", "call-0002"))[0]["data"] == 2


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(b"null"),
        Outcome('{"a":"\\"\u00e9\u2028"}'.encode(), {"feed": "e.1", 'odd "ch\u00e4nnel': "e.2"}),
        Outcome(code=ErrorCode.INVALID, message="no", fields=(("text", "too long"),)),
        Outcome(b"1", code=ErrorCode.REFUSED, message="no"),
    ],
)
def test_a_noted_outcome_is_read_back_as_it_was(outcome: Outcome) -> None:
    noted = outcome.dump()
    assert Outcome.load(noted) == outcome
    data = None if outcome.data is None else outcome.data.decode()
    fields = [list(pair) for pair in outcome.fields]
    assert json.loads(noted) == [data, outcome.positions, outcome.code, outcome.message, fields]


def test_a_retry_on_another_connection_waits_for_the_one_still_running(
    house: House, client: StubClient
) -> None:
    ran: list[int] = []
    house.call("slow", lambda ctx: ran.append(1) or "done")
    client.session.receive([call("slow")])
    while not house.loop.jobs:
        house.loop.run_calls()
    job, args = house.loop.jobs.popleft()
    other = second_connection(house, client)
    house.bus.add(f"call:{client_id(client)}:call-0001", b"R" + worker(house), 60)
    assert other.send(call("slow")) == []
    house.bus.delete(f"call:{client_id(client)}:call-0001")
    job(*args)
    house.loop.advance(1.0)
    assert [message["data"] for message in client.take()] == ["done"]
    assert [message["data"] for message in other.take()] == ["done"]
    assert ran == [1]


def second_connection(house: House, first: StubClient) -> StubClient:
    assert first.session.identity is not None
    other = house.client("longpoll", environ={"USER": "ann"})
    other.hello(house.access.token_for(first.session.identity))
    assert client_id(other) == client_id(first)
    return other


def client_id(client: StubClient) -> str:
    assert client.session.identity is not None
    return client.session.identity.client_id


def worker(house: House) -> bytes:
    name = "a-living-worker"
    house.bus.hold("workers", name, 60)
    return name.encode()


def test_a_call_whose_worker_died_has_an_unknown_outcome(house: House, client: StubClient) -> None:
    house.call("pay", lambda ctx: "paid")
    house.bus.add(f"call:{client_id(client)}:call-0001", b"Ra-dead-worker", 60)
    (reply,) = client.send(call("pay"))
    assert (reply["code"], reply["reason"]) == (300, "outcome_unknown")


def test_an_idempotent_call_simply_runs_again(house: House, client: StubClient) -> None:
    ran: list[int] = []
    house.call("count", lambda ctx: ran.append(1) or len(ran), idempotent=True)
    client.send(call("count"))
    assert client.send(call("count"))[0]["data"] == 2


def test_calls_of_one_connection_run_in_order_one_at_a_time(house: House, client: StubClient) -> None:
    running: list[str] = []
    order: list[str] = []

    def step(ctx: Any, name: str) -> str:
        assert not running, "two at once"
        running.append(name)
        order.append(name)
        running.pop()
        return name

    house.call("step", step)
    commands = [{**call("step", f"call-{n:04}", name=str(n)), "id": n} for n in range(1, 8)]
    replies = client.send(*commands)
    assert order == [str(n) for n in range(1, 8)]
    assert [reply["id"] for reply in replies] == list(range(1, 8))


def test_a_running_call_renews_its_workers_sign_of_life() -> None:
    house = House(Limits(call_lease=9))
    client = house.client()
    client.hello()
    house.call("any", lambda ctx: None)
    client.send(call("any"))
    for _ in range(10):
        house.loop.advance(3)
    assert len(house.bus.held("workers")) == 1


def test_what_a_call_publishes_names_it(house: House, client: StubClient) -> None:
    house.channel("log", public=True)

    def write(ctx: Any) -> str | None:
        running = current_call.get()
        return running.call_id if running else None

    house.call("write", write)
    assert client.send(call("write"))[0]["data"] == "call-0001"
    assert current_call.get() is None


class LosingBus:
    """Does what it is asked, and then fails as often as it is told to."""

    def __init__(self, bus: Any) -> None:
        self.bus = bus
        self.losing: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any, **options: Any) -> Any:
            if f"{name} before" in self.losing:
                self.losing.remove(f"{name} before")
                raise BusUnavailable("it was not done")
            answer = getattr(self.bus, name)(*arguments, **options)
            if name in self.losing:
                self.losing.remove(name)
                raise BusUnavailable("it was done, but nobody was told")
            return answer

        return ask


def test_an_attempt_that_was_noted_without_our_knowledge_is_no_running_call(house: House) -> None:
    ran: list[str] = []
    house.call("once", lambda ctx: ran.append(ctx.call_id))
    bus = house.services.calls._bus = LosingBus(house.services.calls._bus)
    client = house.client(environ={"USER": "ann"})
    client.hello()
    bus.losing = ["add"]
    (reply,) = client.send(call("once"))
    assert reply["reason"] == "unavailable" and ran == []
    (reply,) = client.send(call("once"))
    assert reply["type"] == "result" and ran == ["call-0001"]
    (reply,) = client.send(call("once"))
    assert reply["type"] == "result" and ran == ["call-0001"]


def test_an_outcome_that_cannot_be_noted_is_answered_and_noted_later(house: House) -> None:
    ran: list[str] = []
    house.call("once", lambda ctx: ran.append(ctx.call_id))
    memory = house.services.calls._bus
    bus = house.services.calls._bus = LosingBus(memory)
    client = house.client(environ={"USER": "ann"})
    hello = client.hello()
    bus.losing = ["put before"]
    for _ in range(3):
        (reply,) = client.send(call("once"))
        assert reply["type"] == "result" and ran == ["call-0001"]
    key = f"call:{hello['client_id']}:call-0001"
    assert memory.get(key)[:1] == b"R"
    house.loop.advance(house.limits.call_lease)
    assert memory.get(key)[:1] == b"D"
    assert house.services.calls._begun == {}
