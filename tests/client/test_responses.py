"""HTTP/1.1 responses, however they are cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.client.responses import MAX_HEAD, BadResponse, Done, Head, Part, ResponseParser

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a:  2 \r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)
TO_THE_END = b"HTTP/1.0 200 OK\r\n\r\nhello"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def parse(raw: bytes, *cuts: int) -> tuple[Head, bytes, bool | None]:
    """Head, body, and whether the connection can be used again (None: not at an end)."""
    parser = ResponseParser()
    events = []
    for start, end in zip((0, *cuts), (*cuts, len(raw)), strict=True):
        events += parser.feed(raw[start:end])
    head = events[0]
    assert isinstance(head, Head)
    done = events[-1].reusable if isinstance(events[-1], Done) else None
    return head, b"".join(event.data for event in events if isinstance(event, Part)), done


@given(st.sampled_from([COUNTED, CHUNKED, EMPTY]), st.data())
def test_pieces_make_no_difference(raw: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    head, body, reusable = parse(raw, *cuts)
    assert head.status == 200 and reusable is True
    assert body == (b"" if raw is EMPTY else b"hello")


def test_headers_are_joined_under_lower_case_names() -> None:
    assert parse(COUNTED)[0].headers == {"content-length": "5", "x-a": "1, 2"}


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    parser = ResponseParser()
    head, part = parser.feed(TO_THE_END)
    assert part == Part(b"hello") and isinstance(head, Head) and not head.persistent
    assert parser.eof() == [Done(False)] and parser.eof() == []


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_answers_have_no_body(status: bytes) -> None:
    head, body, reusable = parse(b"HTTP/1.1 " + status + b"\r\nContent-Length: 7\r\n\r\n")
    assert (body, reusable) == (b"", True) and head.status in (204, 304)


def test_interim_answers_are_skipped() -> None:
    head, body, _ = parse(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + COUNTED)
    assert (head.status, body) == (200, b"hello")


@pytest.mark.parametrize(
    ("start", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_when_a_connection_can_be_used_again(start: bytes, reusable: bool) -> None:
    assert parse(start + b"Content-Length: 0\r\n\r\n")[2] is reusable


def test_a_connection_with_bytes_left_over_is_not_used_again() -> None:
    assert parse(COUNTED + b"HTTP/1.1")[2] is False


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (MAX_HEAD + 1),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD,
    ],
)
def test_what_is_no_response_is_refused(raw: bytes) -> None:
    with pytest.raises(BadResponse):
        ResponseParser().feed(raw)


@pytest.mark.parametrize("length", [0, 10, len(COUNTED) - 1, len(CHUNKED) - 1])
def test_a_response_that_is_cut_off_is_no_response(length: int) -> None:
    parser = ResponseParser()
    parser.feed((CHUNKED if length == len(CHUNKED) - 1 else COUNTED)[:length])
    assert parser.begun is (length > 0)
    with pytest.raises(BadResponse):
        parser.eof()
