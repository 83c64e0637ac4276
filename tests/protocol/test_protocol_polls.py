from __future__ import annotations

import pytest

from protocol.vector_files import each, load
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.messages import ErrorReply, HelloReply, Publications
from rtbridge.protocol.packed import MSGPACK
from rtbridge.protocol.polls import (
    error_body,
    parse_channel_answer,
    parse_error_body,
    parse_poll_answer,
    parse_poll_request,
)


@each("polls.json", "requests", "answers", "channel_answers", "error_bodies")
def test_both_codecs_read_the_same(case):
    assert MSGPACK.decode(bytes.fromhex(case["msgpack"])) == case["wire"]


@each("polls.json", "requests")
def test_requests(case):
    request = parse_poll_request(case["wire"])
    assert request.wait == case["wire"].get("wait", 0)
    assert list(request.commands) == case["wire"]["commands"]


@each("polls.json", "bad_requests")
def test_bad_requests(case):
    with pytest.raises(ProtocolError) as caught:
        parse_poll_request(case)
    assert caught.value.code == ErrorCode.BAD_MESSAGE


def test_a_wait_that_is_no_number_however_it_came():
    for wait in (float("inf"), float("nan"), float("-inf")):
        with pytest.raises(ProtocolError):
            parse_poll_request({"wait": wait, "commands": []})


def test_answers():
    answer = parse_poll_answer(load("polls.json")["answers"][0]["wire"])
    assert [type(message) for message in answer.messages] == [HelloReply, Publications]
    assert answer.interval is None
    assert parse_poll_answer({"messages": [{"type": "new"}], "interval": 5}).messages == ()


@each("polls.json", "bad_answers")
def test_bad_answers(case):
    with pytest.raises(ProtocolError):
        parse_poll_answer(case)


def test_channel_answers():
    news, nothing, gap, cut, state, mended = (
        parse_channel_answer(case["wire"]) for case in load("polls.json")["channel_answers"]
    )
    assert [item.offset for item in news.publications] == [18, 19]
    assert (news.recovered, gap.recovered) == (None, False)
    assert (nothing.more, cut.more) == (False, True)
    assert (news.snapshot, state.snapshot, state.recovered) == (None, b'[{"id":5},{"id":6}]', None)
    assert (mended.snapshot, mended.recovered) == (b"null", False)


@each("polls.json", "bad_channel_answers")
def test_bad_channel_answers(case):
    with pytest.raises(ProtocolError):
        parse_channel_answer(case)


@each("polls.json", "error_bodies")
def test_error_bodies(case):
    error = parse_error_body(case["wire"])
    told = case["wire"]["error"]
    expected = ErrorReply(None, told["code"], told["message"], retry_after=told.get("retry_after"))
    assert error == expected
    assert JSON.decode(JSON.encode_map(error_body(error.code, error.message, error.retry_after))) == case["wire"]


@each("polls.json", "bad_error_bodies")
def test_bad_error_bodies(case):
    with pytest.raises(ProtocolError):
        parse_error_body(case)
