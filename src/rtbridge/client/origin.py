"""Where the server is, taken from the URL of its mount."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Origin:
    """A server and the mount on it.

    Attributes:
        host, port: what to connect to.
        authority: host, and port where it is not the scheme's own, for the `Host` header.
        path: of the mount, with a slash at its end.
        tls: None for plain http.
        site: scheme and authority, as an `Origin` header names them.
    """

    host: str
    port: int
    authority: str
    path: str
    tls: ssl.SSLContext | None
    site: str


def origin_of(url: str, context: ssl.SSLContext | None = None) -> Origin:
    """Read the URL of a mount, such as `https://example.org/rt/`.

    Args:
        url: http or https; ws and wss mean the same two. A missing slash at the end is added.
        context: for https, instead of the standard library's default.

    Raises:
        ValueError: this is no such URL.
    """
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not the URL of a mount: {url!r}; it looks like http://localhost:8000/rt/")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"the URL of a mount has no query, fragment or user name: {url!r}")
    usual = 443 if scheme == "https" else 80
    port = parts.port or usual
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = name if port == usual else f"{name}:{port}"
    tls = (context or ssl.create_default_context()) if scheme == "https" else None
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return Origin(parts.hostname, port, authority, path, tls, f"{scheme}://{authority}")
