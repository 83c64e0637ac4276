"""Schemas: strict on the way in, whichever codec decoded; validated and canonical on the way out."""

from __future__ import annotations

import datetime as dt
import enum
import sys
import typing
import uuid
from collections import deque
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Gt, MaxLen
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field
from typing_extensions import TypedDict

from rtbridge.contract.types import Schema
from rtbridge.errors import DataError, DeclarationError, Invalid
from rtbridge.protocol.data import decode

MOMENT = dt.datetime(2024, 5, 1, 12, 30, tzinfo=dt.UTC)
ID = uuid.UUID("6f1f7f4e-3a3c-4d0c-9d57-0f2b8f0f9a11")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Tag(BaseModel):
    name: str
    weight: int = 1


@dataclass
class Photo:
    id: int
    title: Annotated[str, MaxLen(10)]
    taken: dt.datetime | None = None
    thumb: bytes = b""
    tags: list[Tag] = field(default_factory=list)
    secret: str = field(default="", repr=False)


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)


@dataclass
class Measured:
    value: int
    unit: InitVar[str]

    def __post_init__(self, unit: str) -> None:
        self.value *= 1000 if unit == "k" else 1


class Move(TypedDict, total=False):
    x: typing.Required[int]
    y: int


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


ACCEPTED = [
    (int, 7, 7),
    (float, 7, 7.0),
    (bool, True, True),
    (str, "x", "x"),
    (bytes, b"\xff", b"\xff"),
    (Any, {"a": [b"\x00", None]}, {"a": [b"\x00", None]}),
    (dt.datetime, "2024-05-01T12:30:00Z", MOMENT),
    (dt.date, "2024-05-01", dt.date(2024, 5, 1)),
    (dt.time, "12:30:00", dt.time(12, 30)),
    (dt.timedelta, "PT90S", dt.timedelta(seconds=90)),
    (uuid.UUID, str(ID), ID),
    (Decimal, "1.20", Decimal("1.20")),
    (Decimal, 3, Decimal(3)),
    (Colour, "red", Colour.RED),
    (Level, 1, Level.LOW),
    (tuple[int, str], [1, "a"], (1, "a")),
    (set[int], [1, 2, 2], {1, 2}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (deque[int], [1], deque([1])),
    (dict[int, str], {"7": "x"}, {7: "x"}),
    (dict[str, bytes], {"a": b"\x01"}, {"a": b"\x01"}),
    (Path, "a/b", Path("a/b")),
    (IPv4Address, "127.0.0.1", IPv4Address("127.0.0.1")),
    (AnyUrl, "https://example.com/", AnyUrl("https://example.com/")),
    (int | str, "7", "7"),
    (int | dt.date, "2024-05-01", dt.date(2024, 5, 1)),
    (bytes | str, b"x", b"x"),
    (bytes | str, "x", "x"),
    (Literal["a", 1], 1, 1),
    (None, None, None),
    (int | None, None, None),
    (Annotated[int, Field(strict=False)], "7", 7),
    (Move, {"x": 1}, {"x": 1}),
    (Node, {"name": "a", "children": [{"name": "b"}]}, Node("a", [Node("b")])),
    (Photo, {"id": 1, "title": "t", "thumb": b"\x89"}, Photo(1, "t", thumb=b"\x89")),
    (Pet, {"kind": "cat", "lives": 9}, Cat(kind="cat", lives=9)),
    (Measured, {"value": 2, "unit": "k"}, Measured(2, "k")),
]


@pytest.mark.parametrize(("type_", "given_", "expected"), ACCEPTED, ids=[repr(case[:2]) for case in ACCEPTED])
def test_load(type_: Any, given_: object, expected: object) -> None:
    loaded = Schema(type_).load(given_)
    assert loaded == expected
    assert type(loaded) is type(expected)


REFUSED = [
    (int, "7", ""),
    (int, 7.0, ""),
    (int, True, ""),
    (int, b"7", ""),
    (float, "7", ""),
    (float, True, ""),
    (bool, 1, ""),
    (bool, "true", ""),
    (str, 7, ""),
    (str, b"x", ""),
    (bytes, "x", ""),
    (dt.datetime, 1714566600, ""),
    (dt.date, 86400, ""),
    (dt.timedelta, 5, ""),
    (uuid.UUID, 5, ""),
    (Level, "1", ""),
    (Level, 2, ""),
    (Colour, "blue", ""),
    (Literal[1], "1", ""),
    (list[int], [1, "2"], "1"),
    (dict[str, int], {"a": "1"}, "a"),
    (dict[int, str], {"x": "1"}, "x.[key]"),
    (tuple[int, str], [1], "1"),
    (Move, {"x": "1"}, "x"),
    (Photo, {"id": 1, "title": "t" * 11}, "title"),
    (Photo, {"id": 1}, "title"),
    (Photo, {"id": 1, "title": "t", "tags": [{"name": "a"}, {"name": 7}]}, "tags.1.name"),
    (Photo, {"id": 1, "title": "t", "tags": [{"name": "a", "weight": "3"}]}, "tags.0.weight"),
    (Node, {"name": "a", "children": [{"name": 7}]}, "children.0.name"),
    (Pet, {"kind": "cat", "lives": "9"}, "cat.lives"),
    (Annotated[int, Gt(0)], 0, ""),
]


@pytest.mark.parametrize(("type_", "given_", "path"), REFUSED, ids=[repr(case[:2]) for case in REFUSED])
def test_load_refuses(type_: Any, given_: object, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        Schema(type_).load(given_)
    assert [name for name, _ in caught.value.fields] == [path]
    assert all(reason for _, reason in caught.value.fields)


def test_errors_are_bounded() -> None:
    with pytest.raises(Invalid) as caught:
        Schema(dict[str, int]).load({"k" * 5000 + str(n): "x" for n in range(1000)})
    assert len(caught.value.fields) == 21
    assert caught.value.fields[-1] == ("", "and 980 more")
    assert len(str(caught.value)) < 10_000


DUMPED = [
    (Photo, Photo(1, "t", MOMENT, b"\x89"), None),
    (Photo, {"id": 1, "title": "t", "taken": MOMENT}, None),
    (Photo, {"id": 1, "title": "t", "tags": [Tag(name="a")]}, None),
    (Node, Node("a", [Node("b")]), {"name": "a", "children": [{"name": "b", "children": []}]}),
    (Tag, Tag(name="a"), {"name": "a", "weight": 1}),
    (Move, {"x": 1}, {"x": 1}),
    (Measured, Measured(2, "k"), {"value": 2000}),
    (Any, [MOMENT, ID, Decimal("1.20"), Colour.RED], ["2024-05-01T12:30:00Z", str(ID), "1.20", "red"]),
    (Any, {"a": {b"\x00"}}, {"a": [b"\x00"]}),
    (Any, Photo(1, "t", thumb=b"\xff").thumb, b"\xff"),
    (Any, [Photo(1, "t", thumb=b"\xff")], None),
    (set[int], {3}, [3]),
    (dict[int, str], {7: "x"}, {"7": "x"}),
    (dict[uuid.UUID, int], {ID: 1}, {str(ID): 1}),
    (dict[Colour, int], {Colour.RED: 1}, {"red": 1}),
    (tuple[int, ...], (1, 2), [1, 2]),
    (dt.timedelta, dt.timedelta(seconds=90), "PT1M30S"),
    (None, None, None),
]


@pytest.mark.parametrize(("type_", "value", "plain"), DUMPED, ids=[repr(case[:2]) for case in DUMPED])
def test_dump(type_: Any, value: object, plain: object) -> None:
    schema = Schema(type_)
    raw = schema.dump(value)
    decoded = decode(raw)
    if plain is not None or value is None:
        assert decoded == plain
    if type_ is not Measured:
        assert schema.dump(schema.load(decoded)) == raw


@pytest.mark.parametrize(
    ("type_", "value", "message"),
    [
        (int, "x", "valid integer"),
        (Photo, {"id": 1}, "title: Field required"),
        (Photo, Photo(1, 5), "title"),  # type: ignore[arg-type]
        (Photo, Photo(1, "t" * 11), "title"),
        (Photo, Photo(1, "t", tags=[Tag.model_construct(name=7)]), "tags.0.name"),  # type: ignore[arg-type]
        (float, float("nan"), "nan"),
        (Any, {"a": [float("inf")]}, "inf"),
        (Any, {"a": object()}, "object"),
        (Any, {(1, 2): 3}, "key"),
        (Any, {1: 1, "1": 2}, "same string"),
        (Any, 2**63, "2^63"),
        (Any, "\ud800", "surrogate"),
    ],
)
def test_dump_refuses(type_: Any, value: object, message: str) -> None:
    with pytest.raises(DataError, match="data of") as caught:
        Schema(type_, "data of channel 'x'").dump(value)
    assert message in str(caught.value)


def test_dump_refuses_circles() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(DataError):
        Schema(Any).dump(circle)
    with pytest.raises(DataError):
        Schema(list).dump(circle)


def test_only_declared_fields_leave() -> None:
    @dataclass
    class Private(Node):
        password: str = ""

    assert decode(Schema(Node).dump(Private("a", password="p"))) == {"name": "a", "children": []}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63) + 1, 2**63 - 1)
        | st.binary(max_size=8)
        | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ).filter(lambda value: "\ud800" not in repr(value))
)
def test_any_data_survives(value: object) -> None:
    schema = Schema(Any)
    assert schema.load(decode(schema.dump(value))) == value


def test_unusable_types() -> None:
    class Opaque:
        pass

    with pytest.raises(DeclarationError, match=r"channel 'x'.*Opaque"):
        Schema(Opaque, "channel 'x'")
    with pytest.raises(DeclarationError, match="Nowhere"):
        Schema("Nowhere")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="typing.TypedDict is good enough from Python 3.12")
def test_typing_typed_dict_is_explained() -> None:
    with pytest.raises(DeclarationError, match=r"typing_extensions\.TypedDict"):
        Schema(typing.TypedDict("Old", {"x": int}))


def test_json_schema() -> None:
    schema = Schema(Photo).json_schema()
    assert schema["properties"]["title"] == {"maxLength": 10, "title": "Title", "type": "string"}
    assert "Tag" in schema["$defs"]
    assert Schema(Decimal).json_schema("serialization")["type"] == "string"
    with pytest.raises(DeclarationError, match="data"):
        Schema(typing.Callable[[], int]).json_schema()
