from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.vector_files import each
from rtbridge.errors import DataError
from rtbridge.protocol import codecs, data
from rtbridge.protocol.codecs import JSON, Codec, codec_for_content_type, codec_named, msgpack_codec
from rtbridge.protocol.messages import (
    Call,
    ErrorReply,
    Publications,
    Result,
    parse_command,
    parse_server_message,
)
from rtbridge.protocol.polls import parse_channel_answer, parse_poll_answer, parse_poll_request
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63 - 1), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
PUBLICATIONS = st.builds(
    Publication,
    st.integers(1, 2**53 - 1),
    VALUES.map(data.encode),
    st.none() | st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True),
)


def both() -> list[Codec]:
    msgpack = msgpack_codec()
    assert msgpack is not None
    return [JSON, msgpack]


@pytest.fixture(params=["json", "msgpack"])
def codec(request) -> Codec:
    found = codec_named(request.param)
    assert found is not None
    return found


@given(st.lists(PUBLICATIONS, max_size=20), st.booleans())
def test_publications_of_fragments_are_the_encoded_message(publications, more):
    message = Publications("groups/7/photos", Position("kX3f9Q2a", 20), tuple(publications), more)
    for codec in both():
        fragments = [codec.publication(item) for item in publications]
        raw = codec.publications(message.channel, message.position, fragments, more)
        assert raw == codec.encode(message)
        assert parse_server_message(codec.decode(raw)) == message


@given(VALUES, st.dictionaries(st.sampled_from(["a", "b/c"]), st.just("e.1")))
def test_results_survive_both_codecs(value, positions):
    message = Result(4, "p7Gd0LxQ4W2uYt1k", data.encode(value), positions)
    for codec in both():
        assert parse_server_message(codec.decode(codec.encode(message))) == message
    assert JSON.encode(message) == JSON.encode_map(message.to_wire())


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=20))
def test_calls_survive_both_codecs(params):
    command = Call(4, "p7Gd0LxQ4W2uYt1k", "photos.comment", params)
    if list(params) == ["$bytes"]:
        command = Call(4, "p7Gd0LxQ4W2uYt1k", "photos.comment", {})
    for codec in both():
        assert parse_command(codec.decode(codec.encode_command(command))) == command


def test_json_splices_canonical_bytes():
    strange = b'{ "not" : "canonical" }'
    assert strange in JSON.encode(Result(1, "x", strange, {}))
    assert strange in JSON.encode(Publications("c", Position("a", 1), (Publication(1, strange),)))
    assert (
        JSON.publication(Publication(1, strange, "me"))
        == b'{"offset":1,"data":' + strange + b',"cause":"me"}'
    )


@each("polls.json", "requests")
def test_polls_are_joined_of_encoded_commands(case, codec):
    request = parse_poll_request(case["wire"])
    commands = [codec.encode_command(parse_command(item)) for item in request.commands]
    assert codec.decode(codec.join_commands(commands, case["wire"].get("wait"))) == case["wire"]


@each("polls.json", "answers")
def test_answers_are_joined_of_encoded_messages(case, codec):
    answer = parse_poll_answer(case["wire"])
    raw = codec.join_poll([codec.encode(item) for item in answer.messages], answer.interval)
    assert codec.decode(raw) == case["wire"]


@each("polls.json", "channel_answers")
def test_channel_answers_are_joined_of_fragments(case, codec):
    answer = parse_channel_answer(case["wire"])
    raw = codec.channel_answer(
        answer.channel,
        answer.position,
        [codec.publication(item) for item in answer.publications],
        answer.recovered,
        answer.more,
        answer.snapshot,
    )
    assert codec.decode(raw) == case["wire"]


def test_an_answer_that_recovered_is_the_same_for_everybody(codec):
    position = Position("a", 1)
    assert codec.channel_answer("c", position, [], True) == codec.channel_answer("c", position, [], None)


def test_publishable_data_fits_into_a_poll(codec):
    value: object = 1
    for _ in range(data.MAX_DATA_DEPTH):
        value = [value]
    message = Publications("c", Position("a", 1), (Publication(1, data.encode(value)),))
    answer = parse_poll_answer(codec.decode(codec.join_poll([codec.encode(message)])))
    assert answer.messages == (message,)


def test_params_that_cannot_travel(codec):
    with pytest.raises(DataError, match=r"params\.x"):
        codec.encode_command(Call(1, "x" * 8, "n", {"x": float("nan")}))


def test_an_error_can_always_be_told(codec):
    reply = codec.decode(codec.encode(ErrorReply(1, 202, "half a character: \ud800")))
    assert reply["message"] == "half a character: ?"


def test_any_map(codec):
    for size in (0, 15, 16, 70_000):
        value = {f"k{number}": number for number in range(size)}
        assert codec.decode(codec.encode_map(value)) == value


def test_codecs_by_name():
    assert codec_named("json") is JSON
    assert codec_named("msgpack") is msgpack_codec()
    assert codec_named("msgpack").name == "msgpack"
    assert codec_named("JSON") is codec_named("pickle") is None


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("application/json", "json"),
        ("Application/JSON ; charset=utf-8", "json"),
        ("application/msgpack", "msgpack"),
        ("application/msgpack;x=y", "msgpack"),
        ("text/plain", None),
        ("application/jsonp", None),
        ("application/json, text/plain", None),
        ("", None),
        (None, None),
    ],
)
def test_codecs_by_content_type(content_type, name):
    found = codec_for_content_type(content_type)
    assert (found.name if found else None) == name
    if found and content_type == content_type.lower():
        assert content_type.startswith(found.content_type)


def test_without_the_package_there_is_no_msgpack(monkeypatch):
    monkeypatch.setitem(sys.modules, "msgpack", None)
    monkeypatch.delitem(sys.modules, "rtbridge.protocol.packed", raising=False)
    codecs.msgpack_codec.cache_clear()
    try:
        assert codec_named("msgpack") is codec_for_content_type("application/msgpack") is None
    finally:
        codecs.msgpack_codec.cache_clear()


def test_the_package_is_imported_only_when_asked_for():
    code = "import sys, rtbridge.protocol.codecs; sys.exit('msgpack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@each("messages.json", "commands", "server")
def test_json_is_compact_and_in_the_order_of_the_page(case):
    raw = json.dumps(case["wire"], ensure_ascii=False, separators=(",", ":")).encode()
    if (
        "id" in case["wire"]
        and case["wire"]["type"] in ("hello", "subscribe", "call", "ping")
        and ("client_id" not in case["wire"])
    ):
        assert JSON.encode_command(parse_command(JSON.decode(raw))) == raw
