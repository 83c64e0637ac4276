from __future__ import annotations

import pytest

from rtbridge.errors import HandshakeError
from rtbridge.protocol.handshake import (
    accept_key,
    check_request,
    check_response,
    client_request,
    response_head,
)

# RFC 6455, section 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
REQUEST = {
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": KEY,
}


def check(method: str = "GET", version: str = "HTTP/1.1", **changes: str | None) -> str:
    headers = REQUEST | {name.replace("_", "-"): value for name, value in changes.items()}
    return check_request(method, version, headers.get)


def test_the_example_of_the_rfc():
    assert accept_key(KEY) == ACCEPT
    assert check() == ACCEPT
    assert response_head(ACCEPT) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"connection": "keep-alive, Upgrade"},
        {"connection": "UPGRADE"},
        {"connection": "upgrade\t,x"},
        {"upgrade": "WebSocket"},
        {"upgrade": "h2c, websocket"},
        {"sec_websocket_version": " 13 "},
        {"sec_websocket_extensions": "permessage-deflate", "sec_websocket_protocol": "a, b"},
    ],
)
def test_what_is_equally_good(changes):
    assert check(**changes) == ACCEPT


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (400, {"method": "POST"}),
        (400, {"method": "get"}),
        (400, {"version": "HTTP/1.0"}),
        (400, {"upgrade": None}),
        (400, {"upgrade": "websockets"}),
        (400, {"upgrade": "notwebsocket"}),
        (400, {"connection": None}),
        (400, {"connection": "notupgrade"}),
        (400, {"connection": "keep-alive"}),
        (400, {"connection": "upgrade upgrade"}),
        (426, {"sec_websocket_version": None}),
        (426, {"sec_websocket_version": "8"}),
        (426, {"sec_websocket_version": "13, 8"}),
        (400, {"sec_websocket_key": None}),
        (400, {"sec_websocket_key": ""}),
        (400, {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ"}),
        (400, {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZR=="}),
        (400, {"sec_websocket_key": "dGhlIHNhbXBsZQ=="}),
        (400, {"sec_websocket_key": f"{KEY}, {KEY}"}),
        (400, {"sec_websocket_key": "é" * 22 + "=="}),
    ],
)
def test_what_is_refused(status, changes):
    with pytest.raises(HandshakeError) as caught:
        check(**changes)
    assert caught.value.status == status


def parsed(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    return first, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


def test_client_and_server_understand_each_other():
    head, key = client_request("example.com:8000", "/rt/ws?version=1", {"Cookie": "a=b; c=ü"})
    first, headers = parsed(head)
    assert first == "GET /rt/ws?version=1 HTTP/1.1"
    assert (headers["host"], headers["cookie"]) == ("example.com:8000", "a=b; c=ü")
    accept = check_request("GET", "HTTP/1.1", headers.get)
    check_response(response_head(accept), key)


def test_each_request_has_a_key_of_its_own():
    assert client_request("h", "/")[1] != client_request("h", "/")[1]


@pytest.mark.parametrize(
    ("host", "path", "headers"),
    [
        ("h\r\nX: y", "/", {}),
        ("h", "/a b", {}),
        ("h", "rt/ws", {}),
        ("", "/", {}),
        ("h", "/\r\n", {}),
        ("h", "/ü", {}),
        ("h", "/", {"X": "a\r\nY: b"}),
        ("h", "/", {"X: Y": "a"}),
        ("h", "/", {"": "a"}),
        ("h", "/", {"X": "写"}),
    ],
)
def test_a_head_cannot_be_broken_apart(host, path, headers):
    with pytest.raises(ValueError):
        client_request(host, path, headers)


GOOD = response_head(ACCEPT)


@pytest.mark.parametrize(
    "head",
    [
        GOOD.replace(b"Connection: Upgrade", b"Connection: keep-alive\r\nconnection: upgrade"),
        GOOD.replace(b" Switching Protocols", b""),
        GOOD.replace(b"Upgrade: websocket", b"upgrade:WebSocket"),
        GOOD.replace(b"\r\n\r\n", b"\r\nServer: x\r\n\r\n"),
    ],
)
def test_answers_that_are_equally_good(head):
    check_response(head, KEY)


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (400, b""),
        (400, b"SSH-2.0-OpenSSH\r\n\r\n"),
        (403, b"HTTP/1.1 403 Forbidden\r\n\r\n"),
        (503, b"HTTP/1.0 503\r\n\r\n"),
        (400, GOOD.replace(b"Upgrade: websocket\r\n", b"")),
        (400, GOOD.replace(b"Connection: Upgrade", b"Connection: close")),
        (400, GOOD.replace(b"s3pPL", b"S3pPL")),
        (400, GOOD.replace(b"Sec-WebSocket-Accept", b"X-Accept")),
        (400, GOOD.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")),
        (400, GOOD.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n")),
        (400, GOOD.replace(b"\r\n\r\n", b"\r\nno colon\r\n\r\n")),
        (400, GOOD.replace(b"\r\n\r\n", b"\r\n folded: x\r\n\r\n")),
        (400, GOOD.replace(b"\r\n\r\n", b"\r\nX: a\x00b\r\n\r\n")),
    ],
)
def test_answers_that_are_refused(status, head):
    with pytest.raises(HandshakeError) as caught:
        check_response(head, KEY)
    assert caught.value.status == status
