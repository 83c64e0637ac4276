"""`GET channels/NAME`: one channel for anything that speaks HTTP, without a session.

A public channel asks nothing of the client and answers everybody alike, so that proxies may cache it. For any
other, who is asking is settled here and now, on the request's own thread or greenlet, unless the client sends
back the token it was given.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.context import Context
from rtbridge.errors import BusError, ProtocolError
from rtbridge.protocol.channels import check_channel
from rtbridge.protocol.codecs import JSON, Codec, codec_named
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.positions import Position
from rtbridge.session.access import Identity, no_such_channel
from rtbridge.session.services import Services
from rtbridge.session.snapshots import Wish, wish_for
from rtbridge.transports.carrier import Carrier
from rtbridge.transports.onechannel import ChannelAnswer, ChannelPoll, ChannelStream, Question
from rtbridge.wsgi.carrier import Parking
from rtbridge.wsgi.http import NeedsStack, Request, Response, server_failed
from rtbridge.wsgi.later import Common, Headers, Later, Parked, Streamed
from rtbridge.wsgi.streaming import STREAM_HEADERS

_RECENT = 20  # publications sent to who asks without a position
_TOKEN = "Rtbridge-Token"
_TOKEN_BYTES = 4096  # servers and proxies refuse long header lines, gunicorn above 8190 bytes


def channel_answer(request: Request, services: Services, parking: Parking) -> Later:
    """Answer a GET or HEAD of one channel, later.

    Raises:
        NeedsStack: see `Endpoints.plan`.
    """
    name = check_channel(request.path.removeprefix("channels/"))
    found = services.registry.channel_for(name)
    if found is None:
        raise no_such_channel(name)
    declaration, params = found
    heard = services.revocations.list.heard
    extra, life, identity = _permit(request, services, declaration, name, params)
    streaming = request.accepts("text/event-stream")
    wish = None
    if request.query("snapshot") == "1":
        wish = wish_for(name, declaration, params, identity, partial(_context, request, services, identity))
    question = _question(request, services, declaration, name, streaming, wish)
    question = replace(question, identity=identity, heard=heard)
    if streaming:
        return _stream(request, services, parking, question, extra, life)
    return _poll(request, services, parking, question, extra)


def _permit(
    request: Request,
    services: Services,
    declaration: ChannelDeclaration,
    name: str,
    params: dict[str, object],
) -> tuple[Headers, float, Identity | None]:
    """Settle whether the client may read it.

    Returns:
        The header with its new token, if there is one; for how many seconds it may; and who it is, where that
        was asked.
    """
    if declaration.public:
        if services.fanout.tail(name) is None:
            # Nobody is asked, but its log begins to be watched here, and on the bus to live for weeks.
            with services.loop.turn():
                services.quotas.ask(None, request.environ["rtbridge.address"])
        return [], math.inf, None
    access, environ = services.access, request.environ
    if not request.may_block:
        known = access.recall(request.header(_TOKEN), environ)
        if known is None or not known.may_follow(name, access.wall()):
            raise NeedsStack
    identity, _ = access.identify(request.header(_TOKEN), environ)
    if not identity.may_follow(name, access.wall()):
        context = access.context(identity, environ, "shortpoll")
        with services.loop.turn():
            services.quotas.ask(identity.user_id, environ["rtbridge.address"])
        access.permit(identity, declaration, name, params, context)
    life = max(0.0, identity.granted_until(name) - access.wall())
    extra = [(_TOKEN, access.token_for(identity, _TOKEN_BYTES))] if identity.changed else []
    return extra, life, identity


def _context(request: Request, services: Services, identity: Identity | None) -> Context:
    assert identity is not None, "a public channel has no snapshots for single users"
    return services.access.context(identity, request.environ, "shortpoll")


def _question(
    request: Request,
    services: Services,
    declaration: ChannelDeclaration,
    name: str,
    streaming: bool,
    wish: Wish | None,
) -> Question:
    given = request.query("after")
    if streaming:
        given = request.header("Last-Event-ID") or given
    after = Position.parse(given) if given else None
    wait = min(request.seconds("wait"), services.limits.poll_wait)
    if not declaration.allows("longpoll") or "longpoll" not in request.environ["rtbridge.offers"]:
        wait = 0.0
    return Question(name, declaration, after, _recent(request, services, streaming), wait, wish)


def _recent(request: Request, services: Services, streaming: bool) -> int:
    text = request.query("recent")
    if text is None:
        return 0 if streaming else _RECENT
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "recent must be a number of publications")
    return min(int(text), services.limits.page_publications)


def _codec(request: Request) -> Codec:
    packed = codec_named("msgpack") if request.accepts("application/msgpack") else None
    return packed or JSON


def _poll(
    request: Request, services: Services, parking: Parking, question: Question, extra: Headers
) -> Parked:
    codec = _codec(request)
    place = parking.take(request.environ) if question.wait > 0 else None
    if question.wait > 0 and place is None:
        question = replace(question, wait=0.0)
        extra = [*extra, ("Retry-After", f"{services.limits.poll_interval:g}")]

    start = partial(_start_poll, services, question, codec)
    common = None
    begins = question.snapshot is not None and question.after is None
    # Snapshots are shared by their flights; what they tell may be more than what was published.
    if question.declaration.public and question.declaration.keep.kind != "volatile" and not begins:
        at_once = replace(question, wait=0.0)
        common = Common(question.channel, question.wait, partial(_start_poll, services, at_once, codec))
    return Parked(start, partial(_respond, request, question, codec, extra), place, common)


def _start_poll(services: Services, question: Question, codec: Codec, carrier: Carrier) -> ChannelPoll:
    poll = ChannelPoll(services, question, codec, carrier)
    poll.start()
    return poll


def _respond(request: Request, question: Question, codec: Codec, extra: Headers, answer: object) -> Response:
    if isinstance(answer, BusError | ProtocolError):
        raise answer
    if not isinstance(answer, ChannelAnswer):
        raise server_failed()
    etag = _etag(answer, codec)
    headers = [
        ("Content-Type", codec.content_type),
        ("Cache-Control", _caching(question)),
        ("ETag", etag),
        ("Vary", "Accept"),
        *extra,
    ]
    if request.has(etag):
        return Response(304, headers)
    return Response(200, headers, answer.body)


def _etag(answer: ChannelAnswer, codec: Codec) -> str:
    # For one URL the position says it all, except whether it was reached whole or cut, and in which codec.
    gap = "" if answer.recovered else "-gap"
    more = ("-more" if answer.more else "") + ("-snapshot" if answer.snapshot else "")
    packed = "" if codec.name == "json" else "-" + codec.name
    return f'"{answer.position}{gap}{more}{packed}"'


def _caching(question: Question) -> str:
    if not question.declaration.public:
        return "private, no-store"
    if question.wait > 0:
        return "no-store"  # a parked answer is old when it is read again
    every = question.declaration.every if question.declaration.transport == "shortpoll" else 1.0
    return f"public, max-age={max(1, int(every))}"


def _stream(
    request: Request,
    services: Services,
    parking: Parking,
    question: Question,
    extra: Headers,
    life: float,
) -> Streamed:
    possible = "eventstream" in request.environ["rtbridge.offers"]
    place = parking.take(request.environ) if possible and question.declaration.allows("eventstream") else None
    if place is None:
        raise ProtocolError(ErrorCode.TRANSPORT_UNAVAILABLE, "no event stream for this channel here and now")

    def start(carrier: Carrier) -> ChannelStream:
        # Access ends by expiry: the browser's EventSource comes back by itself, from its position.
        stream = ChannelStream(services, question, carrier, life)
        stream.start()
        return stream

    return Streamed(start, [*STREAM_HEADERS, *extra], place, awaited=True)
