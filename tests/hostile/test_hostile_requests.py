"""Requests from the wrong place, to the wrong place, in the wrong way, or with somebody else's proof."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import socket
import time
from typing import Any

import pytest

from hostile.house import SITE_SECRET, VICTIM, House
from hostile.raw import frame, get, handshake, post
from rtbridge.contract.tokens import Tokens
from support.wire import hello, subscribe

BODY = json.dumps({"commands": [hello()]}).encode()


def poll(house: House, *commands: Any, headers: dict[str, str] | None = None) -> list[Any]:
    reply = house.ask(post(json.dumps({"commands": commands}).encode(), headers))
    assert reply.status == 200, reply.body
    return reply.json()["messages"]


# ---- from the wrong place

STRANGERS: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1@evil.example"},
    {"Origin": "http://127.0.0.1, https://evil.example"},
    {"Origin": "http://127.0.0.1\x00.evil.example"},
    {"Origin": "file://"},
    {"Origin": "chrome-extension://abcdefgh"},
    {"Origin": "x" * 5_000},
    {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": " Cross-Site "},
]


def test_strangers_are_refused(house: House) -> None:
    wrong = []
    for headers in STRANGERS:
        for request in (
            post(BODY, {**VICTIM, **headers}),
            get("/rt/channels/private/victim", {**VICTIM, **headers}),
        ):
            reply = house.ask(request)
            # NUL is refused by most servers themselves.
            if not (reply.status == 403 and reply.code == 112) and not (
                "\0" in headers.get("Origin", "") and reply.status == 400
            ):
                wrong.append((headers, reply.status, reply.body))
            if "access-control-allow-origin" in reply.headers:
                wrong.append((headers, reply.headers))
    assert wrong == []


def test_strangers_open_no_socket(sockets: House) -> None:
    cookie = {"Cookie": "user=victim"}
    wrong = []
    for headers in [cookie, *({**cookie, **headers} for headers in STRANGERS)]:
        reply = sockets.ask(handshake(headers=headers))
        if reply.status not in (403, 400):
            wrong.append((headers, reply.status))
    assert wrong == []


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp",
     "text/plain; x=application/json", "application/json, text/plain", "text/json", "*/*"],
)  # fmt: skip
def test_forms_are_refused(house: House, content_type: str) -> None:
    """And their bodies are not read as requests."""
    smuggled = get("/smuggled")
    with house.raw(post(smuggled, {"Content-Type": content_type}) + get("/rt/nothing")) as raw:
        reply = raw.reply()
        assert (reply.status, reply.code) == (415, 113)
        try:
            assert raw.reply().code == 114
        except EOFError:  # it may rather close
            pass
    assert "/smuggled" not in house.hits()


# ---- to the wrong place

PATHS = [
    "/rt/", "/rt/../", "/rt/..", "/rt/../publish", "/rt/%2e%2e/", "/rt/..%2fpublish", "/rt//poll", "/rt/poll/",
    "/rt/poll%00", "/rt/POLL", "/rt/ws/", "/rt/./ws", "/rt/client.js/", "/rt/../__init__.py", "/rt/..%2f__init__.py",
    "/rt/%2e%2e%2f__init__.py",
    "/rt/....//__init__.py", "/rt/..%5c__init__.py", "/rt/package.json", "/rt/.hidden", "/rt/%2fetc%2fpasswd",
    "/rt//etc/passwd",
    "/rt/client.js%00.py", "/rt/client.js%0a", "/rt/%ff%fe", "/rt/" + "a" * 3_000, "/rt/" + "../" * 200,
    "/rt/channels", "/rt/channels/", "/rt/channels//open", "/rt/channels/../poll", "/rt/channels/open/",
    "/rt/channels/open%00",
    "/rt/channels/%ff", "/rt/channels/%2e%2e%2fpoll", "/rt/channels/private/victim", "/rt/channels/private%2fvictim",
    "/rt/channels/private/./victim", "/rt/channels/x/../private/victim", "/rt/channels/private/victim%20",
    "/rt/channels/$user", "/rt/channels/*", "/rt/channels/private/%2a", "/rt/channels/" + "a/" * 500,
]  # fmt: skip


def test_paths_that_lead_nowhere(house: House) -> None:
    wrong = {}
    for path in PATHS:
        reply = house.ask(get(path))
        if (
            reply.status not in (400, 404, 405)
            or (reply.code is None and reply.status != 400)
            or b"import" in reply.body
        ):
            wrong[path[:60]] = (reply.status, reply.body[:100])
    assert wrong == {}
    assert house.hits() == [] or not any("rt/" in path for path in house.hits()), house.hits()


def test_paths_outside_the_mount_are_the_sites(house: House) -> None:
    for path in ("//rt/poll", "/rt", "/RT/poll", "/x/rt/poll", "/rt%00/poll"):
        try:
            reply = house.ask(get(path))
        except EOFError:
            continue
        # A server may take the first of two slashes away; then it is a GET of the poll.
        assert (reply.status, reply.code) in ((404, None), (400, None), (405, 115)), path


def test_wrong_methods(house: House) -> None:
    allowed = {"/rt/poll": "POST", "/rt/ws": "GET", "/rt/channels/open": "GET, HEAD"}
    for path, methods in allowed.items():
        for method in ("PUT", "DELETE", "PATCH", "TRACE", "get", "PROPFIND", "HEAD", "POST", "GET"):
            if method in methods:
                continue
            try:
                reply = house.ask(get(path, {"Content-Length": "0"}, method=method), method)
            except EOFError:
                continue
            # "get" is no method to some servers, and a GET to others.
            assert reply.status in ((405,) if method.isupper() else (200, 400, 405, 501)), (
                path,
                method,
                reply.status,
            )
            if reply.status == 405 and method.isupper():
                assert reply.headers["allow"] == methods, (path, method)


@pytest.mark.parametrize("line", [b"GET", b"GET /rt/poll", b"GET  /rt/poll HTTP/1.1", b"GET /rt/poll HTTP/9.9",
                                  b"\x16\x03\x01\x02\x00\x01",
                                  b"GET http://evil.example/rt/channels/open HTTP/1.1", b"\0" * 100,
                                  b"G\xc3\x88T / HTTP/1.1", b"GET " + b"/" * 100_000])  # fmt: skip
def test_lines_that_are_none(house: House, line: bytes) -> None:
    with house.raw(line + b"\r\nHost: x\r\n\r\n") as raw:
        try:
            reply = raw.reply()
        except (EOFError, TimeoutError, ValueError, IndexError):
            return
    assert reply.status < 500 or reply.status in (501, 505), reply.status


def test_floods_of_headers(house: House) -> None:
    for flood in ({f"X-Flood-{number}": "x" for number in range(5_000)}, {"X-Flood": "x" * 2_000_000}):
        with house.raw(get("/rt/channels/open", flood)) as raw:
            try:
                reply = raw.reply()
            except (EOFError, TimeoutError):
                continue
        assert reply.status in (200, 400, 413, 431), reply.status


def test_odd_headers(house: House) -> None:
    odd = {
        "Accept": "text/event-stream;q=0, \xff, ,;,,application/msgpack",
        "If-None-Match": '"\xff", W/"x", *',
        "Rtbridge-Token": "\xff" * 100,
        "Cookie": "; ;=;user",
        "Authorization": "\xe9\xe9",
    }
    for name, value in odd.items():
        reply = house.ask(get("/rt/channels/private/victim", {name: value}))
        assert (reply.status, reply.code) == (404, 104), (name, reply.status, reply.body)
    reply = house.ask(get("/rt/channels/open", {"Accept": "text/event-stream", "Last-Event-ID": "\xff\x01"}))
    assert reply.status == 400


# ---- in the wrong way

KEY = base64.b64encode(b"0123456789abcdef").decode()
BAD_HANDSHAKES: dict[str, tuple[dict[str, str | None], int]] = {
    "no key": ({"Sec-WebSocket-Key": None}, 400),
    "short key": ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400),
    "long key": ({"Sec-WebSocket-Key": KEY[:-2] + "AAAA=="}, 400),
    "no base64": ({"Sec-WebSocket-Key": "!" * 24}, 400),
    "key not in its one form": ({"Sec-WebSocket-Key": KEY[:-3] + "h=="}, 400),
    "two keys": ({"Sec-WebSocket-Key": f"{KEY}, {KEY}"}, 400),
    "no version": ({"Sec-WebSocket-Version": None}, 426),
    "version 8": ({"Sec-WebSocket-Version": "8"}, 426),
    "version 14": ({"Sec-WebSocket-Version": "14"}, 426),
    "version text": ({"Sec-WebSocket-Version": "\xb9\xb3"}, 426),
    "not an upgrade": ({"Connection": "notupgrade"}, 400),
    "an upgrade inside a word": ({"Connection": "keep-alive, xupgradex"}, 400),
    "no connection": ({"Connection": None}, 400),
    "upgrade to something else": ({"Upgrade": "websocketx"}, 400),
    "no upgrade": ({"Upgrade": None}, 400),
}


def test_bad_handshakes(sockets: House) -> None:
    wrong = {}
    for name, (headers, status) in BAD_HANDSHAKES.items():
        reply = sockets.ask(handshake(headers=headers))
        version = reply.headers.get("sec-websocket-version")
        if (reply.status, reply.code) != (status, 116) or (status == 426 and version != "13"):
            wrong[name] = (reply.status, reply.body, version)
    for query, code in {
        "codec=xml": 116,
        "codec=": 101,
        "version=2": 102,
        "version=x": 102,
        "codec=%ff": 100,
    }.items():
        reply = sockets.ask(handshake(query))
        if (reply.status, reply.code) != (400, code) and not (query == "codec=" and reply.status == 101):
            wrong[query] = (reply.status, reply.body)
    assert wrong == {}


def test_an_upgrade_over_http_1_0(sockets: House) -> None:
    reply = sockets.ask(handshake().replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (reply.status, reply.code) == (400, 116)


def test_an_upgrade_by_post(sockets: House) -> None:
    request = handshake().replace(b"GET ", b"POST ").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")
    reply = sockets.ask(request)
    assert (reply.status, reply.code) == (405, 115)


def test_a_handshake_with_a_body(sockets: House) -> None:
    """Its body is no frame, and what it holds no command."""
    body = frame(1, json.dumps(hello()).encode())
    for extra in ({"Content-Length": str(len(body))}, {"Transfer-Encoding": "chunked"}):
        sent = body if "Content-Length" in extra else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        reply = sockets.ask(handshake(headers=extra) + sent)
        assert (reply.status, reply.code) == (400, 116), extra


def test_a_server_without_sockets_says_so(house: House) -> None:
    if house.name == "waitress":
        reply = house.ask(handshake())
        assert (reply.status, reply.code) == (501, 204)


SMUGGLERS = {
    "two lengths": post(BODY).replace(b"Content-Length:", b"Content-Length: 0\r\nContent-Length:"),
    "length and chunks": post(b"0\r\n\r\n", {"Transfer-Encoding": "chunked"}),
    "chunks in a list": post(b"0\r\n\r\n", {"Transfer-Encoding": "chunked, identity"}),
    "odd chunked": post(b"0\r\n\r\n", {"Transfer-Encoding": "xchunked"}),
    "chunked with a tab": post(b"0\r\n\r\n", {"Transfer-Encoding": "\tchunked"}),
    "space before the colon": post(BODY).replace(b"Content-Length:", b"Content-Length :"),
    "folded": post(BODY).replace(b"Content-Length:", b"X-A: b\r\n Content-Length:"),
    "bare line feeds": post(BODY).replace(b"\r\n", b"\n"),
    "underscore": post(BODY).replace(b"Content-Length:", b"Content_Length:"),
}


@pytest.mark.parametrize("name", SMUGGLERS)
def test_requests_hidden_behind_a_body(house: House, name: str) -> None:
    """Whatever the server makes of the head: nobody fails, and it never answers more than it was honestly asked."""
    with house.raw(SMUGGLERS[name] + get("/rt/nothing")) as raw:
        raw.sock.shutdown(socket.SHUT_WR)
        statuses = []
        try:
            for _ in range(3):
                statuses.append(raw.reply().status)
        except (EOFError, TimeoutError, ValueError, IndexError):
            pass
    assert len(statuses) <= 2 and all(status < 500 or status == 501 for status in statuses), statuses


def test_a_poll_that_hides_a_request(house: House) -> None:
    """A body longer than its length: the rest is the client's own next request, with the client's own rights."""
    hidden = get("/rt/channels/private/victim")
    with house.raw(post(BODY, VICTIM) + hidden) as raw:
        assert raw.reply().status == 200
        assert raw.reply().code == 104


# ---- with somebody else's proof


def token_of(house: House, name: str) -> str:
    headers = {"Authorization": f"Bearer {name}"}
    messages = poll(house, hello(), subscribe(f"private/{name}", id=2), headers=headers)
    return next(message["token"] for message in reversed(messages) if "token" in message)


def test_forged_tokens(house: House) -> None:
    """Each is no token at all: a new session, and nothing of the victim's."""
    token = token_of(house, "victim")
    payload, _, signature = token.rpartition(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "==")) if not payload.startswith(".") else None
    forged = [
        "", "x", ".", "..", token[:-1], token + "x", payload, payload + ".", "." + signature, token[::-1],
        token.upper(),
        payload + "." + "A" * len(signature), token * 100, "é" * 50, "\0", "null", "{}", token + "\n", " " + token,
        base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + "." + signature[::-1],
        "." + "A" * 16_000, "eJw" * 5_000,
    ]  # fmt: skip
    for each in forged:
        messages = poll(house, hello(token=each), subscribe("private/victim", id=2))
        assert messages[0]["resumed"] is False, each[:50]
        assert messages[1]["code"] == 104, each[:50]
        if (
            each and each.isascii() and each.isprintable() and len(each) < 8_000
        ):  # gunicorn takes no longer header
            reply = house.ask(get("/rt/channels/private/victim", {"Rtbridge-Token": each}))
            assert (reply.status, reply.code) == (404, 104)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer eve"}, {"Cookie": "user=eve"}, {"Cookie": "user=victim2"},
     {"Authorization": "Bearer  victim"}],
    ids=str,
)  # fmt: skip
def test_a_stolen_token(house: House, headers: dict[str, str]) -> None:
    """Without its owner's credentials a token proves nothing."""
    token = token_of(house, "victim")
    messages = poll(house, hello(token=token), subscribe("private/victim", id=2), headers=headers)
    assert messages[0]["resumed"] is False
    assert messages[1]["code"] == 104
    reply = house.ask(get("/rt/channels/private/victim", {**headers, "Rtbridge-Token": token}))
    assert (reply.status, reply.code) == (404, 104)
    if house.name != "waitress":
        with house.websocket(
            headers={key: value for key, value in headers.items() if key != "Cookie"}
        ) as socket:
            socket.say(hello(token=token), subscribe("private/victim", id=2))
            greeting, refusal = socket.take(2)
            assert greeting["resumed"] is False and refusal["code"] == 104
            house.tell_victim()
            socket.say({"type": "ping", "id": 3})
            assert socket.take(1)[0]["type"] == "pong"


def test_expired_tokens(house: House) -> None:
    """What was true once: the session goes on for its own user, and everything is asked again."""
    eve = {"Authorization": "Bearer eve"}
    now = time.time()
    claims = Tokens([SITE_SECRET], 300, time.time).read(token_of(house, "eve"))
    assert claims is not None
    channels = {"private/eve": now + 200, "private/victim": now + 200}
    old = dataclasses.replace(claims, issued=now - 1_000, expires=now - 700, channels=channels)
    future = dataclasses.replace(claims, issued=now + 10_000, expires=now + 10_300, channels=channels)
    stolen = dataclasses.replace(claims, user_id="victim", issued=now - 1_000, expires=now - 700)
    for claimed, resumed in ((old, True), (future, False), (stolen, False)):
        token = Tokens([SITE_SECRET], 300, lambda: now).issue(claimed)
        messages = poll(house, hello(token=token), subscribe("private/victim", id=2), headers=eve)
        assert (messages[0]["resumed"], messages[1].get("code")) == (resumed, 104)
        assert (messages[0]["client_id"] == claims.client_id) is resumed
    forged = Tokens(["a guess"], 300, time.time).issue(dataclasses.replace(claims, channels=channels))
    messages = poll(house, hello(token=forged), subscribe("private/victim", id=2), headers=eve)
    assert (messages[0]["resumed"], messages[1].get("code")) == (False, 104)


def test_another_users_token_with_ones_own_credentials(house: House) -> None:
    """Eve resumes as the victim with Eve's credentials: she is Eve, in a session of her own."""
    eve = {"Authorization": "Bearer eve"}
    call = {"type": "call", "id": 3, "call_id": "who-am-i-now", "name": "whoami"}
    token = token_of(house, "victim")
    victims = poll(house, hello(token=token), headers=VICTIM)[0]["client_id"]
    messages = poll(house, hello(token=token), call, headers=eve)
    assert messages[0]["client_id"] != victims
    assert next(message for message in messages if message["type"] == "result")["data"] == "eve"


def test_private_channels_look_like_none(house: House) -> None:
    """What exists and is not for you, and what does not exist, answer in the same words."""
    headers = {"Authorization": "Bearer eve"}
    replies = [
        house.ask(get(f"/rt/channels/{name}", headers))
        for name in ("private/victim", "private/nobody", "nothing/victim")
    ]
    texts = {re.sub(rb"(private|nothing)/[a-z]+", b"#", reply.body) for reply in replies}
    assert len(texts) == 1 and {reply.status for reply in replies} == {404}
