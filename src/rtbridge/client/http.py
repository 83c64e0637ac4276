"""Requests to one server, several at once, without blocking; a few connections are kept alive between them.

A request is answered exactly once, by a `Response` or by `Lost`, unless it was cancelled. A kept connection that
turns out to be closed is no failure: the request goes out once more on a new one, which our requests allow (a
repeated poll loses nothing, a repeated call has the same id).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from rtbridge.client.events import Ending, ending_of_error
from rtbridge.client.origin import Origin
from rtbridge.client.pipe import Pipe
from rtbridge.client.responses import BadResponse, Done, Head, Part, ResponseParser
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codecs import JSON, Codec, codec_for_content_type
from rtbridge.protocol.messages import ErrorReply
from rtbridge.protocol.polls import parse_error_body
from rtbridge.runtime import Loop, Timer

MAX_BODY = 64 * 1024 * 1024
"""Bytes of one answer."""
KEPT = 4
"""Idle connections."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. The body of a streamed one went to `on_part`."""

    status: int
    headers: dict[str, str]
    body: bytes

    def decoded(self, codec: Codec) -> object:
        """The body's value; ProtocolError when there is none to read."""
        return (codec_for_content_type(self.headers.get("content-type")) or codec).decode(self.body)


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer. `reached`: at least a connection came about."""

    why: str
    reached: bool


Answer: TypeAlias = Response | Lost


class Http:
    """See above.

    Args:
        headers: to send with every request.
        timeout: seconds until a connection must be open.
    """

    def __init__(self, loop: Loop, origin: Origin, headers: Mapping[str, str], timeout: float) -> None:
        self.loop = loop
        self.origin = origin
        self.timeout = timeout
        self._headers = dict(headers)
        self._idle: list[Pipe] = []

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout: float,
        on_answer: Callable[[Answer], None],
        on_part: Callable[[bytes], None] | None = None,
    ) -> Exchange:
        """Send a request.

        Args:
            target: relative to the mount, with the query.
            timeout: seconds until the answer must be there, or with `on_part` its head.
            on_answer: called in the turn, when the answer is whole.
            on_part: called for each piece of the body of a 200, as it comes.
        """
        lines = [f"{method} {self.origin.path}{target} HTTP/1.1", f"Host: {self.origin.authority}"]
        lines += [f"{name}: {value}" for name, value in {**self._headers, **headers}.items()]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        raw = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
        return Exchange(self, raw, timeout, on_answer, on_part)

    def take(self) -> Pipe | None:
        """A kept connection, if there is one."""
        while self._idle:
            pipe = self._idle.pop()
            if not pipe.closed:
                return pipe
        return None

    def keep(self, pipe: Pipe) -> None:
        """A connection that may be used again."""
        pipe.user = _Idle(pipe)
        self._idle = [idle for idle in self._idle if not idle.closed]
        if len(self._idle) < KEPT:
            self._idle.append(pipe)
        else:
            pipe.close()

    def close(self) -> None:
        """Close what is kept."""
        for pipe in self._idle:
            pipe.close()
        self._idle.clear()


class Exchange:
    """One request and its answer."""

    def __init__(
        self,
        http: Http,
        raw: bytes,
        timeout: float,
        on_answer: Callable[[Answer], None],
        on_part: Callable[[bytes], None] | None,
    ) -> None:
        self._http = http
        self._raw = raw
        self._on_answer = on_answer
        self._on_part = on_part
        self._head: Head | None = None
        self._body = bytearray()
        self._over = False
        self._parser = ResponseParser()
        self._timer: Timer | None = http.loop.call_later(timeout, self._late)
        kept = http.take()
        self._reused = kept is not None
        self._pipe = kept or Pipe(http.loop, http.origin, self, http.timeout)
        if kept is not None:
            kept.user = self
            kept.write(raw)

    def cancel(self) -> None:
        """Forget it; its connection is closed. May be repeated."""
        self._over = True
        self._stop_timer()
        self._pipe.close()

    # -- what the pipe calls ------------------------------------------------------------------------------

    def on_open(self) -> None:
        self._pipe.write(self._raw)

    def on_bytes(self, data: bytes) -> None:
        try:
            events = self._parser.feed(data)
        except BadResponse as error:
            self._lose(str(error))
            return
        for event in events:
            if not self._over:
                self._on_event(event)

    def on_lost(self, why: str) -> None:
        if self._reused and not self._parser.begun:
            self._reused = False
            self._pipe = Pipe(self._http.loop, self._http.origin, self, self._http.timeout)
            return
        try:
            for event in self._parser.eof():
                self._on_event(event)
        except BadResponse as error:
            self._lose(f"{why}; {error}")

    # -- the answer ---------------------------------------------------------------------------------------

    def _on_event(self, event: Head | Part | Done) -> None:
        if isinstance(event, Head):
            self._head = event
            if self._streamed:
                self._stop_timer()
        elif isinstance(event, Part):
            self._on_body(event.data)
        else:
            assert self._head is not None
            self._over = True
            self._stop_timer()
            if event.reusable:
                self._http.keep(self._pipe)
            else:
                self._pipe.close()
            self._on_answer(Response(self._head.status, self._head.headers, bytes(self._body)))

    @property
    def _streamed(self) -> bool:
        return self._on_part is not None and self._head is not None and self._head.status == 200

    def _on_body(self, data: bytes) -> None:
        if self._streamed and self._on_part is not None:
            self._on_part(data)
            return
        self._body += data
        if len(self._body) > MAX_BODY:
            self._lose("the answer is too long")

    def _late(self) -> None:
        self._lose("no answer came within the time given")

    def _lose(self, why: str) -> None:
        if not self._over:
            self.cancel()
            self._on_answer(Lost(why, self._pipe.reached))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Idle:
    """Waits on a kept connection for the only thing that can come: its end."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def on_open(self) -> None:
        pass

    def on_bytes(self, data: bytes) -> None:
        self._pipe.close()

    def on_lost(self, why: str) -> None:
        pass


def error_of(response: Response) -> ErrorReply | None:
    """The error of an answer that is none of the good ones; None where it is not one of rtbridge's."""
    try:
        error = parse_error_body(response.decoded(JSON))
    except ProtocolError:
        return None
    return error if error.retry_after is not None else replace(error, retry_after=retry_after(response))


def ending_of(answer: Answer) -> Ending:
    """What follows from an answer that is none of the good ones."""
    if isinstance(answer, Lost):
        return Ending("resume", answer.why, reached=answer.reached)
    error = error_of(answer)
    if error is not None:
        return ending_of_error(error)
    # Not from rtbridge: a proxy, or a site without it. It may be there again in a moment.
    text = f"HTTP status {answer.status} instead of an answer"
    location = answer.headers.get("location")
    if location:
        text += f"; the site sends us to {location}: use the URL that it stands for"
    return Ending("resume", text, None, retry_after(answer))


def retry_after(response: Response) -> float | None:
    """The seconds of a `Retry-After` header; dates are not ours to send."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() and len(value) < 6 else None
