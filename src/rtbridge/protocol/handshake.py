"""The opening handshake of a WebSocket (RFC 6455, section 4), both ends, without a socket.

The server end trusts its HTTP layer to have parsed the head; the client end parses the one head it gets
itself. Neither offers or takes subprotocols and extensions. Whose request it may be (Origin, cookies) is
decided elsewhere.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from hashlib import sha1
from secrets import token_bytes
from types import MappingProxyType

from rtbridge.errors import HandshakeError

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")  # 16 bytes: the last character's four lowest bits must be zero
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def accept_key(key: str) -> str:
    """The `Sec-WebSocket-Accept` that belongs to a `Sec-WebSocket-Key` (RFC 6455, section 4.2.2)."""
    digest = sha1(key.encode("latin-1") + _MAGIC, usedforsecurity=False).digest()
    return b2a_base64(digest, newline=False).decode("ascii")


# ---- server


def check_request(method: str, http_version: str, header: Callable[[str], str | None]) -> str:
    """Check a client's request (RFC 6455, section 4.2.1) and return the accept key to answer with.

    Args:
        method: as received; methods are case-sensitive.
        http_version: `HTTP/1.1`.
        header: gives the value of a header by its lower-case name, several of one name joined by commas.

    Raises:
        HandshakeError: 426 for another version of the WebSocket protocol (answer with `Sec-WebSocket-Version:
            13`), 400 for anything else.
    """
    if method != "GET" or http_version != "HTTP/1.1":
        raise HandshakeError(400, "a WebSocket begins with GET over HTTP/1.1")
    if not _lists(header("upgrade"), "websocket") or not _lists(header("connection"), "upgrade"):
        raise HandshakeError(
            400, "not a WebSocket request; a proxy in between must pass on Upgrade and Connection"
        )
    if header("transfer-encoding") or (header("content-length") or "0").strip() != "0":
        # Where one reader sees a body, another sees frames.
        raise HandshakeError(400, "a WebSocket request has no body")
    if (header("sec-websocket-version") or "").strip() != "13":
        raise HandshakeError(426, "this server speaks WebSocket version 13")
    key = (header("sec-websocket-key") or "").strip()
    if _KEY.fullmatch(key) is None:
        raise HandshakeError(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    return accept_key(key)


def response_head(accept: str) -> bytes:
    """The whole head of the answer that opens the WebSocket."""
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode("ascii")


# ---- client


def client_request(host: str, path: str, headers: Mapping[str, str] = _NO_HEADERS) -> tuple[bytes, str]:
    """The head of a request, and its key for `check_response`.

    Args:
        host: with the port where it is not the scheme's own.
        path: with the query, percent-encoded.
        headers: further ones, such as Cookie and Origin.

    Raises:
        ValueError: where host, path or a header would break the head apart.
    """
    if _VISIBLE.fullmatch(host) is None or _VISIBLE.fullmatch(path) is None or not path.startswith("/"):
        raise ValueError("the host or path of a WebSocket request holds what must be encoded")
    for name, value in headers.items():
        if _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise ValueError(f"the header {name!r} cannot be sent")
    key = b64encode(token_bytes(16)).decode("ascii")
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), key


def check_response(head: bytes, key: str) -> None:
    """Check a server's answer (RFC 6455, section 4.1), up to and with the empty line.

    Raises:
        HandshakeError: with the status the server gave where it is not 101, else 400.
    """
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = re.fullmatch(r"HTTP/1\.[01] ([0-9]{3})(?: .*)?", first)
    if match is None:
        raise HandshakeError(400, "the answer is not HTTP")
    if (status := int(match[1])) != 101:
        raise HandshakeError(status, f"the server answered {status} instead of opening a WebSocket")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise HandshakeError(400, "the answer holds a malformed header")
        known = headers.get(name.lower())
        headers[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
    if not _lists(headers.get("upgrade"), "websocket") or not _lists(headers.get("connection"), "upgrade"):
        raise HandshakeError(400, "the answer does not upgrade")
    if headers.get("sec-websocket-accept") != accept_key(key):
        raise HandshakeError(400, "the answer's Sec-WebSocket-Accept belongs to another request")
    if headers.get("sec-websocket-extensions") or headers.get("sec-websocket-protocol"):
        raise HandshakeError(400, "the answer takes an extension or subprotocol that was not offered")


def _lists(value: str | None, token: str) -> bool:
    """Whether a comma-separated header names `token` as a whole, in any case."""
    return token in [item.strip(" \t").lower() for item in (value or "").split(",")]
