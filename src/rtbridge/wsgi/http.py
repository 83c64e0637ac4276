"""A request as our endpoints see it, and a response as a value.

Nothing here decides anything; it reads an environ carefully (bodies are bounded in size and time) and says
what is to be sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.polls import error_body
from rtbridge.runtime import Loop
from rtbridge.wsgi.deadline import UnreadBody, read_deadline
from rtbridge.wsgi.terms import Terms, accepted_types

_PIECE = 65_536
_USUAL_QUERY = 40  # characters of a query that is remembered
_DRAIN_FACTOR = 64  # how many times max_body we read and throw away so that the sender can see the refusal


class NeedsStack(Exception):
    """The application's own code, which may block, is needed for this answer: ask again where it may run."""


class Request:
    """One HTTP request to the mount.

    Args:
        environ: the WSGI environ.
        path: what follows the mount, without a leading slash.
        given: the whole body where it was read already; None to read it from the environ.
        may_block: whether whoever asks can wait.

    Attributes:
        terms: on which it is answered, once they were looked up.
    """

    __slots__ = ("_given", "_query", "environ", "may_block", "method", "path", "terms")

    def __init__(
        self, environ: dict[str, Any], path: str, given: bytes | None = None, may_block: bool = True
    ) -> None:
        self.environ = environ
        self.path = path
        self.may_block = may_block
        self._given = given
        self.method: str = environ.get("REQUEST_METHOD", "GET")
        self._query: Mapping[str, str] | None = None
        self.terms: Terms | None = None

    def header(self, name: str) -> str | None:
        """A request header by its name in any case, or None."""
        value = self.environ.get(_environ_key(name))
        return value if isinstance(value, str) else None

    def accepts(self, content_type: str) -> bool:
        """Whether `Accept` names this content type (not merely by a wildcard)."""
        return content_type in accepted_types(self.header("Accept"))

    def has(self, etag: str) -> bool:
        """Whether the client has this ETag's answer already, by its `If-None-Match`.

        Compared weakly, as that header is (RFC 9110, 13.1.2): a proxy that compresses an answer weakens its ETag.
        """
        named = [each.strip().removeprefix("W/") for each in (self.header("If-None-Match") or "").split(",")]
        return etag in named or "*" in named

    def query(self, name: str) -> str | None:
        """The last value of a query parameter, or None."""
        if self._query is None:
            text: str = self.environ.get("QUERY_STRING", "")
            try:
                self._query = _usual_query(text) if len(text) <= _USUAL_QUERY else _read_query(text)
            except ValueError:
                raise ProtocolError(ErrorCode.BAD_MESSAGE, "the query string cannot be read") from None
        return self._query.get(name)

    def seconds(self, name: str) -> float:
        """A query parameter as seconds; 0 when absent.

        Raises:
            ProtocolError: BAD_MESSAGE unless it is a finite number of at least 0.
        """
        text = self.query(name)
        if text is None:
            return 0.0
        try:
            return check_seconds(float(text), name)
        except ValueError:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, f"{name} is not a number: {text[:40]!r}") from None

    def body(self, limit: int, seconds: float, loop: Loop) -> bytes:
        """The whole body.

        Raises:
            ProtocolError: TOO_LARGE beyond `limit` bytes; TOO_SLOW if it did not arrive in `seconds`;
                BAD_MESSAGE if cut off.
        """
        if self._given is not None:
            return self._given
        length = self._content_length()
        stream = self.environ.get("wsgi.input")
        if stream is None:
            return b""
        with read_deadline(self.environ, seconds, loop):
            if length is None:
                # Without a length only a server that marks the end of its input may be read (chunked bodies).
                data = _read_up_to(stream, limit + 1) if self.environ.get("wsgi.input_terminated") else b""
                over = len(data) > limit
            elif length > limit:
                data, over = b"", True
            else:
                data, over = _read_up_to(stream, length), False
                if len(data) < length:
                    raise UnreadBody(ErrorCode.BAD_MESSAGE, "the body ended before its Content-Length")
            if over:
                whole = _throw_away(stream, length, limit * _DRAIN_FACTOR)
                error = ProtocolError if whole else UnreadBody
                raise error(ErrorCode.TOO_LARGE, f"the body is over {limit} bytes (limits.max_body)")
        return data

    def _content_length(self) -> int | None:
        text = self.environ.get("CONTENT_LENGTH") or ""
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "Content-Length is not a length")
        return int(text)


@lru_cache(maxsize=100)  # they are those that our code asks for
def _environ_key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key


def _read_query(text: str) -> Mapping[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=32, errors="strict"))


_usual_query = lru_cache(maxsize=100)(_read_query)
"""Sockets all come with the same query, and it takes longer to read than the rest of their head."""


def check_seconds(value: object, name: str) -> float:
    """A wait from outside: a finite number of at least 0, else BAD_MESSAGE."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, f"{name} must be a finite number of seconds, at least 0")
    return float(value)


def _read_up_to(stream: Any, size: int) -> bytes:
    pieces = []
    while size > 0:
        piece = stream.read(min(size, _PIECE))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _throw_away(stream: Any, length: int | None, most: int) -> bool:
    """Read `most` bytes and drop them; whether that was all of them."""
    left = most if length is None else min(length, most)
    while left > 0:
        piece = stream.read(min(left, _PIECE))
        if not piece:
            return True
        left -= len(piece)
    return length is not None and length <= most


@dataclass(slots=True)
class Response:
    """What is to be answered: a value, sent by the middleware.

    Attributes:
        body: bytes, or an iterable of bytes with a `close()` for a stream.
        taken: the socket was taken over and is closed; nothing may be sent.
        last: nothing more may be read from this connection; it ends when the response is sent.
    """

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterable[bytes] = b""
    taken: bool = False
    last: bool = False

    @property
    def status_line(self) -> str:
        return f"{self.status} {HTTPStatus(self.status).phrase}"


def server_failed() -> ProtocolError:
    """What a client is told of an error of ours."""
    return ProtocolError(ErrorCode.FAILED, "the server failed; its log says why")


def error_response(error: ProtocolError, extra: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that failed as a whole."""
    code = ErrorCode(error.code)
    body = json.dumps(error_body(code, error.message, error.retry_after), ensure_ascii=False).encode()
    headers = [("Content-Type", "application/json"), ("Cache-Control", "private, no-store")]
    if code.http_status in (429, 503):
        headers.append(("Retry-After", str(math.ceil(error.retry_after or 1))))
    headers += list((extra or {}).items())
    return Response(
        code.http_status,
        headers,
        body,
        last=isinstance(error, UnreadBody),
    )
