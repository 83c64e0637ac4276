"""A session on one connection: commands in, replies out, called back when there is something to do.

How to think about it: commands wait in one queue and are carried out one at a time. What is quick is done in
the turn; what may block (the application's functions, a bus over the network) becomes a *job* that the outlet
runs elsewhere and whose result comes back into the turn. What a session follows, and what leaves it, is in
`following`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar, cast

from rtbridge.errors import BusError, ProtocolError
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import DisconnectCode, ErrorCode
from rtbridge.protocol.private import PRIVATE
from rtbridge.protocol.states import State, advance, event_of
from rtbridge.runtime import Spoke
from rtbridge.runtime.loop import run_logged
from rtbridge.session import calling, private, subscribing
from rtbridge.session.access import Identity, SiteTokenExpired
from rtbridge.session.environ import Kept, Packed, packed
from rtbridge.session.following import Following
from rtbridge.session.outlet import Outlet
from rtbridge.session.renewal import RENEWAL, Renewal, renew
from rtbridge.session.services import Services

T = TypeVar("T")
_NO_ENVIRON: Mapping[str, Any] = MappingProxyType({})
Greeting = tuple[int, tuple[str, ...]]
"""The id of a hello, and what the server offers."""
_log = logging.getLogger("rtbridge")


class Session(Following):
    """One connection's view of a session. Every method is for the turn.

    Args:
        services: what the process shares.
        outlet: the transport that carries this session.
        environ: the WSGI environ of the request it came with.
    """

    __slots__ = (
        "_busy",
        "_environ",
        "_looping",
        "_queue",
        "_renewal",
        "address",
        "greeting",
        "identity",
        "instance",
        "since",
        "state",
    )

    def __init__(self, services: Services, outlet: Outlet, environ: Mapping[str, Any]) -> None:
        super().__init__(services, outlet)
        self._environ: Mapping[str, Any] | Packed = environ
        self.address: str = environ.get("rtbridge.address", "")
        self.identity: Identity | None = None
        self.greeting: Greeting | None = None
        self.instance = ""
        self.since = 0.0
        self.state = State.OPENING
        self._queue: list[object] | None = None  # none is no list: most sessions are idle most of the time
        self._busy = False
        self._looping = False
        self._renewal: Spoke | None = None

    # -- inbound ------------------------------------------------------------------------------------------

    def receive(self, decoded: Iterable[object], size: int = 0) -> None:
        """Take commands as the codec decoded them, of `size` bytes; each that has an id gets one reply, in order."""
        if size:
            self.services.quotas.received(self, size)
        for item in decoded:
            try:
                self._enqueue(m.parse_command(item))
            except ProtocolError as error:
                self._enqueue(error)
        self.go_on()

    def _enqueue(self, command: object) -> None:
        if self._queue is None:
            self._queue = []
        self._queue.append(command)

    def close(self) -> None:
        """The connection is gone, for whatever reason. Idempotent."""
        if self.state is State.ENDED:
            return
        self.state = State.ENDED
        self.unfollow_all()
        private.leave(self)
        self._queue = None
        self._schedule_renewal(None)
        if self.identity is not None:
            self.services.revocations.polls.pop(self, None)
            key = (self.identity.client_id, self.instance)
            if self.services.newest.get(key) is self:
                del self.services.newest[key]
            self.services.hooks.detach(self.identity.client_id)

    def disconnect(self, code: DisconnectCode, message: str, retry_after: float | None = None) -> None:
        """End this connection with a code that says whether to come back."""
        if self.state is not State.ENDED:
            outlet = self.outlet
            self.close()
            outlet.finish(code, message, retry_after)

    # -- outbound -----------------------------------------------------------------------------------------

    @property
    def known_identity(self) -> Identity:
        """Who it is; known once hello was answered."""
        assert self.identity is not None
        return self.identity

    @property
    def environ(self) -> Mapping[str, Any]:
        """The environ of the request; of a socket or stream, once it was greeted, only its texts."""
        kept = self._environ
        return Kept(kept) if isinstance(kept, tuple) else kept

    def park(self) -> None:
        """Every command is answered and none can come any more, as on a parked poll: keep no more than that needs."""
        self._caught_up = None  # a poll stands in no live group
        if all(subscription.state is None for subscription in self.subscriptions):  # a snapshot may need it
            self._environ = _NO_ENVIRON
        if not any(subscription.declaration.of_people for subscription in self.subscriptions):
            self.instance = ""  # a tab's name matters among people, and where connections replace each other

    @property
    def waiting(self) -> int:
        """Commands not yet begun."""
        return 0 if self._queue is None else len(self._queue)

    @property
    def at_rest(self) -> bool:
        """Every command is answered; no page of the bus and no snapshot is on its way."""
        return not (self._busy or self._queue or self._reading or self.awaiting)

    def _fail(self, error: ProtocolError, command: object) -> None:
        command_id = error.command_id if error.command_id is not None else getattr(command, "id", None)
        code = ErrorCode(error.code)
        if command_id is None and isinstance(command, m.Subscribe):
            self.reply(m.UnsubscribedPush(command.channel, code, error.message, error.retry_after))
            return
        # A timed-out or failed dependency deserves a pause before the next try.
        retry = 1.0 if code is ErrorCode.UNAVAILABLE else error.retry_after
        self.reply(m.ErrorReply(command_id, code, error.message, retry_after=retry))

    # -- the queue ----------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Carry out commands until one has to wait for something, then let the outlet look."""
        if self._looping:
            return
        self._looping = True
        try:
            while self._queue and not self._busy and self.state is not State.ENDED:
                command = self._queue.pop(0)
                self._queue = self._queue or None
                try:
                    self._begin(command)
                except ProtocolError as error:
                    self._fail(error, command)
        finally:
            self._looping = False
        if self.state is State.ENDED:
            return
        identity = self.identity
        if identity is not None and identity.changed and self.at_rest:
            self.reply(m.TokenPush(self.services.access.token_for(identity), self._token_life()))
        self.outlet.due()

    def _begin(self, command: object) -> None:
        if isinstance(command, ProtocolError):
            raise command
        if isinstance(command, Renewal):
            self._renew()
            return
        self.state = advance(self.state, event_of(cast(m.Command, command)))
        if isinstance(command, m.Hello):
            self._hello(command)
        elif isinstance(command, m.Subscribe):
            subscribing.begin(self, command)
        elif isinstance(command, m.Unsubscribe):
            self._unsubscribe(command)
        elif isinstance(command, m.Call):
            calling.begin(self, command)
        elif isinstance(command, m.SetPresence):
            self.services.presence.change(self, command)
        elif isinstance(command, m.Answer):
            self.services.questions.answer(self, command)
        elif isinstance(command, m.Ping):
            self.reply(m.PongReply(command.id))
        elif isinstance(command, m.Bye):
            self._bye()

    def wait(self) -> Callable[[object, Callable[[Any], None], Any], None]:
        """Hold the queue until what is returned is called in the turn: `resume(command, then, found)`."""
        self._busy = True
        return self._job_done

    def job(self, command: object, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `work` outside the turn and `then` in it with the result; the queue waits meanwhile."""
        self._busy = True

        def run() -> None:
            failure: ProtocolError | None = None
            try:
                result = work()
            except ProtocolError as error:
                failure = error
            except BusError as error:
                failure = ProtocolError(ErrorCode.UNAVAILABLE, str(error))
            except Exception:
                _log.exception("%s failed", type(command).__name__)
                failure = ProtocolError(ErrorCode.FAILED, "the server failed; its log says why")
            with self.services.loop.turn():
                if failure is None:
                    run_logged(self._job_done, (command, then, result))
                else:
                    run_logged(self._job_failed, (command, failure))

        self.outlet.run(run)

    def _job_done(self, command: object, then: Callable[[T], None], result: T) -> None:
        self._busy = False
        if self.state is State.ENDED:
            return
        try:
            then(result)
        except ProtocolError as error:
            self._fail(error, command)
        self.go_on()

    def _job_failed(self, command: object, error: ProtocolError) -> None:
        self._busy = False
        if self.state is State.ENDED:
            return
        if isinstance(error, SiteTokenExpired):
            self.disconnect(DisconnectCode.CREDENTIALS_CHANGED, error.message)
            return
        if isinstance(command, m.Hello):
            self.state = State.OPENING
        self._fail(error, command)
        self.go_on()

    # -- hello, bye, renewal ------------------------------------------------------------------------------

    def _hello(self, command: m.Hello) -> None:
        access, hooks = self.services.access, self.services.hooks
        ended = access.ended(command.token)
        if ended is not None:
            self.disconnect(DisconnectCode(ended), "the application ended this session")
            return
        heard = self.services.revocations.list.heard
        known = access.recall(command.token, self.environ)
        if known is not None and not hooks.active:
            self._hello_done(command, known, True)
            return

        def work() -> tuple[Identity, bool]:
            identity, resumed = access.identify(command.token, self.environ)
            context = access.context(identity, self.environ, self.outlet.transport)
            hooks.attach(context, access.framework)
            return identity, resumed

        def found(identity: Identity, resumed: bool) -> None:
            ended = self.services.revocations.ended_since(identity, heard)
            if ended is not None:
                self.disconnect(ended, "the application ended this session")
            else:
                self._hello_done(command, identity, resumed)

        self.job(command, work, lambda identified: found(*identified))

    def _hello_done(self, command: m.Hello, identity: Identity, resumed: bool) -> None:
        services, limits = self.services, self.services.limits
        self.identity = identity
        self.instance = command.instance
        size = self.environ.get("rtbridge.size")
        if size:
            services.quotas.greeted(self, size)
        services.hooks.attached(identity.client_id, identity.user_id)
        transport = self.outlet.transport
        # Who goes on with what the token says keeps it: nothing need be signed, or sent, for a poll.
        token = services.access.token_for(identity) if identity.changed or not resumed else None
        offers = self.environ.get("rtbridge.offers", ())
        if token is None and transport in ("shortpoll", "longpoll"):
            self.greeting = _greeting(command.id, offers)
        else:
            self.reply(self._hello_reply(command.id, offers, resumed, token))
        if transport in ("websocket", "eventstream"):
            self._environ = packed(self.environ)
            services.takeovers.claim(self, resumed)
            # What the site says is the site's to renew: the client is sent for it while the token still holds.
            self._schedule_renewal(self._token_life() if identity.by_site else limits.token_ttl)
        else:
            services.revocations.polls[self] = None

    def _hello_reply(
        self, command_id: int, offers: tuple[str, ...], resumed: bool, token: str | None
    ) -> m.HelloReply:
        limits = self.services.limits
        return m.HelloReply(
            id=command_id,
            version=1,
            client_id=self.known_identity.client_id,
            resumed=resumed,
            token=token,
            expires_in=self._token_life(),
            transport=self.outlet.transport,
            offers=offers,
            ping=limits.ping_interval,
            wait=limits.poll_wait,
            interval=limits.poll_interval,
        )

    def take_greeting(self) -> list[bytes]:
        """The reply to the hello of a poll that goes on with what its token says: one, before all that is collected.

        It is no news, and is made when there is some: while the poll is parked it would only take memory.
        """
        greeting, self.greeting = self.greeting, None
        return [] if greeting is None else [self._encode(self._hello_reply(*greeting, True, None))]

    def _token_life(self) -> float:
        assert self.identity is not None
        return max(0.0, round(self.identity.expires - self.services.access.wall(), 1))

    def _bye(self) -> None:
        identity, hooks = self.identity, self.services.hooks
        if identity is not None and hooks.active:
            context = self.services.access.context(identity, self.environ, self.outlet.transport)
            framework = self.services.access.framework
            self.services.loop.spawn(hooks.finish, context, framework)
        self.disconnect(DisconnectCode.ENDED, "the client said bye")

    def _schedule_renewal(self, ttl: float | None) -> None:
        """Renew after 70 to 90 % of `ttl` seconds: early enough for a second try, spread over the connections."""
        if self._renewal is not None:
            self._renewal.discard(self)
            self._renewal = None
        if ttl is not None:
            self._renewal = self.services.wheel.add(ttl * random.uniform(0.7, 0.85), self)

    def tick(self) -> None:
        """(The wheel's callback.) It is time to renew."""
        self._renewal = None
        try:
            self._enqueue(RENEWAL)
            self.go_on()
        except Exception:
            _log.exception("a connection could not be renewed")
            self.disconnect(DisconnectCode.FAILED, "the server failed; its log says why")

    def renew_now(self) -> None:
        """Authenticate and authorise a socket or stream anew, when the commands before are done."""
        if self._renewal is not None and self.state is not State.ENDED:
            self._schedule_renewal(None)
            self.tick()

    def _renew(self) -> None:
        identity = self.identity
        assert identity is not None
        followed = self.subscriptions
        access = self.services.access
        context = access.context(identity, self.environ, self.outlet.transport)
        heard = self.services.revocations.list.heard
        self.job(
            RENEWAL,
            lambda: renew(access, identity, followed, context),
            lambda found: self._renewed(heard, found),
        )

    def _renewed(self, heard: int, found: tuple[bool, dict[str, ErrorCode], bool]) -> None:
        same_user, refused, again_soon = found
        if not same_user:
            self.disconnect(
                DisconnectCode.CREDENTIALS_CHANGED,
                "the user behind this connection changed, or is to be proved again",
            )
            return
        self.services.revocations.drop_heard_since(self, heard)
        for channel, code in refused.items():
            if self.subscription_to(channel) is None:
                continue
            self.unfollow(channel)
            self.reply(m.UnsubscribedPush(channel, code, f"access to {channel!r} was not renewed"))
        self._schedule_renewal(self.services.limits.token_ttl * (0.1 if again_soon else 1.0))

    def _unsubscribe(self, command: m.Unsubscribe) -> None:
        if command.channel == PRIVATE and self.private is not None:
            private.leave(self)
        elif self.subscription_to(command.channel) is not None:
            self.unfollow(command.channel)
        else:
            raise ProtocolError(ErrorCode.NOT_SUBSCRIBED, f"not subscribed to {command.channel!r} here")
        if command.id is not None:
            self.reply(m.Unsubscribed(command.id, command.channel))


@lru_cache(maxsize=64)  # nearly all are alike: parked polls share them
def _greeting(command_id: int, offers: tuple[str, ...]) -> Greeting:
    return command_id, offers
