"""Frames and messages nobody should send on a WebSocket: each ends the connection with its documented code."""

from __future__ import annotations

import contextlib
import json
import struct
import time
from typing import Any

import msgpack
import pytest

from hostile.house import House
from hostile.raw import BINARY, CLOSE, PING, PONG, TEXT, WebSocket, frame
from support.wire import hello

GREETING = json.dumps(hello()).encode()
PACKED = msgpack.packb(hello())
MAX_MESSAGE = 65_536

LAWLESS: dict[str, tuple[bytes, int]] = {
    "unmasked": (frame(TEXT, GREETING, masked=False), 1002),
    "unmasked ping": (frame(PING, b"", masked=False), 1002),
    "unmasked close": (frame(CLOSE, b"\x03\xe8", masked=False), 1002),
    **{f"reserved bit {bit}": (frame(TEXT, GREETING, reserved=bit), 1002) for bit in (1, 2, 4, 7)},
    **{f"opcode {opcode}": (frame(opcode, b"x"), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "fragmented close": (frame(CLOSE, b"", fin=False), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "long close": (frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    "ping of 8 GiB": (frame(PING, b"", size=8 << 30), 1002),
    "8 GiB": (frame(TEXT, b"", size=8 << 30), 1009),
    "8 GiB of bytes": (frame(BINARY, b"", size=8 << 30), 1009),
    "2^63 bytes": (frame(TEXT, b"", size=1 << 63), 1002),
    "one byte too long": (frame(TEXT, b"", size=MAX_MESSAGE + 1), 1009),
    "a long form of a short length": (b"\x81\xfe" + struct.pack(">H", 5) + b"\0\0\0\0hello", 1002),
    "too long in fragments": (frame(TEXT, b" " * 40_000, fin=False) + frame(0, b" " * 40_000, fin=False), 1009),
    "8 GiB fragment": (frame(TEXT, b" ", fin=False) + frame(0, b"", size=8 << 30), 1009),
    "fragment flood": (frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 2_000, 1009),
    "continuation of nothing": (frame(0, GREETING), 1002),
    "message inside a message": (frame(TEXT, b"[", fin=False) + frame(TEXT, GREETING), 1002),
    "not utf-8": (frame(TEXT, b'"\xff"'), 1007),
    "surrogate": (frame(TEXT, b'"\xed\xa0\x80"'), 1007),
    "overlong": (frame(TEXT, b'"\xc0\xaf"'), 1007),
    "beyond unicode": (frame(TEXT, b'"\xf4\x90\x80\x80"'), 1007),
    "cut character": (frame(TEXT, b'"\xe2\x82'), 1007),
    "not utf-8 across fragments": (
        frame(TEXT, b'"\xe2', fin=False) + frame(0, b"\x28\xa1", fin=False) + frame(0, b'"'),
        1007,
    ),
    "cut character at the last fragment": (frame(TEXT, b'"', fin=False) + frame(0, b"\xe2\x82"), 1007),
    "a long text that is not utf-8": (frame(TEXT, b'"' + b"a" * 300 + b"\xff" + b'"'), 1007),
    "bytes on json": (frame(BINARY, GREETING), 1003),
    **{
        f"close code {code}": (frame(CLOSE, struct.pack(">H", code)), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close reason not utf-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "no json": (frame(TEXT, b"hello"), 4300),
    "half a json": (frame(TEXT, b'{"type":"hello"'), 4300),
    "empty": (frame(TEXT, b""), 4300),
    "NaN": (frame(TEXT, b"[NaN]"), 4300),
    "lone surrogate": (frame(TEXT, b'["\\udfff"]'), 4300),
    "deep": (frame(TEXT, b"[" * 60_000), 4300),
    "deep, closed": (frame(TEXT, b"[" * 30_000 + b"]" * 30_000), 4300),
    "deep maps": (frame(TEXT, b'{"a":' * 10_000 + b"1" + b"}" * 10_000), 4300),
    "huge integer": (frame(TEXT, b"9" * 60_000), 4300),
    "key twice": (frame(TEXT, b'{"type":"hello","type":"hello"}'), 4300),
    "too many commands": (frame(TEXT, json.dumps([hello()] * 257).encode()), 4301),
}  # fmt: skip

LAWLESS_PACKED: dict[str, tuple[bytes, int]] = {
    "text on msgpack": (frame(TEXT, GREETING), 1003),
    "json in bytes": (frame(BINARY, GREETING), 4300),
    "nothing": (frame(BINARY, b""), 4300),
    "reserved": (frame(BINARY, b"\xc1"), 4300),
    "4 billion": (frame(BINARY, b"\xdd\xff\xff\xff\xff"), 4300),
    "deep": (frame(BINARY, b"\x91" * 60_000 + b"\xc0"), 4300),
    "timestamp": (frame(BINARY, b"\xd6\xff\0\0\0\0"), 4300),
    "NaN": (frame(BINARY, b"\xcb\x7f\xf8\0\0\0\0\0\0"), 4300),
    "not utf-8": (frame(BINARY, b"\xa1\xff"), 4300),
    "number keys": (frame(BINARY, b"\x81\x01\x02"), 4300),
    "two hellos": (frame(BINARY, PACKED * 2), 4300),
}


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_lawless_frames(sockets: House, codec: str) -> None:
    wrong = {}
    for name, (data, code) in (LAWLESS if codec == "json" else LAWLESS_PACKED).items():
        with sockets.websocket(query=f"version=1&codec={codec}") as socket:
            socket.send(data)
            found = socket.close_code()
            socket.send(frame(CLOSE, b""))  # or the server would wait for it, where it still listens
            if found != code or not socket.closed(3):
                wrong[name] = found
    assert wrong == {}


@pytest.mark.parametrize("name", ["unmasked", "8 GiB", "not utf-8", "no json", "bytes on json", "opcode 3"])
def test_lawless_in_the_middle(sockets: House, name: str) -> None:
    """What came before is still answered, and the same bytes one by one end the same."""
    data, code = LAWLESS[name]
    with sockets.websocket() as socket:
        socket.say(hello(), {"type": "ping", "id": 2})
        for byte in data:
            socket.send(bytes([byte]))
        found: Any = None
        kinds = []
        for opcode, payload in socket.frames():
            if opcode == CLOSE:
                found = int.from_bytes(payload[:2], "big")
                break
            kinds.append(json.loads(payload)["type"])
        assert (kinds, found) == (["hello", "pong"], code)


def test_lawful_corners(sockets: House) -> None:
    """The strict are not harsh: what is allowed works."""
    with sockets.websocket() as socket:
        half = len(GREETING) // 2
        socket.send(
            frame(TEXT, GREETING[:half], fin=False)
            + frame(PING, b"x" * 125)
            + frame(0, b"", fin=False)
            + frame(PONG, b"unasked")
            + frame(0, GREETING[half:])
        )
        pong, greeting = sorted([next(socket.frames()), next(socket.frames())], reverse=True)
        assert pong == (PONG, b"x" * 125) and json.loads(greeting[1])["type"] == "hello"
        socket.say()
        socket.say(5, None, {"type": "ping", "id": 3}, {"type": "nothing", "id": 4})
        replies = socket.take(4)
        assert [reply.get("code", reply["type"]) for reply in replies] == [100, 100, "pong", 101]
        socket.send(frame(CLOSE, struct.pack(">H", 4999) + b"x" * 123))
        assert socket.close_code() == 4999
        assert socket.closed(3)


def test_the_largest_message(sockets: House) -> None:
    with sockets.websocket() as socket:
        socket.send(frame(TEXT, GREETING.ljust(MAX_MESSAGE)))
        assert next(socket.messages())["type"] == "hello"


def test_frames_together_with_the_handshake(sockets: House) -> None:
    """A client that does not wait for the 101 loses nothing, and breaks nothing."""
    together = frame(TEXT, GREETING) + frame(TEXT, b'{"type":"ping","id":2}')
    with sockets.websocket(together=together) as socket:
        messages = socket.messages()
        assert [next(messages)["type"] for _ in range(2)] == ["hello", "pong"]
        socket.say({"type": "ping", "id": 3})
        assert next(messages)["id"] == 3
    with sockets.websocket(together=b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n") as socket:
        assert socket.close_code() == 1002
    with sockets.websocket(together=frame(TEXT, GREETING)[:-3]) as socket:
        assert socket.close_code() == 4002


def test_commands_before_hello(sockets: House) -> None:
    with sockets.websocket() as socket:
        socket.say({"type": "subscribe", "id": 1, "channel": "private/victim"}, {"type": "ping", "id": 2})
        replies = socket.take(2)
        assert {reply.get("code") for reply in replies} == {103}
        socket.say(hello(), hello())
        assert [message["type"] for message in socket.take(2)] == ["hello", "error"]


def test_a_socket_that_never_says_hello(sockets: House) -> None:
    with sockets.websocket() as silent, sockets.websocket() as chatty:
        # Pings, pongs and half a message are no hello.
        chatty.send(frame(PING, b"") * 3 + frame(PONG, b"") + frame(TEXT, b"[", fin=False))
        assert silent.close_code() == 4002
        assert chatty.close_code() == 4002
        assert silent.closed(3) and chatty.closed(3)


def test_a_flood_of_commands(sockets: House) -> None:
    """Far more than may wait, as fast as the socket takes them: answered or closed with 4301, never kept."""
    before = sockets.memory()
    with sockets.websocket() as socket:
        socket.say(hello())
        socket.until("hello")
        call = {"type": "call", "id": 1, "name": "echo", "params": {"value": 1}}
        for number in range(100):
            socket.say(*({**call, "call_id": f"flood-{number:04}-{each:04}"} for each in range(200)))
        assert socket.close_code() in (4301, None)
    assert sockets.memory() - before < 32 << 20


def test_a_flood_that_nobody_reads_the_answers_of(sockets: House) -> None:
    """Commands that are answered at once, by a client that never reads: the answers must not pile up."""
    with sockets.websocket(receive_buffer=4096) as socket:
        socket.say(hello())
        before = sockets.memory()
        socket.sock.settimeout(0.5)
        junk = frame(TEXT, json.dumps([{"type": "x" * 200, "id": 1}] * 200).encode())
        sent = 0
        while sent < 3_000 and socket.send(junk):
            sent += 1
        assert sockets.memory() - before < 16 << 20, f"after {sent} messages"


def test_a_flood_of_pings(sockets: House) -> None:
    before = sockets.memory()
    with sockets.websocket(receive_buffer=4096) as socket:
        socket.say(hello())
        socket.sock.settimeout(0.5)
        pings = b"".join(frame(PING, bytes([number]) * 125) for number in range(256))
        for _ in range(100):
            if not socket.send(pings):
                break
        assert sockets.memory() - before < 16 << 20


def test_many_subscriptions(sockets: House) -> None:
    """More channels than one connection may follow, and the same one twice."""
    with sockets.websocket(headers={"Authorization": "Bearer many"}) as socket:
        socket.say(hello(), *({"type": "subscribe", "id": 2, "channel": "open"} for _ in range(200)))
        replies = socket.take(201)
        assert [reply.get("code") for reply in replies[2:]] == [109] * 199


def test_sockets_that_vanish(sockets: House) -> None:
    """Reset at every stage, without a close: their places are free again, as soon as the server has noticed."""
    for stage in range(4):
        for _ in range(10):
            with _where_there_is_room(sockets) as socket:
                if stage > 0:
                    socket.say(hello())
                if stage > 1:
                    socket.say({"type": "subscribe", "id": 2, "channel": "open"})
                if stage > 2:
                    socket.until("subscribed")
                    socket.send(b"\x81")
                socket.sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: close with a reset
    _where_there_is_room(sockets).sock.close()


def _where_there_is_room(house: House) -> WebSocket:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(AssertionError):
            return house.websocket()
    raise AssertionError("no room for another WebSocket")
