from __future__ import annotations

import itertools
import struct
import sys
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.errors import FrameError
from rtbridge.protocol.frames import (
    OPCODES,
    BinaryMessage,
    BrokenFrame,
    CloseFrame,
    FrameEvent,
    FrameParser,
    Opcode,
    PingFrame,
    PongFrame,
    TextMessage,
    close_frame,
    frame,
    text_frame,
    unmask,
)

KEY = b"\x37\xfa\x21\x3d"


def server(max_message: int = 1_000_000, max_fragments: int = 1024) -> FrameParser:
    return FrameParser(role="server", max_message=max_message, max_fragments=max_fragments)


def client(max_message: int = 1_000_000) -> FrameParser:
    return FrameParser(role="client", max_message=max_message)


def in_pieces(parser: FrameParser, raw: bytes, cuts: list[int]) -> tuple[list[FrameEvent], int | None]:
    """All events of `raw`, fed cut at `cuts`, and the code it failed with."""
    events: list[FrameEvent] = []
    places = [0, *sorted(cuts), len(raw)]
    try:
        for start, stop in itertools.pairwise(places):
            events += parser.feed(raw[start:stop])
    except BrokenFrame as error:
        return [*events, *error.events], error.code
    return events, None


# ---- the examples of RFC 6455, section 5.7

RFC = [
    (client, "810548656c6c6f", [TextMessage(b"Hello")]),
    (server, "818537fa213d7f9f4d5158", [TextMessage(b"Hello")]),
    (client, "010348656c80026c6f", [TextMessage(b"Hello")]),
    (client, "890548656c6c6f", [PingFrame(b"Hello")]),
    (server, "8a8537fa213d7f9f4d5158", [PongFrame(b"Hello")]),
    (client, "827e0100" + "00" * 256, [BinaryMessage(bytes(256))]),
    (client, "827f0000000000010000" + "00" * 65536, [BinaryMessage(bytes(65536))]),
]


@pytest.mark.parametrize(("parser", "raw", "events"), RFC)
def test_the_examples_of_the_rfc(parser, raw, events):
    assert parser().feed(bytes.fromhex(raw)) == events
    # And the writer gives the same bytes, where the example is one frame.
    [event] = events
    if not raw.startswith("01"):
        mask = KEY if parser is server else None
        opcode = {TextMessage: 1, BinaryMessage: 2, PingFrame: 9, PongFrame: 10}[type(event)]
        assert frame(opcode, event.data, mask=mask) == bytes.fromhex(raw)


# ---- any stream, cut anywhere

SIZES = st.sampled_from([0, 1, 2, 125, 126, 127, 300, 65_535, 65_536]) | st.integers(0, 200)
DATA = st.builds(lambda size, seed: bytes([seed]) * size, SIZES, st.integers(0, 255))
TEXTS = st.text(max_size=80).map(str.encode)
CONTROLS = st.one_of(
    st.builds(PingFrame, st.binary(max_size=125)), st.builds(PongFrame, st.binary(max_size=125))
)


@st.composite
def written(draw, masked: bool):
    """A valid stream of frames and the events that it means."""
    raw, events = b"", []

    def write(opcode: int, payload: bytes, fin: bool = True) -> None:
        nonlocal raw
        mask = draw(st.binary(min_size=4, max_size=4)) if masked else None
        raw += frame(opcode, payload, mask=mask, fin=fin)

    def control() -> None:
        event = draw(CONTROLS)
        events.append(event)
        write(9 if isinstance(event, PingFrame) else 10, event.data)

    for _ in range(draw(st.integers(1, 4))):
        text = draw(st.booleans())
        payload = draw(TEXTS if text else DATA)
        places = [0, *sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3))), len(payload)]
        parts = [payload[start:stop] for start, stop in itertools.pairwise(places)]
        for number, part in enumerate(parts):
            opcode = 0 if number else 1 if text else 2
            write(opcode, part, number == len(parts) - 1)
            if number < len(parts) - 1 and draw(st.booleans()):
                control()
        events.append(TextMessage(payload) if text else BinaryMessage(payload))
        if draw(st.booleans()):
            control()
    if draw(st.booleans()):
        write(8, struct.pack(">H", 1000) + b"bye")
        events.append(CloseFrame(1000, "bye"))
        raw += draw(st.binary(max_size=10))
    return raw, events


@pytest.mark.parametrize("masked", [True, False])
@given(st.data())
def test_a_stream_means_the_same_however_it_is_cut(masked, draw):
    raw, events = draw.draw(written(masked))
    cuts = draw.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    make = server if masked else client
    assert in_pieces(make(), raw, []) == (events, None)
    assert in_pieces(make(), raw, cuts) == (events, None)
    if len(raw) < 500:
        assert in_pieces(make(), raw, list(range(len(raw)))) == (events, None)


HEADS = st.builds(
    lambda first, second, rest: bytes([first, second]) + rest,
    st.sampled_from([0x00, 0x01, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0x83]) | st.integers(0, 255),
    st.integers(0x80, 0x86) | st.sampled_from([0xFE, 0xFF, 0x05]) | st.integers(0, 255),
    st.binary(max_size=14),
)


@given(st.lists(HEADS, max_size=6).map(b"".join), st.data())
def test_any_bytes_mean_the_same_however_they_are_cut(raw, draw):
    whole = in_pieces(server(200), raw, [])
    cuts = draw.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    assert in_pieces(server(200), raw, cuts) == whole
    assert in_pieces(server(200), raw, list(range(len(raw)))) == whole
    assert whole[1] in (None, 1002, 1007, 1009)


# ---- what is refused

LONG = struct.pack(">BBQ", 0x82, 0xFF, 2**40) + KEY


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        (1002, b"\xc1\x80"),  # each reserved bit
        (1002, b"\xa1\x80"),
        (1002, b"\x91\x80"),
        *[(1002, bytes([0x80 | opcode, 0x80])) for opcode in range(16) if opcode not in OPCODES],
        (1002, b"\x81\x05"),  # not masked
        (1002, b"\x09\x80"),  # a fragmented ping
        (1002, b"\x89\xfe"),  # a ping over 125 bytes
        (1002, b"\x88\xff"),
        (1002, b"\x80\x80"),  # a continuation of nothing
        (1002, b"\x00\x80"),
        (1002, frame(1, b"a", mask=KEY, fin=False) + b"\x81\x80"),  # a message inside a message
        (1002, frame(2, b"", mask=KEY, fin=False) + b"\x02\x80"),
        (1002, b"\x82\xfe\x00\x7d" + KEY),  # lengths that are too long a form
        (1002, b"\x82\xff" + struct.pack(">Q", 65_535) + KEY),
        (1002, b"\x82\xff" + struct.pack(">Q", 2**63) + KEY),
        (1002, frame(8, b"\x03", mask=KEY)),  # a close code of one byte
        *[
            (1002, frame(8, struct.pack(">H", close), mask=KEY))
            for close in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535)
        ],
        (1007, frame(8, b"\x03\xe8\xff", mask=KEY)),
        (1007, frame(8, b"\x03\xe8\xe2\x82", mask=KEY)),  # truncated
        (1007, text_frame(b"\xff", mask=KEY)),
        (1007, text_frame(b"\xed\xa0\x80", mask=KEY)),  # a surrogate
        (1007, text_frame(b"\xe2\x82", mask=KEY)),  # truncated
        (1007, text_frame(b"a" * 200 + b"\xff", mask=KEY)),
        (1007, text_frame(b"a" * 200 + b"\xe2\x82", mask=KEY)),
        (1007, frame(1, b"\xe2", mask=KEY, fin=False) + frame(0, b"", mask=KEY)),
        (1007, frame(1, b"\xe2", mask=KEY, fin=False) + frame(0, b"a", mask=KEY, fin=False)),
        (1009, LONG),
        (1009, b"\x82\xfe\x27\x11" + KEY),
    ],
)
def test_what_is_refused_and_the_parser_stays_dead(code, raw):
    for cuts in ([], list(range(len(raw)))):
        parser = server(10_000)
        assert in_pieces(parser, raw, cuts) == ([], code)
        with pytest.raises(FrameError) as caught:
            parser.feed(text_frame(b"hello", mask=KEY))
        assert caught.value.code == code
        assert caught.value.events == ()


@pytest.mark.parametrize(
    "close", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_close_codes(close):
    assert server().feed(close_frame(close, "grüße", mask=KEY)) == [CloseFrame(close, "grüße")]


def test_a_client_refuses_masked_frames():
    for raw in (text_frame(b"hello", mask=KEY), frame(9, b"", mask=KEY)):
        with pytest.raises(FrameError) as caught:
            client().feed(raw)
        assert caught.value.code == 1002


def test_what_was_whole_before_the_broken_frame_is_not_lost():
    good = text_frame(b"hello", mask=KEY) + frame(9, b"x", mask=KEY)
    with pytest.raises(BrokenFrame) as caught:
        server().feed(good + b"\xff\xff")
    assert caught.value.events == (TextMessage(b"hello"), PingFrame(b"x"))


def test_nothing_is_read_after_a_close():
    parser = server()
    raw = close_frame(None, mask=KEY) + text_frame(b"hello", mask=KEY) + b"\xff\xff"
    assert parser.feed(raw) == [CloseFrame(None, "")]
    assert parser.feed(b"\xff\xff") == []


def test_a_close_between_fragments_ends_the_message():
    parser = server()
    raw = frame(1, b"a", mask=KEY, fin=False) + close_frame(1001, mask=KEY)
    assert parser.feed(raw) == [CloseFrame(1001, "")]
    assert parser.feed(frame(0, b"b", mask=KEY)) == []


# ---- limits


def test_a_message_of_just_the_limit():
    for size in (100, 10_000):
        parser = server(size)
        assert parser.feed(frame(2, bytes(size), mask=KEY)) == [BinaryMessage(bytes(size))]
        with pytest.raises(FrameError) as caught:
            parser.feed(frame(2, bytes(size + 1), mask=KEY))
        assert caught.value.code == 1009


def test_fragments_count_together():
    parser = server(10)
    parser.feed(frame(2, b"123456", mask=KEY, fin=False))
    with pytest.raises(FrameError, match="over 10 bytes"):
        parser.feed(frame(0, b"12345", mask=KEY)[:6])


def test_a_message_after_a_fragmented_one_has_the_whole_limit_again():
    parser = server(10, 2)
    for _ in range(3):
        raw = frame(1, b"12345", mask=KEY, fin=False) + frame(0, b"67890", mask=KEY)
        assert parser.feed(raw) == [TextMessage(b"1234567890")]


def test_empty_fragments_count():
    parser = server(10, 3)
    parser.feed(frame(2, b"", mask=KEY, fin=False) + frame(0, b"", mask=KEY, fin=False) * 2)
    with pytest.raises(FrameError, match="more than 3 fragments") as caught:
        parser.feed(frame(0, b"", mask=KEY))
    assert caught.value.code == 1009


def test_pings_do_not_count_as_fragments():
    parser = server(10, 2)
    raw = frame(2, b"a", mask=KEY, fin=False) + frame(9, b"x" * 125, mask=KEY) * 5 + frame(0, b"b", mask=KEY)
    assert parser.feed(raw) == [PingFrame(b"x" * 125)] * 5 + [BinaryMessage(b"ab")]


def test_an_announced_giant_takes_no_memory():
    tracemalloc.start()
    try:
        for _ in range(4):
            with pytest.raises(FrameError):
                server(2**20).feed(LONG)
        parser = server(2**50)
        parser.feed(LONG + b"a few bytes")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_bad_text_fails_at_the_first_bad_byte():
    parser = server()
    raw = frame(1, b"good" + b"\xff" + b"x" * 1000, mask=KEY)
    assert parser.feed(raw[: 8 + 4]) == []
    with pytest.raises(FrameError) as caught:
        parser.feed(raw[12:13])
    assert caught.value.code == 1007


# ---- cost


def test_a_slow_sender_costs_linear_time():
    def seconds(size: int) -> float:
        raw = frame(1, b"x" * size, mask=KEY)
        parser, events = server(), []
        begin = time.perf_counter()
        for place in range(len(raw)):
            events += parser.feed(raw[place : place + 1])
        taken = time.perf_counter() - begin
        assert len(events) == 1
        return taken

    small = min(seconds(8_192) for _ in range(3))
    # Eight times the bytes: quadratic buffering would take 64 times as long.
    assert min(seconds(65_536) for _ in range(2)) < 24 * small


def test_an_idle_parser_is_small():
    parser = server()
    parser.feed(text_frame(b"hello", mask=KEY) * 3)
    parser.feed(frame(1, b"x" * 100_000, mask=KEY))
    size = sys.getsizeof(parser) + sum(
        sys.getsizeof(getattr(parser, name))
        for name in FrameParser.__slots__
        if getattr(parser, name) is not None and not isinstance(getattr(parser, name), int)
    )
    assert size < 200
    assert parser._assembly is None


# ---- writing


@given(st.sampled_from(sorted(OPCODES)), st.binary(max_size=300), st.booleans())
def test_frames_have_the_shortest_length(opcode, payload, fin):
    raw = frame(opcode, payload, fin=fin)
    assert raw[0] == opcode | (0x80 if fin else 0)
    assert raw == raw[: 2 if len(payload) < 126 else 4] + payload
    masked = frame(opcode, payload, mask=KEY, fin=fin)
    assert len(masked) == len(raw) + 4
    assert unmask(masked[len(raw) - len(payload) + 4 :], KEY) == payload


@given(st.text(max_size=150))
def test_a_close_reason_is_cut_on_a_character(reason):
    [event] = client().feed(close_frame(4000, reason))
    assert isinstance(event, CloseFrame)
    assert reason.startswith(event.reason)
    assert len(event.reason.encode()) <= 123
    assert event.reason == reason or len(event.reason.encode()) > 119


def test_a_close_reason_may_hold_anything():
    assert client().feed(close_frame(1011, "half \ud800")) == [CloseFrame(1011, "half ?")]
    assert close_frame(None, "unsaid") == b"\x88\x00"


def test_frames_of_other_buffers():
    raw = text_frame(b"hello", mask=KEY)
    assert server().feed(bytearray(raw)) == server().feed(memoryview(raw)) == [TextMessage(b"hello")]
    assert Opcode.TEXT == 1
