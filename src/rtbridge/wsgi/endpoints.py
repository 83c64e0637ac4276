"""What is below the mount: one function for each resource, a Request in, a Response out.

Who may ask is settled first (origin, guard), then the request is read. What can be answered at once is; what
has to wait is a `Later`, which somebody carries: here the thread or greenlet of the request (`answer`), in our
own server nobody at all (`plan`).
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from rtbridge.bridge import Bridge
from rtbridge.errors import BusError, HandshakeError, ProtocolError
from rtbridge.protocol.codecs import JSON, Codec, codec_named
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.handshake import check_request, response_head
from rtbridge.protocol.polls import PollRequest, parse_poll_request
from rtbridge.runtime import Watch
from rtbridge.session.services import Services
from rtbridge.transports.carrier import Carrier
from rtbridge.transports.eventstream import EventStream
from rtbridge.transports.longpoll import LongPoll
from rtbridge.transports.shortpoll import Poll, ShortPoll
from rtbridge.transports.websocket import WebSocket
from rtbridge.wsgi import sockets
from rtbridge.wsgi.carrier import NoStack, Parking, RequestCarrier
from rtbridge.wsgi.channel import channel_answer
from rtbridge.wsgi.files import client_file
from rtbridge.wsgi.http import NeedsStack, Request, Response, error_response, server_failed
from rtbridge.wsgi.later import Later, Parked, Streamed, Upgrade
from rtbridge.wsgi.streaming import STREAM_HEADERS, stream_response
from rtbridge.wsgi.terms import Terms, TermsBook
from rtbridge.wsgi.waiting import carry_poll

_log = logging.getLogger("rtbridge")
_PRIVATE = ("Cache-Control", "private, no-store")
_ORIGINS_TOLD = 20  # refused origins that are logged, once each
_BEST_FIRST = ("websocket", "eventstream", "longpoll", "shortpoll")


class Endpoints:
    """Answers every request below the mount of one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._parking: Parking | None = None
        self._refused_origins: set[str] = set()
        self._terms = TermsBook(bridge.origins)
        self._offered: dict[tuple[bool, bool], tuple[str, ...]] = {}

    def answer(self, request: Request) -> Response:
        """The response to a request, waited for; whatever goes wrong becomes one of the documented errors."""
        try:
            file = client_file(request)
            if file is not None and request.method not in ("GET", "HEAD"):
                raise WrongMethod(request.method, ("GET", "HEAD"))
            if file is not None:
                return file
            planned = self.plan(request)
            return planned if isinstance(planned, Response) else self._carry(request, planned)
        except Exception as error:
            return self.failure(request, error)

    def plan(self, request: Request) -> Response | Later:
        """What a request is answered with, now or later.

        Raises:
            NeedsStack: the application's own code must run for that, and the request says that it cannot here.
            Exception: whatever went wrong, for `failure`.
        """
        handler = self._route(request)
        terms = self.terms(request)
        if terms.refused is not None:
            self._tell_operator(request, terms.refused)
            raise ProtocolError(ErrorCode.FORBIDDEN_ORIGIN, terms.refused)
        if request.method == "OPTIONS":
            return self.with_cors(request, Response(204))
        not_serving = self._bridge.why_not_serving()
        if not_serving is not None:
            raise ProtocolError(ErrorCode.UNAVAILABLE, not_serving)
        services = self._bridge.services()
        if self._parking is None:
            self._parking = Parking(services.loop, services.limits)
        request.environ["rtbridge.offers"] = self._offers(request)
        request.environ["rtbridge.address"] = self._bridge.origins.address(request.environ)
        return handler(request, services, self._parking)

    def terms(self, request: Request) -> Terms:
        """On what terms a request is answered."""
        terms = request.terms
        if terms is None:
            terms = request.terms = self._terms.of(request.environ)
        return terms

    def failure(self, request: Request, error: Exception) -> Response:
        """The response to a request that failed as a whole."""
        if isinstance(error, NeedsStack):
            raise error
        if isinstance(error, BusError):
            error = ProtocolError(ErrorCode.UNAVAILABLE, str(error))
        elif not isinstance(error, ProtocolError):
            _log.error("answering %s %s failed", request.method, request.path, exc_info=error)
            error = server_failed()
        if request.environ.get("wsgi.websocket") is not None:
            # The server answered 101 before we were asked: all that is left is a close code.
            sockets.refuse(request.environ, error)
            return Response(taken=True)
        extra = {"Allow": ", ".join(error.allowed)} if isinstance(error, WrongMethod) else None
        return self.with_cors(request, error_response(error, extra))

    def with_cors(self, request: Request, response: Response) -> Response:
        """The response with what lets pages of allowed origins read it."""
        if not response.taken:
            response.headers = [*response.headers, *self.terms(request).cors]
        return response

    def _carry(self, request: Request, later: Later) -> Response:
        """Wait for an answer on the request's own thread or greenlet."""
        services = self._bridge.services()
        if isinstance(later, Parked):
            response = later.respond(carry_poll(services, request.environ, later))
        elif isinstance(later, Streamed):
            response = stream_response(services.loop, request.environ, later)
        else:
            return self._carry_socket(services, request, later)
        return self.with_cors(request, response)

    def _tell_operator(self, request: Request, refused: str) -> None:
        """A browser keeps the reason of a refusal from its page, so that the log is where it is looked for."""
        origin = request.header("Origin") or "none"
        if origin not in self._refused_origins and len(self._refused_origins) < _ORIGINS_TOLD:
            self._refused_origins.add(origin)
            _log.warning("a request was refused, and further ones from there will be: %s", refused)

    def _route(self, request: Request) -> Callable[[Request, Services, Parking], Response | Later]:
        path, method = request.path, request.method
        allowed: tuple[str, ...]
        handler: Callable[[Request, Services, Parking], Response | Later]
        if path == "poll":
            allowed, handler = ("POST",), self._poll
        elif path == "ws":
            allowed, handler = ("GET",), self._websocket
        elif path.startswith("channels/"):
            allowed, handler = ("GET", "HEAD"), channel_answer
        else:
            raise ProtocolError(ErrorCode.NO_SUCH_RESOURCE, f"nothing is served at {path[:100]!r}")
        if method not in (*allowed, "OPTIONS"):
            raise WrongMethod(method, allowed)
        return handler

    def _offers(self, request: Request) -> tuple[str, ...]:
        """What this server can do for this client, best first."""
        assert self._parking is not None
        parks = self._parking.may_ever_park(request.environ)
        can = parks, parks and sockets.can_take(request.environ)
        offered = self._offered.get(can)
        if offered is None:
            possible = self._bridge.transports if parks else {"shortpoll"}
            offered = tuple(
                name for name in _BEST_FIRST if name in possible and (can[1] or name != "websocket")
            )
            self._offered[can] = offered
        return offered

    # -- POST /rt/poll ------------------------------------------------------------------------------------

    def _poll(self, request: Request, services: Services, parking: Parking) -> Later:
        terms = self.terms(request)
        codec, answer_codec = terms.codec, terms.answered_in
        if codec is None or answer_codec is None:
            raise ProtocolError(
                ErrorCode.WRONG_CONTENT_TYPE,
                "a poll needs Content-Type application/json or application/msgpack",
            )
        limits = services.limits
        body = request.body(limits.max_body, limits.body_timeout, services.loop)
        with services.loop.turn():
            services.quotas.posted(request.environ["rtbridge.address"], len(body))
        request.environ["rtbridge.size"] = len(body)
        asked = _read_poll(codec, body, limits.max_commands)
        if terms.streamed:
            return self._stream(request, services, parking, asked.commands)
        services.metrics.add("polls")
        offers = request.environ["rtbridge.offers"]
        place = parking.take(request.environ) if asked.wait > 0 and "longpoll" in offers else None
        return Parked(
            partial(_start_poll, services, request.environ, answer_codec, asked, place is not None),
            _poll_respond(answer_codec),
            place,
        )

    def _stream(
        self, request: Request, services: Services, parking: Parking, commands: Sequence[object]
    ) -> Later:
        place = parking.take(request.environ) if "eventstream" in request.environ["rtbridge.offers"] else None
        if place is None:
            raise ProtocolError(
                ErrorCode.TRANSPORT_UNAVAILABLE, "this server has no room for event streams now"
            )

        def start(carrier: Carrier) -> EventStream:
            stream = EventStream(services, request.environ, JSON, carrier)
            stream.start(commands)
            return stream

        return Streamed(start, STREAM_HEADERS, place, drained=True)

    # -- GET /rt/ws ---------------------------------------------------------------------------------------

    def _websocket(self, request: Request, services: Services, parking: Parking) -> Response | Later:
        environ = request.environ
        codec = self._socket_codec(request)
        upgraded = environ.get("wsgi.websocket") is not None
        if "websocket" not in environ["rtbridge.offers"]:
            raise ProtocolError(
                ErrorCode.TRANSPORT_UNAVAILABLE, "this server cannot do WebSockets; see the hello's offers"
            )
        try:
            accept = check_request(request.method, environ.get("SERVER_PROTOCOL", ""), request.header)
        except HandshakeError as error:
            if not upgraded:
                refusal = error_response(ProtocolError(ErrorCode.BAD_HANDSHAKE, error.message))
                refusal.status = error.status
                refusal.headers.append(("Sec-WebSocket-Version", "13"))
                return self.with_cors(request, refusal)
            accept = ""
        place = parking.take(environ)
        if place is None:
            raise ProtocolError(ErrorCode.TRANSPORT_UNAVAILABLE, "this server has no room for WebSockets now")

        def start(
            carrier: Carrier, sock: socket.socket, early: bytes, watch: Watch | None
        ) -> Callable[[], None]:
            return WebSocket(services, environ, codec, carrier, sock, early, watch).abandon

        return Upgrade(b"" if upgraded else response_head(accept), start, place)

    def _socket_codec(self, request: Request) -> Codec:
        codec = codec_named(request.query("codec") or "json")
        if codec is None:
            raise ProtocolError(ErrorCode.BAD_HANDSHAKE, "codec must be json or msgpack")
        version = request.query("version") or "1"
        if version != "1":
            raise ProtocolError(
                ErrorCode.UNSUPPORTED_VERSION, f"this server speaks version 1, not {version[:20]!r}"
            )
        return codec

    def _carry_socket(self, services: Services, request: Request, upgrade: Upgrade) -> Response:
        given_away = sockets.DETACH in request.environ
        with upgrade.place:
            carrier = NoStack(services.loop) if given_away else RequestCarrier(services.loop)
            sock, early = sockets.take(request.environ)
            if upgrade.head:
                sockets.send_now(sock, upgrade.head)
            with services.loop.turn():
                abandon = upgrade.start(carrier, sock, early, None)
            if isinstance(carrier, RequestCarrier):
                try:
                    carrier.carry()
                finally:
                    with services.loop.turn():
                        abandon()
        return Response(taken=True)


def _start_poll(
    services: Services,
    environ: Mapping[str, Any],
    codec: Codec,
    asked: PollRequest,
    may_park: bool,
    carrier: Carrier,
) -> Poll:
    limits = services.limits
    poll: Poll
    if may_park:
        poll = LongPoll(services, environ, codec, carrier, min(limits.poll_wait, asked.wait))
    else:
        poll = ShortPoll(services, environ, codec, carrier, limits.poll_interval if asked.wait > 0 else None)
    poll.start(asked.commands)
    return poll


@lru_cache(maxsize=4)  # one for each codec: parked polls share it
def _poll_respond(codec: Codec) -> Callable[[object], Response]:
    return partial(_poll_response, codec)


def _poll_response(codec: Codec, answer: object) -> Response:
    if not isinstance(answer, bytes):
        raise server_failed()
    return Response(200, [("Content-Type", codec.content_type), _PRIVATE], answer)


class WrongMethod(ProtocolError):
    """The resource exists, for other methods."""

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(
            ErrorCode.WRONG_METHOD, f"{method[:20]} is not for this resource; it takes {', '.join(allowed)}"
        )
        self.allowed = allowed


def _read_poll(codec: Codec, body: bytes, max_commands: int) -> PollRequest:
    poll = parse_poll_request(codec.decode(body))
    if not poll.commands:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "commands is empty; a poll begins with a hello")
    if len(poll.commands) > max_commands:
        raise ProtocolError(
            ErrorCode.TOO_LARGE,
            f"{len(poll.commands)} commands in a poll, over limits.max_commands = {max_commands}",
        )
    return poll
