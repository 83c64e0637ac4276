"""The browser client, served from inside the package."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from rtbridge.wsgi.http import Request, Response

_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.d)?\.(js|ts)")


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    packed: bytes
    etag: str


def client_file(request: Request) -> Response | None:
    """The answer to a request for a client module, or None if there is no such file."""
    if not _NAME.fullmatch(request.path):
        return None
    file = _load(request.path)
    if file is None:
        return None
    headers = [
        ("Content-Type", "text/javascript; charset=utf-8"),
        ("Cache-Control", "no-cache"),
        ("ETag", file.etag),
        ("Vary", "Accept-Encoding"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "cross-origin"),
        ("Access-Control-Allow-Origin", "*"),
    ]
    if request.has(file.etag):
        return Response(304, headers)
    if "gzip" in (request.header("Accept-Encoding") or ""):
        return Response(200, [*headers, ("Content-Encoding", "gzip")], file.packed)
    return Response(200, headers, file.body)


@lru_cache(maxsize=64)
def _load(name: str) -> _File | None:
    found = files("rtbridge").joinpath("js", name)
    if not found.is_file():
        return None
    body = found.read_bytes()
    etag = '"' + hashlib.blake2b(body, digest_size=12).hexdigest() + '"'
    return _File(body, gzip.compress(body, mtime=0), etag)
