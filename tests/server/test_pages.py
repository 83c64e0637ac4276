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
    "two lengths": [b"POST /echo HTTP/1.1\r\n" + H + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"],
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
