"""The requests to the mount that our server answers itself, without WSGI and without a stack.

Only what is recognised wholly: GET of a channel or of the WebSocket and POST of a poll, with a head that
`heads` reads, a plain path, and a body of a known length. They get an environ and go through the same
endpoints as everywhere; what differs is who carries an answer that has to wait. Everything else takes its way
through pywsgi and the middleware.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from rtbridge.bridge import Bridge
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode
from rtbridge.runtime import Loop
from rtbridge.server.connection import Connection
from rtbridge.server.exchanges import PollExchange, StreamExchange
from rtbridge.server.heads import Head
from rtbridge.server.shared import Questions, is_plain
from rtbridge.server.wire import Writer
from rtbridge.wsgi.carrier import NoStack
from rtbridge.wsgi.endpoints import Endpoints
from rtbridge.wsgi.http import NeedsStack, Request, Response
from rtbridge.wsgi.later import Later, Parked, Streamed, Upgrade
from rtbridge.wsgi.middleware import RealtimeMiddleware
from rtbridge.wsgi.sockets import DETACH

_MAX_LENGTH_DIGITS = 15


class Mount:
    """The mount of one middleware. In the turn only.

    Args:
        middleware: with its bridge and endpoints.
        base: the environ that all requests share.
    """

    def __init__(self, middleware: RealtimeMiddleware, loop: Loop, base: Mapping[str, Any]) -> None:
        self.writer = Writer()
        self.starts = tuple(f"{method} {middleware.mount}".encode() for method in ("GET", "POST"))
        self._path = middleware.mount
        self._bridge: Bridge = middleware.bridge
        self._endpoints: Endpoints = middleware.endpoints
        self._loop = loop
        self._questions: Questions | None = None
        self._no_stack = NoStack(loop)
        self._base = {**base, "SERVER_PROTOCOL": "HTTP/1.1", DETACH: True}

    def size(self, head: Head, start: int) -> int | None:
        """How many bytes a request has whose body begins at `start`; None if it is not for us."""
        fields = head.fields
        if "HTTP_TRANSFER_ENCODING" in fields or "HTTP_EXPECT" in fields:
            return None
        path = head.path[len(self._path) :]
        length = fields.get("CONTENT_LENGTH")
        if head.method == "GET":
            ours = length is None and (
                path == "ws" or (path[:9] == "channels/" and "HTTP_UPGRADE" not in fields)
            )
            return start if ours else None
        if path != "poll" or length is None or "HTTP_UPGRADE" in fields:
            return None
        if not (length.isascii() and length.isdigit()) or len(length) > _MAX_LENGTH_DIGITS:
            return None
        size = int(length)
        return start + size if size <= self._bridge.limits.max_body else None

    def ask_again(self, connection: Connection, head: bytes, size: int) -> bool:
        """Answer a request of `size` bytes as one like it was answered before, without reading it; whether it was."""
        return self._questions is not None and self._questions.ask_again(connection, head, size)

    def take(self, connection: Connection, head: Head, body: bytes) -> None:
        """Answer a request, now or later. The connection has taken it."""
        plain = head.method == "GET" and is_plain(head)
        if plain and self._questions is not None and self._questions.ask(connection, head.line):
            self._questions.remember(head)
            return
        environ = {**self._base, **head.fields}
        environ["REQUEST_METHOD"] = head.method
        environ["PATH_INFO"] = head.path
        environ["QUERY_STRING"] = head.query
        environ["wsgi.input"] = io.BytesIO(body)
        address = connection.address
        if address is not None:
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = address[0], str(address[1])
        request = Request(environ, head.path[len(self._path) :], body, may_block=False)
        try:
            planned = self._endpoints.plan(request)
        except NeedsStack:
            connection.begin(_Planning())
            self._loop.spawn(self._plan_apart, connection, request)
        except Exception as error:
            self._respond(connection, request, self._endpoints.failure(request, error))
        else:
            common = planned.common if plain and isinstance(planned, Parked) else None
            if common is None or not isinstance(planned, Parked):
                self._carry(connection, request, planned)
            else:
                cors = list(self._endpoints.terms(request).cors)
                self._common().learn(connection, head.line, planned, common, cors)

    def _common(self) -> Questions:
        if self._questions is None:
            services = self._bridge.services()
            self._questions = Questions(self, services.fanout, services.metrics, services.loop)
        return self._questions

    def late(self, connection: Connection) -> None:
        """A body did not come in time."""
        seconds = self._bridge.limits.body_timeout
        message = f"the body did not arrive within {seconds:g} s (limits.body_timeout)"
        response = self.failure(ProtocolError(ErrorCode.TOO_SLOW, message))
        connection.answer(self.writer.whole(response, close=True), close=True)

    # For exchanges.

    def spawn(self, job: Callable[[], None]) -> None:
        self._loop.spawn(job)

    def failure(self, error: Exception) -> Response:
        return self._endpoints.failure(Request({"REQUEST_METHOD": "POST"}, "poll"), error)

    # -----------------------------------------------------------------------------------------------------

    def _plan_apart(self, connection: Connection, request: Request) -> None:
        """On a stack of its own, where the application's code may run."""
        request.may_block = True
        try:
            planned = self._endpoints.plan(request)
        except Exception as error:
            response = self._endpoints.failure(request, error)
            with self._loop.turn():
                self._respond(connection, request, response)
        else:
            with self._loop.turn():
                self._carry(connection, request, planned)

    def _carry(self, connection: Connection, request: Request, planned: Response | Later) -> None:
        if isinstance(planned, Response):
            self._respond(connection, request, planned)
            return
        terms = self._endpoints.terms(request)
        cors = list(terms.cors)
        if isinstance(planned, Parked):
            PollExchange(self, connection, cors, terms.close).begin(planned)
        elif isinstance(planned, Streamed):
            StreamExchange(self, connection, cors).begin(planned, self._bridge.limits.send_buffer)
        else:
            self._upgrade(connection, planned)

    def _respond(self, connection: Connection, request: Request, response: Response) -> None:
        close = self._endpoints.terms(request).close
        connection.answer(self.writer.whole(response, close=close), close=close)

    def _upgrade(self, connection: Connection, upgrade: Upgrade) -> None:
        if not connection.send(upgrade.head):
            connection.close()  # its buffer is empty: the client is gone
            return
        upgrade.start(self._no_stack, *connection.detach_watched())


class _Planning:
    """The application's code is running for this request; its answer cannot be hurried."""

    def left(self, connection: Connection) -> None:
        pass

    hurry = sent = left


def mount_of(app: object) -> RealtimeMiddleware | None:
    """The middleware that every request meets first; None where another one is wrapped around it."""
    if isinstance(app, RealtimeMiddleware):
        return app
    inner = getattr(app, "wsgi_app", None)  # Flask calls nothing but this
    from_flask = any(kind.__module__.partition(".")[0] == "flask" for kind in type(app).__mro__[:2])
    return inner if from_flask and isinstance(inner, RealtimeMiddleware) else None
