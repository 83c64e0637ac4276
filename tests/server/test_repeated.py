"""A request that is answered unread, because one like it was, is answered as if it had been read."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtbridge import Bridge, History, RealtimeMiddleware
from rtbridge.config import Limits
from rtbridge.server import shared
from rtbridge.server.mount import Mount
from rtbridge.server.reactor import Reactor
from support.fakeloop import FakeLoop
from support.inprocess import close

HOST = b"Host: example.com"
BROWSER = [HOST, b"Connection: keep-alive", b"Accept: */*", b"Sec-Fetch-Site: same-origin", b"Cookie: session=secret"]
NEWS = b"GET /rt/channels/news HTTP/1.1"


class World:
    """One server that remembers; `fresh` is its twin, which has seen nothing yet."""

    def __init__(self, lock_file: Path) -> None:
        self.bridge = Bridge(secret="of the tests", lock_file=lock_file, authenticate=lambda environ: None)
        self.news = self.bridge.channel("news", public=True, keep=History(5, ttl=3600))
        self.bridge.channel("private")
        self.middleware = RealtimeMiddleware(lambda environ, start_response: [], self.bridge)
        self.news.publish("a")
        self.base = {"REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http"}
        self.mount = self.fresh()
        self.unread = 0

    def fresh(self) -> Mount:
        return Mount(self.middleware, FakeLoop(), self.base)

    def exchange(self, mount: Mount, said: bytes) -> tuple[bytes, list[bytes]]:
        """What is answered to a new connection that says this, and what is left to the site."""
        client, ours = socket.socketpair()
        ours.setblocking(False)
        client.setblocking(False)
        left: list[bytes] = []

        def site(sock: socket.socket, received: bytes) -> None:
            left.append(received)
            sock.close()

        loop = FakeLoop()
        with self.bridge.services().loop.turn():
            reactor = Reactor(loop, Limits(), site, mount)
            reactor.add(ours, said)
            heard = b""
            try:
                while data := client.recv(1 << 20):
                    heard += data
            except BlockingIOError:
                heard += b"<open>"
            for connection in list(reactor._connections):
                connection.close()
        client.close()
        assert loop.errors == []
        return re.sub(rb"Date: [^\r]*", b"Date: now", heard), left

    def said(self, said: bytes) -> tuple[bytes, list[bytes]]:
        """As `exchange` with the server that remembers, found to be what its twin says, too."""
        asked = self.mount.ask_again
        mount = self.mount

        def counted(*args: object) -> bool:
            done = asked(*args)  # type: ignore[arg-type]
            self.unread += done
            return done

        mount.ask_again = counted  # type: ignore[method-assign]
        try:
            found = self.exchange(mount, said)
        finally:
            mount.ask_again = asked  # type: ignore[method-assign]
        assert found == self.exchange(self.fresh(), said)
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "lock")
    yield world
    close(world.bridge)


def request(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n"


def test_the_third_like_it_is_not_read(world: World) -> None:
    for unread in (0, 0, 1, 2):
        answer, _ = world.said(request(NEWS, *BROWSER))
        assert answer.startswith(b"HTTP/1.1 200 OK") and b'"data":"a"' in answer
        assert world.unread == unread


def test_fields_are_known_from_any_question(world: World) -> None:
    for _ in range(2):
        world.said(request(NEWS, *BROWSER))
    recent = NEWS.replace(b"news", b"news?recent=1")
    world.said(request(recent, HOST))
    assert world.unread == 0
    world.said(request(recent, *BROWSER))
    assert world.unread == 1


def test_several_in_one_piece(world: World) -> None:
    answer, left = world.said(request(NEWS, *BROWSER) * 5 + request(NEWS, HOST, b"Connection: close"))
    assert answer.count(b"HTTP/1.1 200 OK") == 6 and not answer.endswith(b"<open>") and left == []
    assert world.unread == 3


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [b"X-No-Host: x"],
        [*BROWSER, b"Origin: http://example.com"],
        [*BROWSER, b"Origin: http://evil.example"],
        [*BROWSER, b"Content-Length: 0"],
        [*BROWSER, b"Content-Length: 5"],
        [*BROWSER, b"Transfer-Encoding: chunked"],
        [*BROWSER, b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [*BROWSER, HOST],
        [*BROWSER, b"Cookie: other"],
        [*BROWSER, b" folded"],
        [*BROWSER, b"X-Nul: \x00"],
        [*BROWSER, b"X-Bare: a\rb"],
        [*BROWSER, b"X-Bare: a\nb"],
        [*BROWSER, b"No colon"],
        [*BROWSER, b"Upgrade: websocket"],
        [*BROWSER, b"Expect: 100-continue"],
        [*BROWSER, b"If-None-Match: *"],
        [*BROWSER, b"Last-Event-ID: 1"],
        [HOST, b"Connection: close"],
        [HOST, b"Accept: text/event-stream"],
        [HOST, b"Accept: application/msgpack"],
        [HOST, b"Sec-Fetch-Site: cross-site"],
    ],
    ids=repr,
)
def test_fields_that_matter_are_read_each_time(world: World, fields: list[bytes]) -> None:
    for _ in range(3):
        world.said(request(NEWS, *BROWSER))
    assert world.unread == 1
    for _ in range(3):
        world.said(request(NEWS, *fields))
        world.said(request(NEWS, *BROWSER) + request(NEWS, *fields))
    assert world.unread == 4, "only those of the browser"


lines = st.sampled_from(
    [
        NEWS,
        NEWS + b" ",
        NEWS.replace(b"1.1", b"1.0"),
        NEWS.replace(b"GET", b"POST"),
        NEWS.replace(b"GET", b"HEAD"),
        NEWS.replace(b"news", b"news?recent=1"),
        NEWS.replace(b"news", b"news?wait=5"),
        NEWS.replace(b"news", b"private"),
        NEWS.replace(b"news", b"n%65ws"),
        b"GET /rt/ws HTTP/1.1",
        b"GET / HTTP/1.1",
    ]
)
fields = st.lists(
    st.sampled_from(
        [HOST, b"Accept: */*", b"Origin: http://evil.example", b"Content-Length: 3", b"X: \x00", b" fold", b"X: y", b""]
    ),
    max_size=3,
    unique=True,
)
ends = st.sampled_from([b"\r\n\r\n"] * 4 + [b"\n\n", b"\r\n\n", b"\r\n", b"\r\n\r\nabc"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(lines, fields, ends), min_size=4, max_size=12))
def test_whatever_was_said_before(world: World, said: list[tuple[bytes, list[bytes], bytes]]) -> None:
    world.mount = world.fresh()
    for line, few, end in [*said, *said, *said]:
        world.said(b"\r\n".join([line, HOST, *few]) + end)


def test_nothing_secret_is_kept_and_what_is_kept_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_HEADS", 10)
    world.said(request(NEWS, *BROWSER))
    for number in range(100):
        world.said(request(NEWS, *BROWSER, b"X-Number: %d" % number))
        questions = world.mount._questions
        assert questions is not None and 0 < len(questions._plain) <= 10
        assert all(len(digest) == 32 for digest in questions._plain)
    assert world.unread == 0
    world.said(request(NEWS, *BROWSER, b"X-Number: 99"))
    assert world.unread == 1
