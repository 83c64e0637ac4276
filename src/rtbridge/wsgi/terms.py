"""On what terms a request is answered, as far as its headers say: whether it may ask, and how it wants the answer.

Browsers of one make send the same headers again and again, and a client that polls sends all of them with each poll. So
the terms are found once for all requests that have the same, and looked up by the very headers that decide. What
decides sees nothing but these: nobody can be given terms that were found for another site's page, and there is nothing
in them about who somebody is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtbridge.origins import OriginRules
from rtbridge.protocol.codecs import Codec, codec_for_content_type

Environ = Mapping[str, Any]
_DECIDE = (
    "REQUEST_METHOD", "wsgi.url_scheme", "SERVER_NAME", "SERVER_PORT", "CONTENT_TYPE",
    "HTTP_HOST", "HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO",
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD", "HTTP_ACCEPT", "HTTP_CONNECTION", "HTTP_UPGRADE",
)  # fmt: skip
_REMEMBERED = 500
_LONGEST = 1_000  # characters of headers that are remembered


class Terms:
    """What was decided.

    Attributes:
        refused: why it may not be answered; None if it may.
        cors: the headers by which a page of an allowed site can read the answer.
        codec: of the body by its Content-Type; None where we know no such.
        answered_in: the codec of an answer.
        streamed: the answer is to be an event stream.
        close: the connection ends with the answer (RFC 9112, section 9.6).
    """

    __slots__ = ("answered_in", "close", "codec", "cors", "refused", "streamed")

    def __init__(self, rules: OriginRules, environ: Environ) -> None:
        self.refused = rules.check(environ.get("REQUEST_METHOD", "GET"), environ)
        self.cors: tuple[tuple[str, str], ...] = tuple(rules.cors_headers(environ))
        accepted = accepted_types(environ.get("HTTP_ACCEPT"))
        self.codec = codec_for_content_type(environ.get("CONTENT_TYPE"))
        self.answered_in = _answered_in(accepted) or self.codec
        self.streamed = "text/event-stream" in accepted
        self.close = "close" in (environ.get("HTTP_CONNECTION") or "").lower()


class TermsBook:
    """The terms of requests, found once for each combination of headers; of the newest combinations, that is."""

    def __init__(self, rules: OriginRules) -> None:
        self._rules = rules
        self._known: dict[tuple[object, ...], Terms] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, environ: Environ) -> Terms:
        """The terms of a request."""
        get = environ.get
        # That there are cookies, and that the server has upgraded already, also decides; but not by what is in them.
        key = (*map(get, _DECIDE), bool(get("HTTP_COOKIE")), get("wsgi.websocket") is not None)
        terms = self._known.get(key)
        return self._find(key) if terms is None else terms

    def _find(self, key: tuple[Any, ...]) -> Terms:
        *values, cookies, upgraded = key
        deciding = {name: value for name, value in zip(_DECIDE, values, strict=True) if value is not None}
        size = sum(map(len, deciding.values()))
        if cookies:
            deciding["HTTP_COOKIE"] = "some"
        if upgraded:
            deciding["wsgi.websocket"] = True
        terms = Terms(self._rules, deciding)
        if size <= _LONGEST:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = terms
        return terms


def accepted_types(accept: str | None) -> frozenset[str]:
    """The content types that an Accept header names."""
    return frozenset([part.split(";", 1)[0].strip().lower() for part in (accept or "").split(",")])


def _answered_in(accepted: frozenset[str]) -> Codec | None:
    for content_type in ("application/msgpack", "application/json"):
        if content_type in accepted:
            return codec_for_content_type(content_type)
    return None
