from __future__ import annotations

import struct
import time
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.vector_files import each, repeated, with_bytes
from rtbridge.errors import ProtocolError
from rtbridge.protocol import data
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.messages import parse_command, parse_server_message
from rtbridge.protocol.packed import MSGPACK, check_shape
from rtbridge.protocol.publications import Publication

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63 - 1), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=4), inner, max_size=20),
    max_leaves=40,
)


@given(VALUES)
def test_whatever_is_packed_is_decoded(value):
    assert MSGPACK.decode(msgpack.packb(value)) == value


@given(VALUES, st.data())
def test_a_cut_value_is_a_bad_message(value, draw):
    raw = msgpack.packb(value)
    with pytest.raises(ProtocolError):
        MSGPACK.decode(raw[: draw.draw(st.integers(0, len(raw) - 1))])


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_bad_message(raw):
    try:
        data.encode_wire(MSGPACK.decode(raw), None, data.MAX_DEPTH)
    except ProtocolError as error:
        assert error.code == ErrorCode.BAD_MESSAGE


@each("data.json", "cases")
def test_vectors_both_ways(case):
    value = with_bytes(case["value"])
    raw = bytes.fromhex(case["msgpack"])
    assert MSGPACK.decode(raw) == value
    fragment = MSGPACK.publication(Publication(1, case["json"].encode()))
    assert fragment == b"\x82\xa6offset\x01\xa4data" + raw


@each("data.json", "decode_only")
def test_vectors_to_decode(case):
    value = MSGPACK.decode(bytes.fromhex(case["msgpack"]))
    assert value == JSON.decode(case["json"].encode())


@each("data.json", "bad_msgpack")
def test_vectors_to_refuse(case):
    raw = bytes.fromhex(case["hex"] if "hex" in case else repeated(case["repeat"]))
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        with pytest.raises(ProtocolError) as caught:
            MSGPACK.decode(raw)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.code == ErrorCode.BAD_MESSAGE
    assert time.perf_counter() - begin < 1


@each("messages.json", "commands")
def test_commands(case):
    raw = bytes.fromhex(case["msgpack"])
    command = parse_command(MSGPACK.decode(raw))
    assert MSGPACK.encode_command(command) == raw
    assert JSON.decode(JSON.encode_command(command)) == MSGPACK.decode(raw)


@each("messages.json", "server")
def test_server_messages(case):
    raw = bytes.fromhex(case["msgpack"])
    message = parse_server_message(MSGPACK.decode(raw))
    assert message is not None
    assert MSGPACK.decode(MSGPACK.encode(message)) == MSGPACK.decode(raw)
    assert JSON.decode(JSON.encode(message)) == MSGPACK.decode(raw)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_arrays_of_any_length(count):
    answer = MSGPACK.decode(MSGPACK.join_poll([b"\xc0"] * count))
    assert answer == {"messages": [None] * count}


def test_announced_elements_are_bounded_by_what_is_left_in_all_levels_together():
    # Each of the nested arrays alone would fit into what follows it; together they do not.
    raw = b"".join(b"\xdd" + struct.pack(">I", 1000) for _ in range(60)) + b"\xc0" * 1200
    with pytest.raises(ValueError, match="announcing more than there is"):
        check_shape(raw, 64)


def test_empty_containers_are_levels_too():
    check_shape(b"\x91" * 63 + b"\x80", 64)
    with pytest.raises(ValueError, match="nested too deep"):
        check_shape(b"\x91" * 64 + b"\x80", 64)
