from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.vector_files import each
from rtbridge.errors import ProtocolError
from rtbridge.protocol import commands
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.messages import (
    Call,
    DisconnectPush,
    ErrorReply,
    Publications,
    Subscribe,
    UnsubscribedPush,
    parse_command,
    parse_server_message,
)
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication


def decoded(wire: object) -> object:
    """The message as a codec hands it over, its tags resolved."""
    import json

    return JSON.decode(json.dumps(wire).encode())


@each("messages.json", "commands")
def test_commands_are_read_and_written_again(case):
    command = parse_command(decoded(case["wire"]))
    assert JSON.decode(JSON.encode_command(command)) == decoded(case["wire"])


@each("messages.json", "also_commands")
def test_commands_in_other_words(case):
    assert parse_command(decoded(case["wire"])) == parse_command(decoded(case["as"]))


@each("messages.json", "bad_commands")
def test_bad_commands(case):
    with pytest.raises(ProtocolError) as caught:
        parse_command(decoded(case["wire"]))
    assert (caught.value.code, caught.value.command_id) == (case["code"], case["id"])
    assert isinstance(caught.value.code, ErrorCode)


@each("messages.json", "server")
def test_server_messages_are_read_and_written_again(case):
    message = parse_server_message(decoded(case["wire"]))
    assert message is not None
    assert JSON.decode(JSON.encode(message)) == decoded(case["wire"])


@each("messages.json", "also_server")
def test_server_messages_in_other_words(case):
    assert parse_server_message(decoded(case["wire"])) == parse_server_message(decoded(case["as"]))
    again = JSON.decode(JSON.encode(parse_server_message(decoded(case["wire"]))))
    assert again == case["as"]


@each("messages.json", "bad_server")
def test_bad_server_messages(case):
    with pytest.raises(ProtocolError):
        parse_server_message(decoded(case["wire"]))


@each("messages.json", "ignored_server")
def test_unknown_server_messages_are_none(case):
    assert parse_server_message(case) is None


def test_parsed_values():
    wire = {"type": "subscribe", "id": 2, "channel": "photos", "position": "kX3f9Q2a.17"}
    assert parse_command(wire) == Subscribe(2, "photos", Position("kX3f9Q2a", 17))
    wire = {"type": "call", "id": 4, "call_id": "p7Gd0LxQ4W2uYt1k", "name": "x", "params": {"a": b"b"}}
    assert parse_command(wire) == Call(4, "p7Gd0LxQ4W2uYt1k", "x", {"a": b"b"})
    wire = {
        "type": "publications",
        "channel": "c",
        "position": "a.1",
        "publications": [{"offset": 1, "data": b"x"}],
    }
    expected = (Publication(1, b'{"$bytes":"eA=="}'),)
    assert parse_server_message(wire) == Publications("c", Position("a", 1), expected)


def test_two_calls_do_not_share_their_empty_params():
    first, second = (parse_command({"type": "call", "id": 1, "call_id": "x" * 8, "name": "n"}) for _ in "ab")
    assert isinstance(first, Call) and isinstance(second, Call)
    assert first.params is not second.params


def test_codes_have_their_reasons():
    assert ErrorReply(1, ErrorCode.REFUSED, "no").reason == "refused"
    assert UnsubscribedPush("c", 104, "gone").reason == "no_such_channel"
    assert DisconnectPush(4000, "bye").reason == "shutdown"


def test_a_field_that_cannot_be_data_is_a_bad_message():
    with pytest.raises(ProtocolError) as caught:
        parse_server_message({"type": "result", "id": 1, "call_id": "x", "data": object(), "positions": {}})
    assert caught.value.code == ErrorCode.BAD_MESSAGE


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = ["hello", "subscribe", "unsubscribe", "call", "ping", "pong", "bye", "subscribed", "unsubscribed"]
TYPES += ["result", "error", "publications", "gap", "snapshot", "token", "disconnect"]
TYPES += ["presence", "answer", "done"]
NAMES = ["id", "version", "instance", "token", "client", "channel", "position", "recent", "call_id", "name"]
NAMES += ["params", "keep", "publications", "code", "message", "data", "fields", "positions", "retry_after"]
NAMES += ["ask_id", "presence"]
NAMES += ["snapshot", "recovered", "limit", "fetch_after"]
MESSAGES = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(NAMES), ANYTHING),
)


@given(MESSAGES | ANYTHING)
def test_whatever_comes_is_a_message_or_a_protocol_error(obj):
    for parse in (parse_command, parse_server_message):
        try:
            parse(obj)
        except ProtocolError as error:
            assert isinstance(error.code, ErrorCode)


_ODD = st.sampled_from([None, True, False, 0, 1, 2, -1, 2**53 - 1, 2**53, 1.0, "", "x", [], {}, b"bytes"])
_TEXTS = st.sampled_from(
    ["p7Gd0LxQ4W2uYt1k", "short", "x" * 64, "x" * 65, "feed", "a/../b", "kX3f9Q2a.17", "k.017", "é"]
)
_FIELDS = (
    "id",
    "version",
    "instance",
    "token",
    "client",
    "channel",
    "position",
    "recent",
    "presence",
    "snapshot",
    "call_id",
    "name",
    "params",
)
_COMMANDS = st.builds(
    lambda kind, usual, odd: {"type": kind} | usual | odd,
    st.sampled_from(["hello", "subscribe", "call"]) | _ODD,
    st.fixed_dictionaries(
        {
            "id": st.just(7),
            "version": st.just(1),
            "instance": st.just("p7Gd0LxQ"),
            "channel": st.just("a/b"),
            "call_id": st.just("p7Gd0LxQ"),
            "name": st.just("x" * 200) | st.just("é" * 101),
            "params": st.just({"text": "x"}),
        }
    ),
    st.dictionaries(st.sampled_from(_FIELDS), _ODD | _TEXTS, max_size=3),
).flatmap(
    lambda command: st.sets(st.sampled_from(sorted(command)), max_size=2).map(
        lambda gone: {key: value for key, value in command.items() if key not in gone}
    )
)


@settings(max_examples=1_000)
@given(_COMMANDS)
def test_the_usual_way_and_the_long_way_read_the_same(command):
    def read(parse):
        try:
            return parse(command)
        except ProtocolError as error:
            return error.code, error.message, error.command_id

    found = read(parse_command)
    assert found == read(commands._parse)
    assert [type(found)] + [type(getattr(found, name, None)) for name in _FIELDS] == [
        type(read(commands._parse)),
        *(type(getattr(read(commands._parse), name, None)) for name in _FIELDS),
    ]


def test_the_usual_way_is_taken():
    """Or the test before says nothing."""
    hello = {"type": "hello", "id": 1, "version": 1, "instance": "p7Gd0LxQ", "token": "t", "client": "js 1"}
    subscribe = {"type": "subscribe", "id": 2, "channel": "a/b", "position": "kX3f9Q2a.17", "snapshot": True}
    assert commands._usual_hello(hello) == parse_command(hello)
    assert commands._usual_subscribe(subscribe) == parse_command(subscribe)
    call = {"type": "call", "id": 3, "call_id": "p7Gd0LxQ", "name": "photos.comment", "params": {"id": 1}}
    assert commands._usual_call(call) == parse_command(call)
