from __future__ import annotations

import enum
import json
import math
import time
from dataclasses import asdict, dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.vector_files import each, repeated, with_bytes
from rtbridge.errors import DataError, ProtocolError
from rtbridge.protocol import data
from rtbridge.protocol.codes import ErrorCode

INTEGERS = st.integers(-(2**63 - 1), 2**63 - 1)
KEYS = st.text(max_size=5) | st.sampled_from(["$bytes", "$$bytes", "bytes", "$"])
SCALARS = (
    st.none()
    | st.booleans()
    | INTEGERS
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=20,
)


@given(VALUES)
@example({"$bytes": {"$bytes": b"x"}})
def test_what_is_encoded_is_decoded(value):
    assert data.decode(data.encode(value)) == value


@given(VALUES)
def test_canonical_data_is_compact_json_without_line_breaks(value):
    raw = data.encode(value)
    assert b"\n" not in raw
    assert raw == json.dumps(json.loads(raw), ensure_ascii=False, separators=(",", ":")).encode()


@given(st.binary(max_size=60) | st.text(alphabet='[]{},:"\\u0123dDe+-.$bytes ', max_size=40).map(str.encode))
def test_any_bytes_are_a_value_or_a_bad_message(raw):
    for load in (data.loads, data.plain_loads):
        try:
            data.encode(load(raw))
        except ProtocolError as error:
            assert error.code == ErrorCode.BAD_MESSAGE


@each("data.json", "cases")
def test_vectors_both_ways(case):
    value = with_bytes(case["value"])
    raw = case["json"].encode()
    assert data.encode(value) == raw
    assert data.decode(raw) == value
    assert data.plain_loads(raw) == json.loads(raw)


@each("data.json", "decode_only")
def test_vectors_to_decode(case):
    value = data.loads(case["json"].encode())
    assert value == with_bytes(case["value"]) if "value" in case else value


@each("data.json", "bad_json")
def test_vectors_to_refuse(case):
    if "hex" in case:
        raw = bytes.fromhex(case["hex"])
    else:
        raw = (case["text"] if "text" in case else repeated(case["repeat"])).encode()
    begin = time.perf_counter()
    with pytest.raises(ProtocolError) as caught:
        data.loads(raw)
    assert caught.value.code == ErrorCode.BAD_MESSAGE
    assert len(caught.value.message) < 200
    assert time.perf_counter() - begin < 1


@each("data.json", "not_publishable")
def test_vectors_not_to_publish(case):
    value = data.loads(repeated(case["repeat"]).encode())
    with pytest.raises(DataError, match="nested too deep"):
        data.encode(value)


def test_a_million_digits_are_refused_at_once():
    begin = time.perf_counter()
    for number in ("9" * 1_000_000, "0." + "1" * 1_000_000 + "e999"):
        with pytest.raises(ProtocolError):
            data.loads(number.encode())
    assert time.perf_counter() - begin < 1


def test_depth_counts_what_is_nested_and_not_how_much_there_is():
    wide = b"[" + b",".join([b'[{"a":[]}]'] * 1000) + b"]"
    assert len(data.loads(wide, 4)) == 1000
    with pytest.raises(ProtocolError, match="nested too deep"):
        data.loads(wide, 3)
    assert data.loads(b'"[[[["', 0) == "[[[["


def test_plain_loads_leaves_tags_alone():
    assert data.plain_loads(b'{"$bytes":1}') == {"$bytes": 1}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "nan is not a JSON number"),
        ({"a": [1, {"b": math.inf}]}, "a[1].b: inf is not a JSON number"),
        ({"photos": [2**63]}, "photos[0]: an integer beyond"),
        (-(2**63), "an integer beyond"),
        ({"a": {7: 1}}, "a: the key 7 is not a string"),
        (["\ud800"], "lone surrogate"),
        ({"\udc00": 1}, "lone surrogate"),
        ([{1, 2}], "[0]: a set has no JSON form"),
    ],
)
def test_what_the_wire_cannot_carry_is_named_with_its_path(value, words):
    with pytest.raises(DataError) as caught:
        data.encode(value)
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_circles_end():
    array: list[object] = []
    array.append(array)
    with pytest.raises(DataError, match=r"circle") as caught:
        data.encode({"a": array})
    assert str(caught.value).startswith("a[0][0][0][0][0][0][0]…: ")
    circle: dict[str, object] = {}
    circle["a"] = circle
    with pytest.raises(DataError, match=r"circle"):
        data.encode(circle)


def test_depth_of_published_data():
    value: object = b"bytes are no level"
    for _ in range(data.MAX_DATA_DEPTH):
        value = [value]
    assert data.decode(data.encode(value)) == value
    with pytest.raises(DataError):
        data.encode([value])


def test_kin_of_plain_types():
    class Colour(enum.StrEnum):
        RED = "red"

    class Number(enum.IntEnum):
        ONE = 1

    value = (Colour.RED, Number.ONE, bytearray(b"a"), memoryview(b"abc")[::2], True)
    assert data.encode(value) == b'["red",1,{"$bytes":"YQ=="},{"$bytes":"YWM="},true]'


@dataclass
class Photo:
    id: int
    raw: object


def test_default_turns_other_types_into_these():
    def default(value: object) -> object:
        if isinstance(value, Photo):
            return asdict(value)
        raise TypeError("no photo")

    assert data.encode([Photo(1, b"a")], default) == b'[{"id":1,"raw":{"$bytes":"YQ=="}}]'
    with pytest.raises(DataError, match=r"^\[0\]\.raw: no photo"):
        data.encode([Photo(1, object())], default)
    with pytest.raises(DataError, match="a object has no JSON form"):
        data.encode(object(), lambda value: value)
