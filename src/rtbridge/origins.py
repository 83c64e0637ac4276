"""Who may ask: the browser's word on where a request comes from.

A browser sends the user's cookies with every request to us, whichever site's page makes it, and a WebSocket
or a POST is not held back by the same-origin policy. So a page of another site must not be able to act as the
user: what the browser says of the page (`Origin`, else `Sec-Fetch-Site`) has to be ours. Clients that are no
browsers say nothing, and have no cookies that a stranger could borrow.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtbridge.errors import ConfigError

Environ = Mapping[str, Any]

_HOST = r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(?::(?P<port>[0-9]{1,5}))?"
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://{_HOST}", re.IGNORECASE | re.ASCII)
_AUTHORITY = re.compile(_HOST, re.IGNORECASE | re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SHOWN = 120

_PREFLIGHT = (
    ("Access-Control-Allow-Methods", "GET, POST"),
    (
        "Access-Control-Allow-Headers",
        "Accept, Authorization, Content-Type, If-None-Match, Last-Event-ID, Rtbridge-Token",
    ),
    ("Access-Control-Max-Age", "600"),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """A page's origin, in the one form in which equal origins are equal: lower case, default ports left out."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Origin | None:
        """The origin a text names, or None: nothing but scheme, host and port may stand there."""
        found = _ORIGIN.fullmatch(text)
        if found is None:
            return None
        scheme = found["scheme"].lower()
        host, port = _host(found["host"]), _port(found["port"], scheme)
        return None if host is None or port is _NO_PORT else cls(scheme, host, port)


class OriginRules:
    """Decides by `Origin`, `Sec-Fetch-Site` and `Host` whether a request may be answered.

    Args:
        allowed_origins: other sites whose pages may use this one with the user's cookies:
            `https://app.example.com`, or `https://*.example.com` for all subdomains (not
            `https://example.com` itself).
        proxies: how many trusted proxies append to `X-Forwarded-Host` and `X-Forwarded-Proto`; the value that
            the outermost of them wrote counts. 0 believes neither header.

    Raises:
        ConfigError: an entry is not of that form. `*` is refused: it would let every site act as the user.
    """

    def __init__(self, allowed_origins: Sequence[str] = (), proxies: int = 0) -> None:
        if isinstance(allowed_origins, str):
            raise ConfigError(f"allowed_origins is a list, such as [{allowed_origins!r}]")
        if proxies < 0:
            raise ConfigError(f"proxies is the number of trusted proxies, not {proxies}")
        self._proxies = proxies
        self._addresses: dict[str, str] = {}
        wildcards = [text for text in allowed_origins if "*" in text]
        self._subdomains = frozenset(_wildcard(text) for text in wildcards)
        self._exact = frozenset(_configured(text, text) for text in allowed_origins if text not in wildcards)

    def check(self, method: str, environ: Environ) -> str | None:
        """None if the request may be answered; else the sentence that says why not and what to do."""
        written = environ.get("HTTP_ORIGIN")
        if written is None:
            return self._check_without(method, environ)
        origin = Origin.parse(written)
        if origin is not None and (self._is_own(origin, environ) or self._is_allowed(origin)):
            return None
        return (
            f"the page's Origin {_shown(written)} is not this site, which was asked for as Host"
            f" {_shown(self._authority(environ))}. If the page is yours, add its origin to"
            " Bridge(allowed_origins=[…]); if a proxy changes the Host, let it pass the Host on, or set"
            " Bridge(proxies=1) so that its X-Forwarded-Host counts"
        )

    def cors_headers(self, environ: Environ) -> list[tuple[str, str]]:
        """The headers by which the browser lets a page of an allowed site read the answer; also for a preflight."""
        if not (self._exact or self._subdomains):
            return []
        headers = [("Vary", "Origin")]
        written = environ.get("HTTP_ORIGIN", "")
        origin = Origin.parse(written)
        if origin is None or not self._is_allowed(origin):
            return headers
        headers += [
            ("Access-Control-Allow-Origin", written),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Expose-Headers", "ETag, Retry-After, Rtbridge-Token"),
        ]
        if environ.get("REQUEST_METHOD") == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            headers += _PREFLIGHT
        return headers

    def _check_without(self, method: str, environ: Environ) -> str | None:
        site = environ.get("HTTP_SEC_FETCH_SITE", "").strip().lower()
        if site in ("same-site", "cross-site"):
            return f"the browser says that a {site} page asks (Sec-Fetch-Site), and sent no Origin to allow it by"
        if _opens_websocket(method, environ) and environ.get("HTTP_COOKIE"):
            return (
                "a WebSocket with cookies needs an Origin header, because any page could open it;"
                " a client that is no browser may leave the cookies out or send this site's Origin"
            )
        return None

    def _is_own(self, origin: Origin, environ: Environ) -> bool:
        if origin.scheme not in ("http", "https"):
            return False
        if origin.scheme == "http" and self._is_secure(environ):
            return False  # anybody on the wire can write a page of http://our-own-host
        # Plain http here proves nothing, TLS may end at a proxy; so the default port is that of the page's
        # scheme.
        found = _AUTHORITY.fullmatch(self._authority(environ))
        if found is None:
            return False
        return (_host(found["host"]), _port(found["port"], origin.scheme)) == (origin.host, origin.port)

    def _is_allowed(self, origin: Origin) -> bool:
        if origin in self._exact:
            return True
        parents = [origin.host[at + 1 :] for at, letter in enumerate(origin.host) if letter == "."]
        return any(Origin(origin.scheme, parent, origin.port) in self._subdomains for parent in parents)

    def _is_secure(self, environ: Environ) -> bool:
        forwarded = self._forwarded(environ, "HTTP_X_FORWARDED_PROTO")
        return (forwarded or environ.get("wsgi.url_scheme", "")).lower() in ("https", "wss")

    def _authority(self, environ: Environ) -> str:
        """The host and port that the browser asked for, as far as we can know."""
        host = self._forwarded(environ, "HTTP_X_FORWARDED_HOST") or environ.get("HTTP_HOST", "")
        if not host:
            host = f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
        return str(host).strip()

    def address(self, environ: Environ) -> str:
        """Where a request comes from, for counting: the address, of IPv6 its /64; "" where nobody can know.

        Without trusted proxies an address that is not a public one is most likely a proxy's that we were not told
        of, and stands for everybody.
        """
        text = self._forwarded(environ, _FOR) if self._proxies else environ.get("REMOTE_ADDR", "")
        known = self._addresses.get(text)
        if known is None:
            if len(self._addresses) >= _ADDRESSES:
                self._addresses.clear()
            known = self._addresses[text] = _counted(text, self._proxies > 0)
        return known

    def _forwarded(self, environ: Environ, key: str) -> str:
        """What the outermost trusted proxy wrote; anything further left may come from the client."""
        values = [value.strip().strip('"') for value in environ.get(key, "").split(",")]
        return values[-self._proxies] if 0 < self._proxies <= len(values) else ""


_NO_PORT = -1
_FOR = "HTTP_X_FORWARDED_FOR"
_ADDRESSES = 10_000  # of which we remember what to count them as


def _counted(text: str, trusted: bool) -> str:
    host = text
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if not (trusted or address.is_global):
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _host(text: str) -> str | None:
    """A host in its one form, None if it is none. A trailing dot stays: to browsers that is another host."""
    if not text.startswith("["):
        return text.lower()
    try:
        return f"[{ipaddress.IPv6Address(text[1:-1])}]"
    except ValueError:
        return None


def _port(text: str | None, scheme: str) -> int | None:
    """A port, None for the scheme's default, `_NO_PORT` if it is none."""
    if text is None:
        return None
    port = int(text)
    if not 0 < port < 65_536:
        return _NO_PORT
    return None if port == _DEFAULT_PORTS.get(scheme) else port


def _configured(text: str, shown: str) -> Origin:
    origin = Origin.parse(text)
    if origin is None:
        raise ConfigError(
            f"allowed_origins: {shown!r} is no origin; write scheme, host and perhaps port, without a path or a final"
            " slash, like 'https://app.example.com' or 'https://*.example.com'"
        )
    return origin


def _wildcard(text: str) -> Origin:
    """The parent domain of `https://*.example.com`."""
    origin = _configured(text.replace("://*.", "://", 1), text)
    if "." not in origin.host.strip(".") or origin.host.replace(".", "").isdigit():
        raise ConfigError(
            f"allowed_origins: {text!r} would let strangers' sites act as your users; name a domain"
        )
    return origin


def _opens_websocket(method: str, environ: Environ) -> bool:
    if environ.get("wsgi.websocket") is not None:
        return True
    upgrades = environ.get("HTTP_UPGRADE", "").lower().split(",")
    return method == "GET" and any(each.strip().partition("/")[0] == "websocket" for each in upgrades)


def _shown(text: str) -> str:
    """What a stranger sent, fit for a message and a log line."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
