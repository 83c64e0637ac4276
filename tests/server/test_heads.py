"""What our reading of a head accepts, pywsgi accepts too, and finds the same in it. The rest is pywsgi's."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.server.heads import END, Head, Heads, end_of

pywsgi = pytest.importorskip("gevent.pywsgi")

PLAIN = [b"GET /rt/channels/news?after=e.1 HTTP/1.1", b"Host: example.com"]


def read(*lines: bytes) -> Head | None:
    return Heads().read(b"\r\n".join(lines))


class _Log:
    def write(self, message: str) -> None:
        pass


class _Server:
    error_log = _Log()

    def get_environ(self) -> dict[str, Any]:
        return {}


def by_pywsgi(head: bytes) -> dict[str, str] | None:
    """The environ that pywsgi makes of a head, or None where it refuses it."""
    rfile = io.BufferedReader(io.BytesIO(head + b"\r\n\r\n"))  # type: ignore[arg-type]
    handler = pywsgi.WSGIHandler(None, None, _Server(), rfile)
    try:
        if not handler.read_request(rfile.readline().decode("latin-1")):
            return None
    except ValueError:
        return None
    return {key: value for key, value in handler.get_environ().items() if isinstance(value, str)}


def test_a_browsers_head() -> None:
    head = read(*PLAIN, b"Accept:\t*/*  ", b"Cookie: a=b; c=d", b"X-Empty:", b"Content-Length: 12")
    assert head is not None
    assert (head.method, head.path, head.query) == ("GET", "/rt/channels/news", "after=e.1")
    assert head.fields == {
        "HTTP_HOST": "example.com",
        "HTTP_ACCEPT": "*/*",
        "HTTP_COOKIE": "a=b; c=d",
        "HTTP_X_EMPTY": "",
        "CONTENT_LENGTH": "12",
    }
    assert head.line == PLAIN[0]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET /rt/ws",
        b"GET  /rt/ws HTTP/1.1",
        b"GET /rt/ws HTTP/1.0",
        b"GET /rt/ws HTTP/1.1 ",
        b"get /rt/ws HTTP/1.1",
        b"PUT /rt/poll HTTP/1.1",
        b"GET http://example.com/rt/ws HTTP/1.1",
        b"GET /rt/w%73 HTTP/1.1",
        b"GET /rt/ws? a HTTP/1.1",
        b"GET /rt/ws?\x80 HTTP/1.1",
        b"GET /rt/ws\x00 HTTP/1.1",
        b"GET /rt/ws#x HTTP/1.1",
        b"\nGET /rt/ws HTTP/1.1",
    ],
)
def test_lines_that_are_not_ours(line: bytes) -> None:
    assert read(line, PLAIN[1]) is None


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b"no colon",
        b": no name",
        b"Space : before the colon",
        b" Folded: line",
        b"\tfolded",
        b"Under_score: x",
        b"Na\x00me: x",
        b"Value: \x00",
        b"Value: bare\rreturn",
        b"Value: bare\nfeed",
        b"Value: \x7f",
        b"Na\x80me: x",
        b"host: again.example.com",
    ],
)
def test_fields_that_are_not_ours(field: bytes) -> None:
    heads = Heads()
    for _ in range(2):  # and what was refused once is not remembered as sound
        assert heads.read(b"\r\n".join([*PLAIN, field])) is None
        assert heads.read(b"\r\n".join([*PLAIN, field, b"X-Last: y"])) is None


def test_without_a_host_it_is_not_ours() -> None:
    assert read(PLAIN[0]) is None
    assert read(PLAIN[0], b"X-Forwarded-Host: example.com") is None


def test_secrets_are_not_remembered_and_what_is_remembered_is_bounded() -> None:
    heads = Heads()
    secrets = [b"Cookie: sessionid=secret", b"Authorization: Bearer secret", b"Rtbridge-Token: secret"]
    assert heads.read(b"\r\n".join([*PLAIN, *secrets])) is not None
    assert not any(b"secret" in line for line in heads._known)
    for number in range(5_000):
        assert heads.read(b"\r\n".join([*PLAIN, b"X-Number: %d" % number])) is not None
    assert len(heads._known) <= 2_000


@pytest.mark.parametrize("between", [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n"])
def test_where_a_head_ends(between: bytes) -> None:
    found = END.search(b"GET / HTTP/1.1\r\nHost: x" + between + b"body\r\n\r\n")
    assert found is not None
    assert found.end() == len(b"GET / HTTP/1.1\r\nHost: x" + between)


def test_the_end_is_found_where_the_pattern_finds_it() -> None:
    for size in range(8):
        for letters in itertools.product("\r\nx", repeat=size):
            received = "".join(letters).encode()
            for start in range(size + 1):
                found = END.search(received, start)
                assert end_of(received, start) == (None if found is None else found.span()), (received, start)


names = st.sampled_from(
    [
        b"Host",
        b"host",
        b"Cookie",
        b"Content-Type",
        b"Content-Length",
        b"X-A",
        b"X_A",
        b"Connection",
        b"",
        b"Transfer-Encoding",
    ]
)
values = st.one_of(st.sampled_from([b"chunked", b"3", b"close", b"example.com"]), st.binary(max_size=8))
field_lines = st.builds(
    lambda name, colon, value: name + colon + value,
    names,
    st.sampled_from([b": ", b":", b" : ", b"\t", b":\t "]),
    values,
)
request_lines = st.builds(
    b" ".join,
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"HEAD", b"G"]),
        st.one_of(st.sampled_from([b"/rt/poll", b"/rt/ws?a=b&c", b"*"]), st.binary(max_size=6)),
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b""]),
    ),
)


@given(request_lines, st.lists(field_lines, max_size=5))
def test_what_we_read_pywsgi_reads_alike(line: bytes, fields: list[bytes]) -> None:
    raw = b"\r\n".join([line, b"Host: example.com", *fields])
    if END.search(raw):
        return  # the head ends before
    head = Heads().read(raw)
    if head is None:
        return
    expected = by_pywsgi(raw)
    if expected is None:
        # It refuses lengths that are none, as whoever takes our head must.
        assert not head.fields.get("CONTENT_LENGTH", "x").isdigit()
        return
    # Where both are named, pywsgi drops the length; such a head is not taken either.
    if "HTTP_TRANSFER_ENCODING" in head.fields:
        return
    ours = {**head.fields, "REQUEST_METHOD": head.method, "PATH_INFO": head.path, "QUERY_STRING": head.query}
    for key in ("SCRIPT_NAME", "SERVER_PROTOCOL"):
        expected.pop(key, None)
    if not ours.get("CONTENT_LENGTH", "x"):
        del ours["CONTENT_LENGTH"]
    if "CONTENT_TYPE" in ours:
        expected.setdefault("CONTENT_TYPE", "")
    assert ours == expected
