"""Bodies and queries nobody should send: each gets its documented error, on every server."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

import msgpack

from hostile.house import House
from hostile.raw import chunked, get, post
from support.wire import hello

DEEP = 100_000
LONE = b'"\\ud800"'
GREETING = json.dumps(hello()).encode()


def poll_of(*commands: bytes, wait: bytes = b"0") -> bytes:
    return b'{"wait":%b,"commands":[%b]}' % (wait, b",".join(commands))


BAD_JSON = {
    "nothing": b"",
    "half": b'{"commands":[',
    "words": b"hello",
    "null": b"null",
    "number": b"5",
    "string": b'"poll"',
    "array": b"[]",
    "empty map": b"{}",
    "commands null": b'{"commands":null}',
    "commands map": b'{"commands":{}}',
    "commands text": b'{"commands":"hello"}',
    "commands none": b'{"commands":[]}',
    "key twice": b'{"commands":[],"commands":[%b]}' % GREETING,
    "two values": poll_of(GREETING) * 2,
    "not utf-8": b'{"commands":["\xff"]}',
    "overlong utf-8": b'{"commands":["\xc0\x80"]}',
    "surrogate in utf-8": b'{"commands":["\xed\xa0\x80"]}',
    "lone surrogate": b'{"commands":[%b]}' % LONE,
    "lone surrogate in a key": b'{%b:1,"commands":[%b]}' % (LONE, GREETING),
    "utf-16": '{"commands":[]}'.encode("utf-16"),
    "NaN": poll_of(b"NaN"),
    "Infinity": poll_of(b"-Infinity"),
    "overflow": poll_of(b"1e999"),
    "huge integer": poll_of(b"9" * 100_000),
    "deep arrays": b"[" * DEEP,
    "deep arrays, closed": b"[" * DEEP + b"]" * DEEP,
    "deep maps": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep in a field": b'{"commands":' + b"[" * 500 + b"]" * 500 + b"}",
    "bad bytes": poll_of(b'{"$bytes":"!"}'),
    "bytes of a number": poll_of(b'{"$bytes":1}'),
    "NUL": b"\0" * 1000,
    **{
        f"wait {wait.decode()}": poll_of(GREETING, wait=wait)
        for wait in (b"-1", b"-0.001", b'"5"', b"true", b"null", b"[]", b"{}", b"NaN", b"Infinity", b"1e400")
    },
}

_PACKED_HELLO: bytes = msgpack.packb(hello())
BAD_PACKED = {
    "nothing": b"",
    "reserved": b"\xc1",
    "half": b"\x81\xa8commands",
    "nil": b"\xc0",
    "trailing": msgpack.packb({"commands": [hello()]}) + b"\xc0",
    "array of 4 billion": b"\xdd\xff\xff\xff\xff",
    "map of 4 billion": b"\xdf\xff\xff\xff\xff",
    "string of 4 billion": b"\xdb\xff\xff\xff\xff",
    "bytes of 4 billion": b"\xc6\xff\xff\xff\xff",
    "ext of 4 billion": b"\xc9\xff\xff\xff\xff\x01",
    "timestamp": b"\x81\xa8commands\x91\xd6\xff\x00\x00\x00\x00",
    "deep": b"\x91" * DEEP + b"\xc0",
    "deep maps": b"\x81\xa1a" * DEEP + b"\xc0",
    "key not text": b"\x82\x01\x02\xa8commands\x90",
    "key nil": b"\x82\xc0\x02\xa8commands\x90",
    "key twice": b"\x82\xa8commands\x90\xa8commands\x91" + _PACKED_HELLO,
    "not utf-8": b"\x81\xa8commands\x91\xa1\xff",
    "surrogate": b"\x81\xa8commands\x91\xa3\xed\xa0\x80",
    "NaN wait": b"\x82\xa4wait\xcb\x7f\xf8\0\0\0\0\0\0\xa8commands\x91" + _PACKED_HELLO,
    "infinite wait": b"\x82\xa4wait\xca\x7f\x80\0\0\xa8commands\x91" + _PACKED_HELLO,
    "integer too large": b"\x82\xa4wait\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa8commands\x91" + _PACKED_HELLO,
    "json": poll_of(GREETING),
}


def test_broken_json(house: House) -> None:
    wrong = {}
    with house.raw() as raw:  # all on one connection: none of them may end it
        for name, body in BAD_JSON.items():
            raw.send(post(body))
            reply = raw.reply()
            if (reply.status, reply.code) != (400, 100):
                wrong[name] = (reply.status, reply.body[:200])
    assert wrong == {}


def test_broken_msgpack(house: House) -> None:
    wrong = {}
    with house.raw() as raw:
        for name, body in BAD_PACKED.items():
            raw.send(post(body, {"Content-Type": "application/msgpack"}))
            reply = raw.reply()
            if (reply.status, reply.code) != (400, 100):
                wrong[name] = (reply.status, reply.body[:200])
    assert wrong == {}


def test_a_huge_wait_is_cut(house: House) -> None:
    for wait in (b"1e300", b"9223372036854775807"):
        reply = house.ask(post(poll_of(GREETING, b'{"type":"ping","id":2}', wait=wait)))
        assert [message["type"] for message in reply.json()["messages"]] == ["hello", "pong"]


def test_too_many_commands(house: House) -> None:
    reply = house.ask(post(poll_of(GREETING, *[b'{"type":"ping","id":1}'] * 256)))
    assert (reply.status, reply.code) == (413, 108)


def test_fifty_megabytes(house: House) -> None:
    before = house.memory()
    with house.raw() as raw:
        raw.send(post(b"", {"Content-Length": str(50 << 20)}))
        for _ in range(50):
            raw.send(b" " * (1 << 20))
        reply = raw.reply()
    assert (reply.status, reply.code) == (413, 108)
    assert house.memory() - before < 24 << 20


def test_fifty_megabytes_in_chunks(house: House) -> None:
    before = house.memory()
    with house.raw() as raw:
        raw.send(
            b"POST /rt/poll HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(50):
            raw.send(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
        raw.send(b"0\r\n\r\n")
        reply = raw.reply()
    assert (reply.status, reply.code) == (413, 108)
    assert house.memory() - before < 24 << 20


def test_a_body_in_chunks_is_a_body(house: House) -> None:
    head = post(b"", {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
    body = poll_of(GREETING)
    reply = house.ask(head + chunked(body[:7], body[7:]))
    assert reply.json()["messages"][0]["type"] == "hello"


ODD_LENGTHS = ["-1", "+5", "5, 6", "0x10", "five", "1e2", "9" * 40, "9" * 15, " ", "\uff15"]


def test_odd_content_lengths(house: House) -> None:
    """Refused, by whoever notices first; never believed."""
    wrong = {}
    for length in ODD_LENGTHS:
        request = post(poll_of(GREETING), {"Content-Length": length.encode().decode("latin-1")})
        with house.raw(request) as raw:
            raw.sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(EOFError):
                status = raw.reply().status
                if status not in (400, 408, 411, 413):
                    wrong[length] = status
    assert wrong == {}


BROKEN_CHUNKS = [
    b"zz\r\nxx\r\n0\r\n\r\n",
    b"-1\r\n\r\n",
    b"5\r\nabcdefgh\r\n0\r\n\r\n",
    b"F" * 16 + b"\r\n",
    b"F" * 40 + b"\r\n",
    b"5;" + b"x" * 20_000,
    b"\r\n\r\n",
    b"\n\n\n",
    b"5\rabcde",
]


def test_broken_chunks(house: House) -> None:
    """And what follows a broken body is no request."""
    wrong = {}
    for body in BROKEN_CHUNKS:
        head = post(b"", {"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
        with house.raw(head + body + get("/smuggled")) as raw:
            raw.sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(EOFError):
                status = raw.reply().status
                if status not in (400, 408, 413) or not raw.closed() or raw.buffer:
                    wrong[body[:50]] = (status, raw.buffer)
    assert wrong == {}
    assert "/smuggled" not in house.hits()


def test_a_body_that_ends_early(house: House) -> None:
    """The sender is gone in the middle of its body."""
    for headers in ({"Content-Length": "1000"}, {"Transfer-Encoding": "chunked"}):
        head = post(b"", headers)
        if "Transfer-Encoding" in headers:
            head = head.replace(b"Content-Length: 0\r\n", b"") + b"50\r\n"
        with house.raw(head + b'{"commands":') as raw:
            raw.sock.shutdown(socket.SHUT_WR)
            try:
                reply = raw.reply()
            except EOFError:
                continue
            assert reply.status in (400, 408), (reply.status, reply.body)


TEXTS: list[Any] = [None, True, 5, 1.5, [], {}, ["x"], {"x": 1}]
NUMBERS: list[Any] = [None, True, "5", [], {}, 1.5, -1, 0, 2**53, 2**63 - 1, -(2**63) + 1, 1e300]
ODD_TEXTS = ["", " ", "x" * 10_000, "\0", "\n", "é" * 64, "../..", "%00"]
# For each command: a good one, and for each of its fields values that are wrong, with the codes that say so.
GOOD = {
    "hello": {"type": "hello", "id": 5, "version": 1, "instance": "hostile-instance"},
    "subscribe": {"type": "subscribe", "id": 5, "channel": "open"},
    "unsubscribe": {"type": "unsubscribe", "id": 5, "channel": "open"},
    "call": {"type": "call", "id": 5, "call_id": "hostile-call", "name": "echo", "params": {"value": 1}},
    "ping": {"type": "ping", "id": 5},
}
WRONG: list[tuple[str, str, list[Any], set[int]]] = [
    *((kind, "id", NUMBERS, {100}) for kind in GOOD),
    *((kind, "type", TEXTS, {100}) for kind in GOOD),
    *((kind, "type", [*ODD_TEXTS, "HELLO", "publish", "__init__", "token"], {101}) for kind in GOOD),
    ("hello", "version", [None, True, "1", [], {}, 1.5], {100}),
    ("hello", "version", [0, 2, -1, 2**53 - 1], {102}),
    ("hello", "instance", [*TEXTS, *ODD_TEXTS, "short", "a" * 65], {100}),
    ("hello", "token", TEXTS, {100}),
    ("hello", "client", [*TEXTS, "x" * 65], {100}),
    ("subscribe", "channel", TEXTS, {100}),
    (
        "subscribe",
        "channel",
        [*ODD_TEXTS, "/", "open/", "/open", "a//b", "a/./b", "a/../b", "private/victim", "$user", "é"],
        {104},
    ),
    ("subscribe", "position", TEXTS, {100}),
    (
        "subscribe",
        "position",
        [
            *ODD_TEXTS,
            "x",
            "x.",
            ".1",
            "x.-1",
            "x.01",
            "x.1e3",
            "x.9007199254740992",
            "x." + "9" * 5000,
            "e" * 33 + ".1",
            "x.１",
        ],
        {107},
    ),
    ("subscribe", "recent", [*NUMBERS[:7], 2**53, 1e300], {100}),
    ("unsubscribe", "channel", TEXTS, {100}),
    ("unsubscribe", "channel", [*ODD_TEXTS], {104}),
    ("call", "call_id", [*TEXTS, *ODD_TEXTS, "short", "a" * 65], {100}),
    ("call", "name", [*TEXTS, "", "x" * 201], {100}),
    ("call", "name", ["nothing", "__class__", "é", "\0"], {105}),
    ("call", "params", [None, True, 5, "x", [], [1]], {100}),
    ("call", "params", [{}, {"value": 1, "more": 2}, {"self": 1}, {"ctx": 1}, {"": 1}], {106}),
]


def test_wrong_fields(house: House) -> None:
    wrong = []
    with house.raw() as raw:
        for kind, field, values, codes in WRONG:
            commands = [{**GOOD[kind], field: value} for value in values]
            if kind != "hello":
                commands.insert(0, hello())
            raw.send(post(json.dumps({"commands": commands}).encode()))
            reply = raw.reply()
            assert reply.status == 200, (kind, field, reply.body)
            errors = [each for each in reply.json()["messages"] if each["type"] not in ("hello", "token")]
            assert len(errors) == len(values), (kind, field)
            wrong += [
                (kind, field, value, error)
                for value, error in zip(values, errors, strict=True)
                if error.get("code") not in codes
            ]
    assert wrong == []


def test_commands_that_are_none(house: House) -> None:
    things: list[Any] = [None, True, 5, "hello", [], [hello()], {}, {"id": 1}, {"type": "hello"}]
    messages = house.ask(post(json.dumps({"commands": [*things, hello()]}).encode())).json()["messages"]
    assert [message["type"] for message in messages] == ["error"] * len(things) + ["hello"]
    assert {message["code"] for message in messages[:-1]} == {100}


def test_cursors_from_elsewhere(house: House) -> None:
    """A position of another log, or one ahead of this log, is a gap and nothing else."""
    house.publish("open", 1)
    now = house.ask(get("/rt/channels/open")).json()["position"]
    epoch = now.rpartition(".")[0]
    for position in (
        "x.1",
        "x.9007199254740991",
        f"{epoch}.9007199254740991",
        f"{epoch}.999999",
        "e" * 32 + ".0",
    ):
        answer = house.ask(get(f"/rt/channels/open?after={position}")).json()
        assert (answer["recovered"], answer["publications"], answer["position"]) == (False, [], now)
        subscribe = {"type": "subscribe", "id": 2, "channel": "open", "position": position}
        messages = house.ask(post(json.dumps({"commands": [hello(), subscribe]}).encode())).json()["messages"]
        assert messages[1]["recovered"] is False and messages[1]["position"] == now


ODD_QUERIES: list[tuple[str, int]] = [
    *(
        (f"after={value}", 107)
        for value in ("x", "x.-1", "x.9007199254740992", "x." + "9" * 4000, "%00", "a.1%0a", "%C3%A9.1")
    ),
    *(
        (f"wait={value}", 100)
        for value in ("nan", "inf", "-inf", "Infinity", "-1", "1e999", "abc", "", "%00", "0x5", "5%205")
    ),
    *((f"recent={value}", 100) for value in ("-1", "x", "1.5", "", "9" * 10, "%EF%BC%99", "1e3", "%D9%A1")),
    ("after=%ff", 100),
    ("wait=%ff", 100),
    ("%ff=1", 100),
    ("&".join(["a=1"] * 100), 100),
]


def test_odd_queries(house: House) -> None:
    wrong = {}
    with house.raw() as raw:
        for query, code in ODD_QUERIES:
            raw.send(get(f"/rt/channels/open?{query}"))
            reply = raw.reply()
            if (reply.status, reply.code) != (400, code):
                wrong[query[:50]] = (reply.status, reply.body)
    assert wrong == {}


def test_bytes_in_the_query(house: House) -> None:
    for query in (b"after=\xff", b"wait=\xc3\x28", b"recent=\xed\xa0\x80"):
        try:
            reply = house.ask(get(b"/rt/channels/open?" + query))
        except EOFError:
            continue
        assert reply.status == 400, reply.body
