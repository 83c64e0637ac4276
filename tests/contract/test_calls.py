"""Call declarations: the signature is the contract, and the function stays a function."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from annotated_types import MaxLen

from rtbridge.contract.calls import CallDeclaration
from rtbridge.contract.context import Context
from rtbridge.errors import DataError, DeclarationError, Invalid, Refused
from rtbridge.protocol.data import decode

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTheTypeChecker

CTX = Context(client_id="c-1", user_id=None, environ={}, transport="longpoll", load_user=lambda: None)


@dataclass
class Comment:
    id: int
    text: str


def comment(
    ctx: Context, photo_id: int, text: Annotated[str, MaxLen(5)] = "nice", *, loud: bool = False
) -> Comment:
    """Say something."""
    return Comment(photo_id, text.upper() if loud else text)


def test_bind_run_dump() -> None:
    call = CallDeclaration("photos.comment", comment)
    bound = call.bind({"photo_id": 3, "loud": True})
    assert bound == {"photo_id": 3, "loud": True}
    assert decode(call.dump_result(call.run(CTX, bound))) == {"id": 3, "text": "NICE"}
    assert repr(call) == "<call 'photos.comment'>"


def test_it_stays_the_plain_function() -> None:
    call = CallDeclaration("photos.comment", comment)
    assert call(CTX, 3, "anything at all") == Comment(3, "anything at all")
    assert (call.__name__, call.__doc__) == ("comment", "Say something.")
    assert call.idempotent is False
    assert CallDeclaration("x", comment, idempotent=True).idempotent is True


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({}, ["photo_id"]),
        ({"photo_id": "3"}, ["photo_id"]),
        ({"photo_id": 3, "text": "too long"}, ["text"]),
        ({"photo_id": 3, "ctx": {}}, ["ctx"]),
        ({"photo_id": 3, "self": 1, "other": 2}, ["self", "other"]),
        ({"photo_id": None, "loud": 1}, ["photo_id", "loud"]),
        ({"photo_id": 3, 7: 1}, ["7"]),
        ([], [""]),
    ],
)
def test_bind_refuses(params: Any, fields: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        CallDeclaration("c", comment).bind(params)
    assert [name for name, _ in caught.value.fields] == fields


def test_no_annotations_mean_anything() -> None:
    def echo(context, value, other=None):  # type: ignore[no-untyped-def]
        return [value, other]

    call = CallDeclaration("echo", echo)
    assert call.dump_result(call.run(CTX, call.bind({"value": {"a": b"\x00"}}))) == (
        b'[{"a":{"$bytes":"AA=="}},null]'
    )


def test_names_that_models_could_not_have() -> None:
    def odd(ctx, copy: int, json: int, model_config: int, _private: int, schema: int = 1):  # type: ignore[no-untyped-def]
        return copy + json + model_config + _private + schema

    call = CallDeclaration("odd", odd)
    params = {"copy": 1, "json": 2, "model_config": 3, "_private": 4}
    assert call.run(CTX, call.bind(params)) == 11


def test_the_context_s_annotation_need_not_exist_at_run_time() -> None:
    def late(ctx: OnlyForTheTypeChecker, n: int) -> None: ...

    assert CallDeclaration("late", late).bind({"n": 1}) == {"n": 1}


def test_other_annotations_must_exist() -> None:
    def late(ctx: Context, n: OnlyForTheTypeChecker) -> None: ...

    def lost(ctx: Context) -> OnlyForTheTypeChecker: ...

    for function in (late, lost):
        with pytest.raises(DeclarationError, match=r"OnlyForTheTypeChecker.*top level"):
            CallDeclaration("c", function)


def test_results_must_fit() -> None:
    def wrong(ctx: Context) -> Comment:
        return "no comment"  # type: ignore[return-value]

    def nothing(ctx: Context) -> None: ...

    call = CallDeclaration("wrong", wrong)
    with pytest.raises(DataError, match="result of wrong"):
        call.dump_result(call.run(CTX, {}))
    assert CallDeclaration("nothing", nothing).dump_result(None) == b"null"


def test_what_the_function_raises_passes() -> None:
    def no(ctx: Context) -> None:
        raise Refused("sold out", data={"left": 0})

    call = CallDeclaration("no", no)
    with pytest.raises(Refused, match="sold out"):
        call.run(CTX, call.bind({}))


def test_wrapped_functions_and_methods() -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    class Shop:
        def buy(self, ctx: Context, item: int) -> int:
            return item

    for function in (logged(comment), functools.partial(comment, loud=True)):
        assert CallDeclaration("c", function).bind({"photo_id": 1}) == {"photo_id": 1}
    call = CallDeclaration("buy", Shop().buy)
    assert call.run(CTX, call.bind({"item": 3})) == 3


def _star(ctx: Any, *args: int) -> None: ...
def _stars(ctx: Any, **kwargs: int) -> None: ...
def _positional(ctx: Any, x: int, /) -> None: ...
def _nothing() -> None: ...
def _keyword(*, ctx: Any) -> None: ...
async def _later(ctx: Any) -> None: ...
def _generator(ctx: Any) -> Iterator[int]:
    yield 1


async def _async_generator(ctx: Any) -> Any:
    yield 1


class _AsyncCallable:
    async def __call__(self, ctx: Any) -> None: ...


def _broken(ctx: Any, n: "list[") -> None: ...  # type: ignore[valid-type]  # noqa: F722


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (_star, r"\*args"),
        (_stars, r"\*\*kwargs"),
        (_positional, "positional-only x"),
        (_nothing, "context"),
        (_keyword, "context"),
        (_later, "async"),
        (_generator, "yield"),
        (_async_generator, "yield"),
        (_AsyncCallable(), "async"),
        (_broken, "annotation"),
        (min, "signature|context|positional"),
        (7, "function"),
    ],
)
def test_signatures_that_cannot_work(function: Any, reason: str) -> None:
    with pytest.raises(DeclarationError, match=reason):
        CallDeclaration("c", function)


@pytest.mark.parametrize("name", ["", "a b", "x" * 201, "a\n", 7])
def test_bad_names(name: Any) -> None:
    with pytest.raises(DeclarationError, match="name"):
        CallDeclaration(name, comment)


def test_params_have_a_json_schema() -> None:
    schema = CallDeclaration("c", comment).params.json_schema()
    assert schema["required"] == ["photo_id"]
    assert schema["additionalProperties"] is False


def test_the_user_is_loaded_once_and_late() -> None:
    loads: list[int] = []

    def load() -> object:
        loads.append(1)
        return "ann"

    ctx = Context(client_id="c", user_id="7", environ={}, transport="websocket", load_user=load, call_id="k")
    assert loads == []
    assert (ctx.user, ctx.user, len(loads)) == ("ann", "ann", 1)
    assert repr(ctx) == "<Context client_id='c' user_id='7' websocket>"
