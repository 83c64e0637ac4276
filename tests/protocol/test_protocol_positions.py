from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.vector_files import each
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.positions import MAX_OFFSET, Position


@each("positions.json", "valid")
def test_a_position_is_its_text(case):
    assert Position.parse(case["text"]) == Position(case["epoch"], case["offset"])
    assert str(Position(case["epoch"], case["offset"])) == case["text"]


@each("positions.json", "invalid")
def test_anything_else_is_refused(case):
    with pytest.raises(ProtocolError) as caught:
        Position.parse(case)
    assert caught.value.code == ErrorCode.BAD_POSITION


@given(st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True), st.integers(0, MAX_OFFSET))
def test_parse_is_the_inverse_of_str(epoch, offset):
    position = Position(epoch, offset)
    assert Position.parse(str(position)) == position


@given(st.text())
def test_a_text_parses_to_itself_or_not_at_all(text):
    try:
        assert str(Position.parse(text)) == text
    except ProtocolError as error:
        assert error.code == ErrorCode.BAD_POSITION
