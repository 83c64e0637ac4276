"""The site's own pages are answered as bare pywsgi answers them, byte for byte but for the date."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.servers import Server, command, started

pytest.importorskip("gevent")

PAGES = str(Path(__file__).parent / "pages.py")
H = b"Host: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

TALKS: dict[str, list[bytes]] = {
    "a page": [b"GET / HTTP/1.1\r\n" + H + b"\r\n"],
    "kept alive": [b"GET /stream HTTP/1.1\r\n" + H + b"\r\n"] * 3,
    "pipelined": [(b"GET /stream HTTP/1.1\r\n" + H + b"\r\n") * 5 + b"GET /echo HTTP/1.1\r\n" + H + b"\r\n"],
    "head": [b"HEAD /stream HTTP/1.1\r\n" + H + b"\r\n", b"HEAD /ignore HTTP/1.1\r\n" + H + b"\r\n"],
    "write": [b"GET /write HTTP/1.1\r\n" + H + b"\r\n"] * 2,
    "no content": [b"GET /empty HTTP/1.1\r\n" + H + b"\r\n", b"GET /same HTTP/1.1\r\n" + H + b"\r\n"],
    "a body": [b"POST /echo HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n\r\nhello"] * 2,
    "a body in pieces": [b"POST /echo HTTP/1.1\r\n" + H + b"Content-Length: 10\r\n\r\nhel", b"lo", b"world"],
    "a large body": [b"POST /echo HTTP/1.1\r\n" + H + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000],
    "a body that nobody reads": [
        b"POST /ignore HTTP/1.1\r\n"
        + H
        + b"Content-Length: 50000\r\n\r\n"
        + b"x" * 50_000
        + b"GET / HTTP/1.1\r\n"
        + H
        + b"\r\n"
    ],
    "lines": [b"POST /lines HTTP/1.1\r\n" + H + b"Content-Length: 9\r\n\r\none\ntwo\n3"],
    "chunked": [b"POST /echo HTTP/1.1\r\n" + H + CHUNKED + b"\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"]
    * 2,
    "chunked in pieces": [
        b"POST /echo HTTP/1.1\r\n" + H + CHUNKED + b"\r\n5\r\nhe",
        b"llo\r\n",
        b"0\r\nX: y\r\n\r\n",
    ],
    "chunked that nobody reads": [b"POST /ignore HTTP/1.1\r\n" + H + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n"]
    * 2,
    "broken chunks": [b"POST /echo HTTP/1.1\r\n" + H + CHUNKED + b"\r\nzz\r\nhello"],
    "100-continue": [
        b"POST /echo HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"hello",
    ],
    "100-continue unread": [
        b"POST /ignore HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"hello",
    ],
    "close": [b"GET /ignore HTTP/1.1\r\nConnection: close\r\n" + H + b"\r\n"],
    "the site closes": [b"GET /close HTTP/1.1\r\n" + H + b"\r\n"],
    "http/1.0": [b"GET /stream HTTP/1.0\r\n\r\n"],
    "http/1.0 kept alive": [b"GET /ignore HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"] * 2,
    "http/0.9": [b"GET /ignore\r\n\r\n"],
    "a failure": [b"GET /fail HTTP/1.1\r\n" + H + b"\r\n"],
    "closed": [b"GET /closing HTTP/1.1\r\n" + H + b"\r\n", b"GET /closed HTTP/1.1\r\n" + H + b"\r\n"],
    "bare line feeds": [b"GET /environ HTTP/1.1\nHost: x\nX-A: b\n\n"],
    "odd fields": [
        b"GET /environ HTTP/1.1\r\n"
        + H
        + b"X_Under: a\r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Folded: a\r\n b\r\n\r\n"
    ],
    "cookies twice": [b"GET /environ?q=%20 HTTP/1.1\r\n" + H + b"Cookie: a=b\r\nCookie: c=d\r\n\r\n"],
    "escaped": [
        b"GET /environ/../environ HTTP/1.1\r\n" + H + b"\r\n",
        b"GET /%65nviron HTTP/1.1\r\n" + H + b"\r\n",
    ],
    "no request": [b"\r\n\r\n"],
    "nonsense": [b"NONSENSE\r\n\r\n"],
    "a negative length": [b"POST /echo HTTP/1.1\r\n" + H + b"Content-Length: -5\r\n\r\n"],
    "a long line": [b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n" + H + b"\r\n"],
    "many fields": [
        b"GET /environ HTTP/1.1\r\n" + H + b"".join(b"X-%d: y\r\n" % n for n in range(90)) + b"\r\n"
    ],
    "an upgrade to nothing": [
        b"GET /ignore HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    ],
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("ours")
    with started("ours", command(PAGES, "ours", "{port}", str(folder / "lock")), folder) as server:
        yield server


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started("pywsgi", command(PAGES, "theirs", "{port}"), tmp_path_factory.mktemp("theirs")) as server:
        yield server


def talk(server: Server, said: list[bytes]) -> bytes:
    """All that is answered to what is said piece by piece, with a moment of silence after each."""
    heard = b""
    with socket.create_connection(("127.0.0.1", server.port), 5) as sock:
        for words in said:
            sock.sendall(words)
            heard += _answer(sock)
        sock.shutdown(socket.SHUT_WR)
        heard += _answer(sock, patience=5.0)
    return re.sub(rb"Date: [^\r]*", b"Date: now", heard)


def _answer(sock: socket.socket, patience: float = 0.25) -> bytes:
    heard = b""
    sock.settimeout(patience)
    while True:
        try:
            data = sock.recv(1 << 20)
        except TimeoutError:
            return heard
        except ConnectionResetError:
            return heard
        if not data:
            return heard
        heard += data


@pytest.mark.parametrize("name", TALKS)
def test_pages_are_answered_as_by_pywsgi(ours: Server, theirs: Server, name: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        said = pool.map(talk, (ours, theirs), (TALKS[name], TALKS[name]))
    answer, expected = said
    assert expected
    assert answer == expected
    assert ours.process.poll() is None


# Heads that pywsgi reads otherwise than a proxy in front of it may, so that they would not agree where the next begins.
UNCLEAR: dict[str, bytes] = {
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n",
    "a length with a sign": b"Content-Length: +5\r\n",
    "a length with an underscore": b"Content-Length: 0_5\r\n",
    "a folded length": b"Content-Length:\r\n 5\r\n",
    "a list of lengths": b"Content-Length: 5, 5\r\n",
    "a length and chunks": b"Content-Length: 5\r\n" + CHUNKED,
    "chunks twice": CHUNKED + CHUNKED,
    "chunks and something else": CHUNKED + b"Transfer-Encoding: identity\r\n",
    "a coding besides chunks": b"Transfer-Encoding: gzip, chunked\r\n",
    "an unknown coding": b"Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
    "a coding with a control character": b"Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n",
    "a space before the colon": b"Content-Length : 5\r\n",
    "a line without a colon": b"nonsense\r\nContent-Length: 5\r\n",
    "a bare carriage return": b"X: y\rContent-Length: 5\r\n",
    "a NUL": b"X: y\0\r\n",
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_where_the_body_ends_is_clear_or_nothing_is_answered(ours: Server, name: str) -> None:
    logged = len(ours.log())
    smuggled = b"GET /ignore HTTP/1.1\r\n" + H + b"\r\n"
    answer = talk(ours, [b"POST /empty HTTP/1.1\r\n" + H + UNCLEAR[name] + b"\r\n" + smuggled])
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1") == 1, answer
    assert "Traceback" not in ours.log()[logged:]


def test_half_a_version_is_no_error_of_ours(ours: Server) -> None:
    logged = len(ours.log())
    assert talk(ours, [b"GET / HTTP/1\r\n" + H + b"\r\n"]).startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in ours.log()[logged:]


def test_chunks_in_http_1_0_are_refused(ours: Server) -> None:
    head = b"POST /empty HTTP/1.0\r\nConnection: keep-alive\r\n" + CHUNKED + b"\r\n"
    assert talk(ours, [head + b"0\r\n\r\n"]).startswith(b"HTTP/1.1 400 ")


def test_a_head_that_ends_too_early_is_no_request(ours: Server) -> None:
    fields = b"".join(
        b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(90)
    )  # it is pywsgi that reads on
    assert b"200" not in talk(ours, [b"GET /ignore HTTP/1.1\r\n" + H + fields])


@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nhello", CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("path", [b"/echo", b"/ignore"])
def test_an_upgrade_with_a_body_leaves_the_next_request_alone(ours: Server, path: bytes, body: bytes) -> None:
    asking = b"POST " + path + b" HTTP/1.1\r\n" + H + b"Connection: upgrade\r\nUpgrade: websocket\r\n" + body
    answer = talk(ours, [asking, PAGE])
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200"], answer
    assert answer.endswith(b"ignored")


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("impatient")
    arguments = command(PAGES, "ours", "{port}", str(folder / "lock"), "0.5")
    with started("impatient", arguments, folder) as server:
        yield server


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (H + b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(90)), b"400"),
        (H + b"Content-Length: 5\r\n\r\nhel", b"200"),
        (H + CHUNKED + b"\r\n5\r\nhel", b"200"),
    ],
)
def test_who_says_half_of_it_is_not_waited_for(impatient: Server, words: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), 5) as sock:
        sock.sendall(b"POST /ignore HTTP/1.1\r\n" + words)
        heard = b""
        while data := sock.recv(65_536):
            heard += data
    assert re.findall(rb"HTTP/1.1 (\d+)", heard) == [status]


def test_a_response_of_text_is_a_500(ours: Server) -> None:
    assert talk(ours, [b"GET /text HTTP/1.1\r\n" + H + b"\r\n"]).startswith(b"HTTP/1.1 500 ")


def test_pages_stream(ours: Server) -> None:
    """A piece leaves when it is made, and the connection goes on afterwards."""
    with socket.create_connection(("127.0.0.1", ours.port), 5) as sock:
        for _ in range(2):
            sock.sendall(b"GET /stream HTTP/1.1\r\n" + H + b"\r\n")
            heard = b""
            while not heard.endswith(b"0\r\n\r\n"):
                heard += sock.recv(65_536)
            assert heard.count(b"piece") == 3


PAGE = b"GET /ignore HTTP/1.1\r\n" + H + b"\r\n"
POLL = b"GET /rt/channels/none HTTP/1.1\r\n" + H + b"\r\n"


def take_turns(server: Server) -> None:
    """Pages and polls on one connection, which between two requests is the reactor's."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as sock:
        for words, statuses in [
            (PAGE, [200]),
            (POLL, [404]),
            (PAGE, [200]),
            (POLL + PAGE + POLL, [404, 200, 404]),
        ]:
            sock.sendall(words)
            heard = b""
            while len(re.findall(rb"HTTP/1.1 \d+", heard)) < len(statuses) or not heard.endswith(
                (b"ignored", b"}")
            ):
                data = sock.recv(65_536)
                assert data, f"closed after {heard!r}"
                heard += data
            assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", heard)] == statuses


def test_pages_and_polls_take_turns(ours: Server) -> None:
    take_turns(ours)


@pytest.mark.parametrize("loop", ["libev-cext", "libev-cffi", "libuv"])
def test_every_loop_of_gevent(loop: str, tmp_path: Path) -> None:
    """Where descriptors are used again, a watcher that outlived its socket would fire for another, or none."""
    arguments = command(PAGES, "ours", "{port}", str(tmp_path / "lock"))
    with started(loop, arguments, tmp_path, env={"GEVENT_LOOP": loop}) as server:
        for _ in range(20):
            gone = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(30)]
            for number, sock in enumerate(gone):
                sock.sendall((b"", PAGE[:20], PAGE, POLL, b"\x00\r\n\r\n")[number % 5])
                sock.close()
            take_turns(server)
        assert server.process.poll() is None
        assert "Traceback" not in server.log()


def test_the_log_says_what_failed(ours: Server) -> None:
    talk(ours, TALKS["a failure"])
    assert "the site failed" in ours.log()
