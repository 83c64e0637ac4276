"""The environ of a request, kept for as long as its connection lives, and small.

A connection that stays open needs it only when somebody looks: a handler, or authenticate every few minutes. Most
clients send the same headers, so that what they all have in common is a dictionary to compress with.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
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


def packed(environ: Mapping[str, Any]) -> bytes:
    """The part of an environ that outlives its request: the texts, and of these no key of a handshake."""
    texts = {
        key: value
        for key, value in environ.items()
        if isinstance(value, (str, bool)) and key != "HTTP_SEC_WEBSOCKET_KEY"
    }
    # A small window holds the dictionary and what is packed. The largest, with its tables, is memory that the kernel
    # clears for each connection anew, which takes longer than to compress.
    compressor = zlib.compressobj(9, zlib.DEFLATED, -12, 5, zdict=_USUAL)
    return compressor.compress(json.dumps(texts).encode()) + compressor.flush()


class Kept(Mapping[str, Any]):
    """What `packed` packed, unpacked when somebody looks into it."""

    __slots__ = ("_packed", "_texts")

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._texts: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._texts is None:
            decompressor = zlib.decompressobj(-15, zdict=_USUAL)
            texts: dict[str, Any] = json.loads(decompressor.decompress(self._packed))
            self._texts = texts
        return self._texts

    def __getitem__(self, key: str) -> Any:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
