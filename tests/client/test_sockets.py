"""WebSockets and HTTP connections against servers that follow a script, byte by byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rtbridge.client import events as e
from rtbridge.client.core import Core, PendingCall
from rtbridge.client.errors import CallError
from rtbridge.client.http import Answer, Http, Lost, Response
from rtbridge.client.origin import Origin, origin_of
from rtbridge.client.websocket import WebSocketLink
from rtbridge.protocol import frames
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.handshake import accept_key, response_head
from rtbridge.runtime import Mailbox, ThreadLoop
from support.client_stubs import StubOwner, hello_reply

SECONDS = 10
Script = Callable[["Peer"], object]


class Peer:
    """The server's end of one connection, in a thread of its own."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(SECONDS)
        self.parser = frames.FrameParser(role="server", max_message=1_000_000)
        self.events: list[frames.FrameEvent] = []

    def request(self) -> bytes:
        """A request's head, and what came with it."""
        received = b""
        while b"\r\n\r\n" not in received:
            data = self.sock.recv(65_536)
            assert data, "the client closed"
            received += data
        return received

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def upgrade(self) -> bytes:
        request = self.request()
        key = next(line for line in request.decode().split("\r\n") if line.startswith("Sec-WebSocket-Key"))
        self.send(response_head(accept_key(key.partition(": ")[2])))
        return request

    def say(self, *messages: dict[str, Any]) -> None:
        self.send(b"".join(frames.text_frame(json.dumps(message).encode()) for message in messages))

    def event(self) -> frames.FrameEvent:
        while not self.events:
            data = self.sock.recv(65_536)
            assert data, "the client closed"
            self.events += self.parser.feed(data)
        return self.events.pop(0)

    def command(self) -> dict[str, Any]:
        event = self.event()
        assert isinstance(event, frames.TextMessage)
        return dict(json.loads(event.data))

    def welcome(self, **fields: Any) -> None:
        self.upgrade()
        self.say(hello_reply(self.command()["id"], **fields))


class Server:
    """Follows one script for each connection, in turn; then refuses."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.problems: list[BaseException] = []
        self.threads: list[threading.Thread] = []

    def follow(self, *scripts: Script) -> None:
        def run() -> None:
            for script in scripts:
                sock, _ = self.listener.accept()
                with sock:
                    try:
                        script(Peer(sock))
                    except BaseException as error:
                        self.problems.append(error)

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def check(self) -> None:
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive(), "the script was not followed to its end"
        assert not self.problems, self.problems

    @property
    def origin(self) -> Origin:
        return origin_of(f"http://127.0.0.1:{self.port}/rt/")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listener.close()


@pytest.fixture
def loop() -> Iterator[ThreadLoop]:
    loop = ThreadLoop()
    yield loop
    loop.close()


# -- WebSockets


class WaitingOwner(StubOwner):
    def __init__(self, loop: ThreadLoop) -> None:
        super().__init__()
        self.over: Mailbox = loop.mailbox()

    def ended(self, link: Any, ending: e.Ending) -> None:
        super().ended(link, ending)
        self.over.put(ending)


class Bench:
    def __init__(self, loop: ThreadLoop, server: Server, timeout: float = 5.0, **headers: str) -> None:
        self.loop = loop
        self.owner = WaitingOwner(loop)
        self.core = Core("instance-1", "test")
        self.link = WebSocketLink(self.owner, self.core, loop, JSON, timeout, server.origin, headers)

    def ending(self) -> e.Ending:
        self.loop.call_soon(self.link.start)
        found = self.owner.over.get(SECONDS)
        assert isinstance(found, e.Ending)
        return found


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def error(code: int) -> bytes:
    return json.dumps({"error": {"code": code, "reason": "", "message": "because"}}).encode()


JSON_TYPE = "Content-Type: application/json"


@pytest.mark.parametrize(
    ("answer", "step", "retry_after"),
    [
        (http("400 Bad Request", b"<html>"), "lower", None),
        (http("404 Not Found"), "lower", None),
        (http("200 OK", b"a page"), "lower", None),
        (http("502 Bad Gateway", b"<html>"), "resume", None),
        (http("503 x", b"<html>", "Retry-After: 9"), "resume", 9.0),
        (http("503 x", error(200), JSON_TYPE, "Retry-After: 7"), "resume", 7.0),
        (http("501 x", error(204), JSON_TYPE), "lower", None),
        (http("426 x", error(116), JSON_TYPE), "lower", None),
        (http("403 x", error(112), JSON_TYPE), "stop", None),
        (b"HTTP/1.1 403 x\r\n\r\n" + error(112), "stop", None),
        (b"HTTP/1.1 400 x\r\nContent-Length: 99\r\n\r\ncut", "lower", None),
        (b"HTTP/1.1 400 x\r\nContent-Length: x\r\n\r\n", "lower", None),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "lower", None),
        (response_head("wrong"), "lower", None),
        (b"x" * 70_000, "lower", None),
        (b"", "resume", None),
    ],
)
def test_a_handshake_that_opens_nothing(
    loop: ThreadLoop, server: Server, answer: bytes, step: str, retry_after: float | None
) -> None:
    server.follow(lambda peer: (peer.request(), peer.send(answer)))
    ending = Bench(loop, server).ending()
    assert (ending.step, ending.retry_after, ending.reached) == (step, retry_after, True)
    server.check()


def test_the_request_says_who_we_are_and_where_we_come_from(loop: ThreadLoop, server: Server) -> None:
    requests: list[str] = []
    server.follow(*[lambda peer: requests.append(peer.upgrade().decode())] * 3)
    Bench(loop, server, Cookie="a=b").ending()
    Bench(loop, server, Authorization="Bearer x").ending()
    Bench(loop, server, cookie="a=b", Origin="https://example.org").ending()
    server.check()
    assert requests[0].startswith("GET /rt/ws?version=1&codec=json HTTP/1.1\r\n")
    assert f"\r\nOrigin: http://127.0.0.1:{server.port}\r\n" in requests[0] and "Cookie: a=b" in requests[0]
    assert "Origin" not in requests[1] and "Authorization: Bearer x" in requests[1]
    assert requests[2].count("Origin: ") == 1 and "Origin: https://example.org" in requests[2]


def test_nobody_answers(loop: ThreadLoop, server: Server) -> None:
    done = threading.Event()
    server.follow(lambda peer: done.wait(SECONDS))
    ending = Bench(loop, server, timeout=0.2).ending()
    assert ending.step == "resume" and ending.reached and "no hello came" in ending.message
    done.set()


def test_nobody_there(loop: ThreadLoop, server: Server) -> None:
    server.listener.close()
    ending = Bench(loop, server).ending()
    assert not ending.reached and "ECONNREFUSED" in ending.message
    bench = Bench(loop, server)
    bench.link._origin = origin_of("http://no.such.host.invalid/rt/")
    ending = bench.ending()
    assert not ending.reached and "was not found" in ending.message


def test_pings_are_answered_in_both_ways(loop: ThreadLoop, server: Server) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.send(frames.frame(frames.Opcode.PING, b"beat"))
        assert peer.event() == frames.PongFrame(b"beat")
        peer.say({"type": "ping"}, {"type": "of a later version"})
        assert peer.command() == {"type": "pong"}
        peer.send(frames.close_frame(4000, "shutdown"))
        assert isinstance(peer.event(), frames.CloseFrame)

    server.follow(script)
    bench = Bench(loop, server)
    assert bench.ending().code == 4000 and bench.owner.log == ["opened", "ended"]
    server.check()


def test_silence_ends_it(loop: ThreadLoop, server: Server) -> None:
    server.follow(lambda peer: (peer.welcome(ping=0.1), peer.event()))
    ending = Bench(loop, server, timeout=0.3).ending()
    assert ending.step == "resume" and "nothing was heard" in ending.message
    server.check()


@pytest.mark.parametrize(
    ("sent", "step", "code"),
    [
        (frames.frame(1, b"{}", mask=b"1234"), "lower", 1002),
        (frames.frame(1, b"\xff"), "lower", 1007),
        (frames.text_frame(b"<html>"), "lower", None),
        (frames.text_frame(b'{"type": "gap"}'), "lower", None),
        (frames.close_frame(4200, "no"), "lower", 4200),
        (frames.close_frame(4100, "who?"), "renew", 4100),
        (frames.close_frame(4303, "end"), "stop", 4303),
        (frames.close_frame(1001, ""), "resume", 1001),
        (frames.close_frame(None), "resume", None),
        (
            frames.text_frame(b'{"type":"disconnect","code":4000,"message":"m","retry_after":3.5}'),
            "resume",
            4000,
        ),
    ],
)
def test_how_a_server_ends_it(
    loop: ThreadLoop, server: Server, sent: bytes, step: str, code: int | None
) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.send(sent)
        assert isinstance(peer.event(), frames.CloseFrame), "the client closes, too"

    server.follow(script)
    ending = Bench(loop, server).ending()
    assert (ending.step, ending.code) == (step, code)
    assert (ending.retry_after == 3.5) == (b"3.5" in sent)
    server.check()


def test_the_largest_call_is_blamed_for_a_message_that_was_too_large(
    loop: ThreadLoop, server: Server
) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        assert sorted(peer.command()["call_id"] for _ in range(3)) == ["call-0000", "call-0001", "call-0002"]
        peer.send(frames.close_frame(1009, "too big"))

    server.follow(script)
    bench = Bench(loop, server)
    for number, size in enumerate((10, 1000, 100)):
        call = PendingCall(f"call-000{number}", "length", {"text": "x" * size}, 1e12)
        bench.core.calls[call.call_id] = call
    assert bench.ending().step == "lower"
    (over,) = [event for event in bench.owner.events if isinstance(event, e.CallOver)]
    assert over.call_id == "call-0001"
    assert isinstance(over.answer, CallError) and over.answer.reason == "too_large"
    assert all(call.where is None for call in bench.core.calls.values())
    server.check()


# -- HTTP


class Asker:
    """Sends requests and waits for their answers."""

    def __init__(self, loop: ThreadLoop, server: Server) -> None:
        self.loop = loop
        self.http = Http(loop, server.origin, {"X-Mine": "1"}, timeout=SECONDS)
        self.parts: list[bytes] = []

    def ask(
        self, method: str = "GET", body: bytes = b"", timeout: float = SECONDS, stream: bool = False
    ) -> Answer:
        box = self.loop.mailbox()

        def begin() -> None:
            self.http.request(
                method,
                "poll",
                {"Accept": "x"},
                body,
                timeout=timeout,
                on_answer=box.put,
                on_part=self.parts.append if stream else None,
            )

        self.loop.call_soon(begin)
        answer = box.get(SECONDS)
        assert isinstance(answer, Response | Lost)
        return answer


def test_requests_share_a_connection(loop: ThreadLoop, server: Server) -> None:
    def script(peer: Peer) -> None:
        head, _, body = peer.request().partition(b"\r\n\r\n")
        assert head.startswith(b"POST /rt/poll HTTP/1.1\r\nHost: 127.0.0.1:")
        assert (
            b"X-Mine: 1" in head and b"Accept: x" in head and b"Content-Length: 2" in head and body == b"{}"
        )
        peer.send(http("200 OK", b"one"))
        assert b"Content-Length" not in peer.request()
        peer.send(http("404 Not Found", b"two", "Connection: close"))

    server.follow(script, lambda peer: (peer.request(), peer.send(b"HTTP/1.0 200 OK\r\n\r\nthree")))
    asker = Asker(loop, server)
    answers = [asker.ask("POST", b"{}"), asker.ask(), asker.ask()]
    assert [(a.status, a.body) for a in answers if isinstance(a, Response)] == [
        (200, b"one"), (404, b"two"), (200, b"three"),
    ]  # fmt: skip
    server.check()


def test_a_kept_connection_that_was_closed_is_no_failure(loop: ThreadLoop, server: Server) -> None:
    closed = threading.Event()

    def once(peer: Peer) -> None:
        peer.request()
        peer.send(http("200 OK", b"one"))
        peer.request()  # and closes without an answer

    def again(peer: Peer) -> None:
        peer.request()
        peer.send(http("200 OK", b"two"))
        peer.sock.shutdown(socket.SHUT_RDWR)
        closed.set()

    server.follow(once, again, lambda peer: (peer.request(), peer.send(http("200 OK", b"three"))))
    asker = Asker(loop, server)
    bodies = [asker.ask(), asker.ask()]
    closed.wait(SECONDS)
    bodies.append(asker.ask())
    assert [answer.body for answer in bodies if isinstance(answer, Response)] == [b"one", b"two", b"three"]
    server.check()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", http("200 OK", b"12345")[:-1], b"nonsense\r\n\r\n"]
)
def test_an_answer_that_was_cut_is_lost(loop: ThreadLoop, server: Server, answer: bytes) -> None:
    server.follow(lambda peer: (peer.request(), peer.send(answer)))
    lost = Asker(loop, server).ask()
    assert isinstance(lost, Lost) and lost.reached
    server.check()


def test_an_answer_that_does_not_come_is_lost(loop: ThreadLoop, server: Server) -> None:
    done = threading.Event()
    server.follow(lambda peer: done.wait(SECONDS))
    lost = Asker(loop, server).ask(timeout=0.1)
    assert isinstance(lost, Lost) and lost.reached and "within the time" in lost.why
    done.set()
    server.listener.close()
    lost = Asker(loop, server).ask()
    assert isinstance(lost, Lost) and not lost.reached


def test_a_stream_comes_in_parts_and_may_take_for_ever(loop: ThreadLoop, server: Server) -> None:
    asker = Asker(loop, server)

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        while asker.parts != [b"one"]:  # longer than the timeout of its head
            late.wait(0.3)
        peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    late = threading.Event()
    server.follow(script, lambda peer: (peer.request(), peer.send(http("503 x", b"no"))))
    answer = asker.ask(timeout=0.2, stream=True)
    assert isinstance(answer, Response) and answer.body == b"" and asker.parts == [b"one", b"two"]
    asker.http.close()
    answer = asker.ask(stream=True)
    assert isinstance(answer, Response) and (answer.status, answer.body) == (503, b"no")
    server.check()


def test_no_more_than_a_few_connections_are_kept(loop: ThreadLoop, server: Server) -> None:
    together = threading.Barrier(6)

    def script(peer: Peer) -> None:
        peer.request()
        together.wait(SECONDS)  # all six are under way at once
        peer.send(http("200 OK", b"ok"))

    for _ in range(6):
        server.follow(script)
    asker = Asker(loop, server)
    threads = [threading.Thread(target=asker.ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asker.http._idle) <= 4
    server.check()


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path", "site"),
    [
        ("http://localhost:8000/rt/", "localhost", 8000, "localhost:8000", "/rt/", "http://localhost:8000"),
        ("http://example.org", "example.org", 80, "example.org", "/", "http://example.org"),
        ("ws://example.org/a/b", "example.org", 80, "example.org", "/a/b/", "http://example.org"),
        ("https://example.org:443/rt", "example.org", 443, "example.org", "/rt/", "https://example.org"),
        ("wss://[::1]:8443/rt/", "::1", 8443, "[::1]:8443", "/rt/", "https://[::1]:8443"),
    ],
)
def test_urls(url: str, host: str, port: int, authority: str, path: str, site: str) -> None:
    origin = origin_of(url)
    assert (origin.host, origin.port, origin.authority, origin.path, origin.site) == (
        host,
        port,
        authority,
        path,
        site,
    )
    assert (origin.tls is not None) == site.startswith("https")
