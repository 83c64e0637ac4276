"""The middleware around an application: what is not ours is untouched, and all of it is WSGI to the letter."""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import flask
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from rtbridge import Bridge, History, RealtimeMiddleware
from rtbridge.errors import ConfigError
from support.inprocess import HELLO, Answer, Background, Client, Joined, close, make_environ, subscribe

StartResponse = Callable[..., Any]


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    bridge = Bridge(secret="of the tests", lock_file=tmp_path / "lock")
    bridge.channel("news", public=True, keep=History(100))
    yield bridge
    close(bridge)


class Page:
    """An application that remembers how it was called."""

    def __init__(self, pieces: Iterable[bytes] = (b"<h1>page</h1>",)) -> None:
        self.pieces = pieces
        self.environ: dict[str, Any] = {}
        self.start_response: StartResponse | None = None
        self.result: Iterable[bytes] = ()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        self.environ, self.start_response = environ, start_response
        start_response("200 OK", [("Content-Type", "text/html")])
        self.result = self.pieces
        return self.result


class Body:
    """A streamed body that counts."""

    def __init__(self) -> None:
        self.taken = self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in (b"one", b"two"):
            self.taken += 1
            yield piece

    def close(self) -> None:
        self.closed += 1


# ---- what is not ours


@pytest.mark.parametrize("path", ["/", "", "/rt", "/rtx", "/rtx/poll", "/x/rt/poll", "/RT/poll", "/page"])
def test_other_paths_are_handed_on_as_they_are(bridge: Bridge, path: str) -> None:
    page = Page()
    environ = make_environ("GET", path)
    before = dict(environ)

    def start_response(*_: object) -> None:
        pass

    result = RealtimeMiddleware(page, bridge)(environ, start_response)
    assert page.environ is environ and environ == before
    assert page.start_response is start_response
    assert result is page.result


def test_a_streamed_page_is_neither_consumed_nor_closed_by_us(bridge: Bridge) -> None:
    body = Body()
    answer = Answer(RealtimeMiddleware(Page(body), bridge), make_environ("GET", "/stream"))
    assert (body.taken, body.closed) == (0, 0)
    assert answer.piece() == b"one"
    assert (body.taken, body.closed) == (1, 0)
    answer.close()
    assert (body.taken, body.closed) == (1, 1)


def test_exc_info_and_write_work_as_without_us(bridge: Bridge) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise RuntimeError("while rendering")
        except RuntimeError:
            write = start_response("500 Oh", [("Content-Type", "text/plain")], sys.exc_info())
        write(b"written, ")
        return [b"returned"]

    answer = Client(RealtimeMiddleware(app, bridge), valid=False).get("/")
    assert (answer.status, answer.body) == (500, b"written, returned")


def test_what_the_application_raises_goes_through(bridge: Bridge) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Client(RealtimeMiddleware(app, bridge)).get("/")


def test_a_request_without_a_path_is_the_applications(bridge: Bridge) -> None:
    page = Page()
    environ = make_environ("GET", "/")
    del environ["PATH_INFO"]
    RealtimeMiddleware(page, bridge)(environ, lambda *_: None)
    assert page.environ is environ


def test_a_body_is_left_unread(bridge: Bridge) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read(100)]

    answer = Client(RealtimeMiddleware(app, bridge)).ask("POST", "/form", {}, b"name=ann")
    assert answer.body == b"name=ann"


# ---- WSGI to the letter, both sides

POLL = json.dumps({"commands": [HELLO, subscribe("news", recent=1, id=2)]}).encode()
JSON = {"Content-Type": "application/json"}
EVENTS = {"Accept": "text/event-stream"}

ASKED = [
    # method, url, headers, body, status
    ("GET", "/", {}, b"", 200),
    ("HEAD", "/", {}, b"", 200),
    ("GET", "/rt/channels/news", {}, b"", 200),
    ("HEAD", "/rt/channels/news", {}, b"", 200),
    ("HEAD", "/rt/channels/news", EVENTS, b"", 200),
    ("GET", "/rt/channels/news?after=x", {}, b"", 400),
    ("GET", "/rt/channels/none", {}, b"", 404),
    ("GET", "/rt/nothing", {}, b"", 404),
    ("GET", "/rt/", {}, b"", 404),
    ("PUT", "/rt/channels/news", {}, b"", 405),
    ("GET", "/rt/poll", {}, b"", 405),
    ("HEAD", "/rt/poll", {}, b"", 405),
    ("POST", "/rt/poll", JSON, POLL, 200),
    ("POST", "/rt/poll", JSON, b"{", 400),
    ("POST", "/rt/poll", JSON, b'{"commands":[]}', 400),
    ("POST", "/rt/poll", JSON, b'{"wait":-1,"commands":[{}]}', 400),
    ("POST", "/rt/poll", {"Content-Type": "text/plain"}, POLL, 415),
    ("POST", "/rt/poll", {}, POLL, 415),
    ("POST", "/rt/poll", {**JSON, "Origin": "https://evil.example"}, POLL, 403),
    ("POST", "/rt/poll", {**JSON, "Sec-Fetch-Site": "cross-site"}, POLL, 403),
    ("POST", "/rt/client.js", JSON, b"{}", 405),
    ("OPTIONS", "/rt/poll", {}, b"", 204),
    ("OPTIONS", "/rt/channels/news", {"Origin": "http://testserver"}, b"", 204),
    ("GET", "/rt/ws", {}, b"", 501),  # there is no socket to be had here
    ("GET", "/rt/client.js", {}, b"", 200),
    ("HEAD", "/rt/client.js", {}, b"", 200),
    ("GET", "/rt/client.js", {"Accept-Encoding": "gzip"}, b"", 200),
    ("GET", "/rt/client.d.ts", {}, b"", 200),
    ("GET", "/rt/../rt/client.js", {}, b"", 404),
]


@pytest.mark.parametrize("method, url, headers, body, status", ASKED)
def test_what_is_answered_is_wsgi(
    bridge: Bridge, method: str, url: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    bridge.publish("news", "first")
    page = Page([] if method == "HEAD" else [b"page"])
    answer = Client(RealtimeMiddleware(validator(page), bridge)).ask(method, url, headers, body)
    content = answer.body
    assert answer.status == status, content
    if method == "HEAD" or status in (204, 304):
        assert content == b""
    elif "content-length" in answer.headers:
        assert int(answer.headers["content-length"]) == len(content)
    if status >= 400 and method != "HEAD":
        error = json.loads(content)["error"]
        assert error.keys() == {"code", "reason", "message"}
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize("url", ["/rt/client.js", "/rt/channels/news"])
def test_a_304_is_wsgi(bridge: Bridge, url: str) -> None:
    client = Client(RealtimeMiddleware(Page(), bridge))
    etag = client.get(url).headers["etag"]
    with client.get(url, If_None_Match=etag) as answer:
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == etag
        assert "content-type" not in answer.headers and "content-length" not in answer.headers


@pytest.mark.parametrize("method, url", [("GET", "/rt/channels/news"), ("POST", "/rt/poll")])
def test_an_event_stream_is_wsgi(bridge: Bridge, method: str, url: str) -> None:
    app = RealtimeMiddleware(validator(Page()), bridge)
    headers = {**EVENTS, **JSON} if method == "POST" else EVENTS
    with Client(app).ask(method, url, headers, POLL if method == "POST" else b"") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        first = answer.piece()
        assert first is not None and first.endswith(b"\n\n")


def test_a_stream_that_is_never_read_leaves_nothing_behind(bridge: Bridge) -> None:
    app = RealtimeMiddleware(Page(), bridge)
    for _ in range(3):  # the one place that this thread has is given back each time
        Client(app).ask("GET", "/rt/channels/news", EVENTS).close()
        Client(app).ask("HEAD", "/rt/channels/news", EVENTS).close()
        Client(app).ask("POST", "/rt/poll", {**EVENTS, **JSON}, POLL).close()
    with Client(app).ask("GET", "/rt/channels/news", EVENTS) as answer:
        assert answer.status == 200


# ---- mounts


@pytest.mark.parametrize("mount", ["rt/", "/rt", "rt", "", "/", "//"])
def test_a_mount_begins_and_ends_with_a_slash(bridge: Bridge, mount: str) -> None:
    with pytest.raises(ConfigError, match="slash"):
        RealtimeMiddleware(Page(), bridge, mount=mount)


def test_another_mount(bridge: Bridge) -> None:
    client = Client(RealtimeMiddleware(Page(), bridge, mount="/live/"))
    assert client.get("/live/channels/news").status == 200
    assert client.post("/live/poll", {"commands": [HELLO]}).status == 200
    assert client.get("/rt/channels/news").body == b"<h1>page</h1>"


def test_below_a_prefix(bridge: Bridge) -> None:
    """The server or a dispatcher keeps the prefix in SCRIPT_NAME; the mount is below the site's own root."""
    app = DispatcherMiddleware(Page([b"front"]), {"/site": RealtimeMiddleware(Page([b"site"]), bridge)})
    client = Client(app)
    assert client.post("/site/rt/poll", {"commands": [HELLO]}).status == 200
    assert client.get("/site/rt/client.js").status == 200
    assert client.get("/site/page").body == b"site"
    assert client.get("/rt/poll").body == b"front"
    direct = Client(RealtimeMiddleware(Page(), bridge), script_name="/site")
    assert direct.post("/rt/poll", {"commands": [HELLO]}).status == 200


def test_the_client_finds_its_siblings_whatever_the_mount(bridge: Bridge) -> None:
    """Its modules import one another by relative names, so that no URL is written into them."""
    client = Client(RealtimeMiddleware(Page(), bridge))
    code = client.get("/rt/client.js").body.decode()
    imported = re.findall(r'^(?:import|export) .* from "(.*)"', code, re.MULTILINE)
    assert imported and all(name.startswith("./") for name in imported)
    for name in imported:
        assert client.get("/rt/" + name.removeprefix("./")).status == 200


def test_packed_files_are_the_same_files(bridge: Bridge) -> None:
    client = Client(RealtimeMiddleware(Page(), bridge))
    plain = client.get("/rt/client.js")
    packed = client.get("/rt/client.js", Accept_Encoding="br, gzip")
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
    assert "Accept-Encoding" in plain.headers["vary"]


# ---- inside other middleware


class Buffering:
    """Like a middleware that compresses: needs the whole body before it sends any of it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        held: list[Any] = []
        result = self.app(environ, lambda *args: held.append(args))
        try:
            body = gzip.compress(b"".join(result))
        finally:
            if hasattr(result, "close"):
                result.close()
        status, headers = held[0]
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, [*kept, ("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))])
        return [body]


def test_wrapped_in_a_middleware_that_buffers(bridge: Bridge) -> None:
    client = Client(Buffering(RealtimeMiddleware(Page(), bridge)))
    joined = Joined(bridge)
    after = bridge.position("news")

    def unpacked(answer: Answer) -> Any:
        return json.loads(gzip.decompress(answer.body))

    assert unpacked(client.get("/rt/channels/news"))["publications"] == []
    waiting = Background(lambda: unpacked(client.get(f"/rt/channels/news?after={after}&wait=10")))
    joined.wait()
    assert not waiting.done
    bridge.publish("news", "woken")
    assert waiting.result()["publications"] == [{"offset": 1, "data": "woken"}]
    command = subscribe("news", bridge.position("news"))
    waiting = Background(
        lambda: unpacked(client.post("/rt/poll", {"wait": 10, "commands": [HELLO, command]}))
    )
    joined.wait()
    bridge.publish("news", "again")
    assert waiting.result()["messages"][1]["publications"] == [{"offset": 2, "data": "again"}]


def test_wrapped_in_proxy_fix(bridge: Bridge) -> None:
    client = Client(ProxyFix(RealtimeMiddleware(Page(), bridge), x_host=1, x_proto=1, x_prefix=1))
    through_proxy = {"X-Forwarded-Host": "example.com", "X-Forwarded-Proto": "https", **JSON}
    for origin, status in (
        ("https://example.com", 200),
        ("https://evil.example", 403),
        ("http://example.com", 403),
    ):
        answer = client.ask("POST", "/rt/poll", {**through_proxy, "Origin": origin}, POLL)
        assert answer.status == status, (origin, answer.body)


def test_inside_flask(tmp_path: Path) -> None:
    app = flask.Flask(__name__)
    app.secret_key = "of the site"
    app.add_url_rule("/", view_func=lambda: "flask page")
    bridge = Bridge(lock_file=tmp_path / "lock")
    bridge.channel("news", public=True)
    app.wsgi_app = RealtimeMiddleware(app.wsgi_app, bridge)  # type: ignore[method-assign]
    client = Client(app)
    assert client.get("/").body == b"flask page"
    assert client.get("/rt/channels/news").status == 200
    assert bridge.framework.name == "flask"
