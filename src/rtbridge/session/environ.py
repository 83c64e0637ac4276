"""The environ of a request, kept for as long as its connection lives, and small.

A connection that stays open needs it only when somebody looks: a handler, or authenticate every few minutes. Browsers
of one make send the same headers but for a few: these it shares with the others. And much of it is alike for nearly all
clients, which is a dictionary to compress with.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_USUAL = json.dumps(
    {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/rt/ws", "QUERY_STRING": "codec=json&version=1",
        "SERVER_NAME": "localhost", "SERVER_PORT": "443", "SERVER_PROTOCOL": "HTTP/1.1", "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "gevent/26.9 Python/3.11", "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "5",
        "wsgi.url_scheme": "https", "wsgi.multithread": False, "wsgi.multiprocess": False, "wsgi.run_once": False,
        "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "1",
        "HTTP_HOST": "127.0.0.1:8000", "HTTP_X_FORWARDED_FOR": "1", "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_CONNECTION": "Upgrade", "HTTP_CONNECTION ": "keep-alive", "HTTP_UPGRADE": "websocket",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate; client_max_window_bits",
        "HTTP_PRAGMA": "no-cache", "HTTP_CACHE_CONTROL": "no-cache", "HTTP_ACCEPT": "*/*",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd", "HTTP_ACCEPT_LANGUAGE": "en-GB,en-US;q=0.9,en;q=0.8",
        "HTTP_ORIGIN": "https://www.", "HTTP_REFERER": "https://www.", "HTTP_SEC_FETCH_SITE": "same-origin",
        "HTTP_SEC_FETCH_MODE": "cors", "HTTP_SEC_FETCH_DEST": "empty", "HTTP_SEC_CH_UA_MOBILE": "?0",
        "HTTP_SEC_CH_UA_PLATFORM": '"Windows"', "HTTP_SEC_CH_UA": '"Chromium";v="142", "Not=A?Brand";v="24"',
        "HTTP_USER_AGENT": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/18.6 Safari/605.1.15 Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0 "
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        "HTTP_COOKIE": "sessionid=; csrftoken=; session=; remember_token=",
    }
).encode()  # fmt: skip


_SHARED = (
    "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL",
    "SERVER_SOFTWARE", "GATEWAY_INTERFACE", "wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once",
    "wsgi.input_terminated", "HTTP_HOST", "HTTP_CONNECTION", "HTTP_UPGRADE", "HTTP_SEC_WEBSOCKET_VERSION",
    "HTTP_SEC_WEBSOCKET_EXTENSIONS", "HTTP_PRAGMA", "HTTP_CACHE_CONTROL", "HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE", "HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE", "HTTP_SEC_FETCH_MODE", "HTTP_SEC_FETCH_DEST",
    "HTTP_SEC_CH_UA", "HTTP_SEC_CH_UA_MOBILE", "HTTP_SEC_CH_UA_PLATFORM", "HTTP_USER_AGENT", "HTTP_X_FORWARDED_PROTO",
)  # fmt: skip
"""What is the same for all browsers of one make: it is packed once, and they share the bytes."""
_DROPPED = frozenset({*_SHARED, "HTTP_SEC_WEBSOCKET_KEY", "rtbridge.address", "rtbridge.detach"})
_LONGEST = 1_000  # characters of what is shared
_COMPRESSED = b"z"  # before an own part; JSON begins with a brace
_WORTH = 150  # bytes of a client's own part from which on it is compressed

Packed = tuple[bytes, bytes]
"""What is shared, and a client's own part."""


def packed(environ: Mapping[str, Any]) -> Packed:
    """The part of an environ that outlives its request: the texts, but no key of a handshake and none of our notes."""
    values = tuple(map(environ.get, _SHARED))
    own = {
        key: value for key, value in environ.items() if key not in _DROPPED and isinstance(value, str | bool)
    }
    short = sum([len(value) for value in values if type(value) is str]) <= _LONGEST
    shared = (_packed_once if short else _pack)(values)
    text = json.dumps(own).encode()
    return shared, text if len(text) < _WORTH else _COMPRESSED + _compressed(text)


def unpacked(packed: Packed) -> dict[str, Any]:
    """What was packed."""
    shared, own = packed
    return {
        **json.loads(_whole(shared)),
        **json.loads(_whole(own[1:]) if own.startswith(_COMPRESSED) else own),
    }


def _pack(values: tuple[object, ...]) -> bytes:
    texts = {key: value for key, value in zip(_SHARED, values, strict=True) if isinstance(value, str | bool)}
    return _compressed(json.dumps(texts).encode())


_packed_once = lru_cache(maxsize=500)(_pack)


def _compressed(text: bytes) -> bytes:
    # A small window holds the dictionary and what is packed. The largest, with its tables, is memory that the kernel
    # clears for each connection anew, which takes longer than to compress.
    compressor = zlib.compressobj(9, zlib.DEFLATED, -12, 5, zdict=_USUAL)
    return compressor.compress(text) + compressor.flush()


def _whole(compressed: bytes) -> bytes:
    return zlib.decompressobj(-15, zdict=_USUAL).decompress(compressed)


class Kept(Mapping[str, Any]):
    """What `packed` packed, unpacked when somebody looks into it."""

    __slots__ = ("_kept", "_packed")

    def __init__(self, packed: Packed) -> None:
        self._packed = packed
        self._kept: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._kept is None:
            self._kept = unpacked(self._packed)
        return self._kept

    def __getitem__(self, key: str) -> Any:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
