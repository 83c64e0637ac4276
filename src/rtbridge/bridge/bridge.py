"""The composition root: declarations go in before anything is served; the machinery below is made at the
first request.

Making it late matters: only then it is known whether this process serves with threads or with gevent, whether
it was forked, and what site surrounds us. Publishing needs none of it, only the bus.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from rtbridge.bridge.channel import Channel, OneChannel, Published
from rtbridge.bridge.handing_out import ASK, hand_out
from rtbridge.bridge.people import People
from rtbridge.bridge.publishing import Publishing
from rtbridge.bridge.sourcing import Sourcing
from rtbridge.bus.contract import Bus
from rtbridge.bus.guard import ServingGuard, lock_path
from rtbridge.bus.memory import MemoryBus
from rtbridge.config import Limits
from rtbridge.contract.calls import CallDeclaration
from rtbridge.contract.channels import TRANSPORTS, ChannelDeclaration
from rtbridge.contract.context import Context
from rtbridge.contract.presence_channel import PresenceChannel
from rtbridge.contract.registry import Registry
from rtbridge.contract.tokens import Tokens
from rtbridge.errors import ConfigError, DeclarationError
from rtbridge.fanout import Fanout
from rtbridge.frameworks import Framework, find_framework
from rtbridge.metrics import Metrics
from rtbridge.origins import OriginRules
from rtbridge.protocol.codes import DisconnectCode
from rtbridge.protocol.positions import Position
from rtbridge.runtime import choose_loop, native_lock, watched
from rtbridge.session.access import Access
from rtbridge.session.calls import CallRunner
from rtbridge.session.hooks import SessionHooks
from rtbridge.session.rosters import presence_keep
from rtbridge.session.services import Services

P = ParamSpec("P")
R = TypeVar("R")
Hook = TypeVar("Hook", bound=Callable[[Context], object])
Authenticate = TypeVar("Authenticate", bound=Callable[[Mapping[str, Any]], object])
_log = logging.getLogger("rtbridge")


class Bridge(People, Sourcing):
    """Channels, calls and the bus behind them; one for an application.

    Args:
        url: the bus. `memory://` (the default) lives in one process. None reads `RTBRIDGE_URL`.
        secret: what tokens are signed with; a list means rotation (the first signs, all are accepted). None
            takes `RTBRIDGE_SECRET`, then Django's or Flask's `SECRET_KEY`; with `memory://` and none of
            these, one is made at start.
        authenticate: `authenticate(environ) -> user or None`; None takes the framework's own users. Also a
            decorator, see `authenticate`.
        credentials: names of other headers that `authenticate` goes by, such as `X-User` from a proxy in front. A
            token is bound to what they said, as it is to cookies and `Authorization`.
        allowed_origins: other sites that may connect, such as `https://app.example.com` or
            `https://*.example.com`.
        proxies: how many trusted proxies set `X-Forwarded-Host` before us.
        transports: what may be offered at all.
        limits: every bound, see `Limits`.
        lock_file: where a process notes that it serves a `memory://` bridge, in a directory that exists; None
            takes one in the system's temporary directory, named after the file that makes the bridge.

    Raises:
        ConfigError: the URL names no bus that is installed, or an argument cannot work.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        secret: str | Sequence[str] | None = None,
        authenticate: Callable[[Mapping[str, Any]], object] | None = None,
        credentials: Sequence[str] = (),
        allowed_origins: Sequence[str] = (),
        proxies: int = 0,
        transports: Sequence[str] = TRANSPORTS,
        limits: Limits | None = None,
        lock_file: str | os.PathLike[str] | None = None,
    ) -> None:
        Sourcing.__init__(self)
        url = url or os.environ.get("RTBRIDGE_URL") or "memory://"
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self.registry = Registry()
        self.origins = OriginRules(allowed_origins, proxies)
        self.transports = _known_transports(transports)
        self._bus = _make_bus(url, self.limits)
        self.url = self._bus.url  # without its password
        self._publishing = Publishing(self._bus, self.limits, self.metrics)
        self._secret = [secret] if isinstance(secret, str) else list(secret or ())
        self._authenticate = authenticate
        self._credentials = tuple(credentials)
        self._framework: Framework | None = None
        self._started: list[Callable[[Context], object]] = []
        self._ended: list[Callable[[Context], object]] = []
        self._services: Services | None = None
        self._services_pid = 0
        self._lock = native_lock()
        self._made_secret = secrets.token_urlsafe(32)
        self._lock_file = None if lock_file is None else Path(lock_file).absolute()
        self._lock_key = os.path.abspath(sys._getframe(1).f_globals.get("__file__", os.getcwd()))
        self._guard_made: ServingGuard | None = None
        self._warned_elsewhere = False
        self._warned_not_serving = False
        if not isinstance(self.limits, Limits):
            raise ConfigError(f"limits must be Limits(...), not {type(limits).__name__}")
        if secret is not None and not (self._secret and all(self._secret)):
            raise ConfigError(
                "secret is empty; leave it out to take the framework's, or give a long random text"
            )

    # -- declarations -------------------------------------------------------------------------------------

    def channel(
        self,
        pattern: str,
        type_: Any = Any,
        *,
        keep: Any = None,
        public: bool = False,
        transport: str | None = None,
        every: float | None = None,
        presence: bool = False,
    ) -> Channel:
        """Declare a channel, or a family of them with parameters: `groups/{group_id:int}/photos`.

        Without `public=True` it is closed until an `authorize` function is declared for it.

        Args:
            pattern: the name; parameters are `{name}` or `{name:int}`, a whole segment each.
            type_: what is published in it: a dataclass, a TypedDict, any annotated plain type.
            keep: `History(size, ttl)` (the default), `"latest"` or `"volatile"`.
            public: everyone may read it, and proxies may cache it.
            transport: the highest transport it may be followed on; None for any.
            every: seconds between polls of a `shortpoll` channel.
            presence: who follows it may be followed, too; see `Channel.presence_info` and `OneChannel.presence`.

        Raises:
            DeclarationError: the pattern is no pattern or overlaps another one, or the options do not go
                together.
        """
        declared = Channel(
            self,
            pattern,
            type_,
            keep=keep,
            public=public,
            transport=transport,
            every=every,
            presence=presence,
            limits=self.limits,
        )
        self.registry.add_channel(declared)
        if presence:
            self.registry.add_channel(PresenceChannel(declared, presence_keep(), self.presence_snapshot))
        return declared

    def call(
        self, name: str, *, idempotent: bool = False
    ) -> Callable[[Callable[P, R]], CallDeclaration[P, R]]:
        """Declare a call that clients may make: `@rt.call("photos.comment")` over `def comment(ctx, photo_id:
        int, …)`.

        A call runs at most once for its call id, unless it is `idempotent`: then a retry simply runs it
        again.

        Raises:
            DeclarationError: the name is taken or the signature cannot be a declaration.
        """

        if not isinstance(name, str):
            raise DeclarationError("a call needs a name: @rt.call('photos.comment')")

        def declare(function: Callable[P, R]) -> CallDeclaration[P, R]:
            declared = CallDeclaration(name, function, idempotent=idempotent)
            self.registry.add_call(declared)
            return declared

        return declare

    def authenticate(self, function: Authenticate) -> Authenticate:
        """Declare who is asking: `function(environ)` returns the user, or None. Run when a session starts and
        when its token is
        renewed, not on every poll. A decorator."""
        self._authenticate = function
        return function

    def session_started(self, function: Hook) -> Hook:
        """Declare what happens when a session starts: `function(ctx)`, at least once for each. A decorator."""
        self._started.append(function)
        return function

    def session_ended(self, function: Hook) -> Hook:
        """Declare what happens when a session has ended, because it said so or was not heard of for
        `limits.session_grace`
        seconds: `function(ctx)`, at least once for each, in any process. A decorator."""
        self._ended.append(function)
        return function

    # -- publishing ---------------------------------------------------------------------------------------

    def publish(self, channel: str, value: object, *, key: str | None = None) -> Published:
        """Publish by name: `rt.publish("groups/7/photos", photo)`. Most code holds the channel:
        `OneChannel.publish`.

        Raises:
            DeclarationError: no such channel was declared.
            DataError: the value does not fit.
            BusUnavailable: the bus is out of reach.
        """
        found = self.registry.channel_for(channel)
        if found is None:
            raise DeclarationError(f"no channel is declared for {channel!r}")
        return self.publish_to(found[0], channel, value, key)

    def publish_to(
        self, declaration: ChannelDeclaration, channel: str, value: object, key: str | None
    ) -> Published:
        """Publish to a channel of a declaration; what `OneChannel.publish` calls."""
        self._warn_if_served_elsewhere()
        return self._publishing.one(self.framework.after_commit, declaration, channel, value, key)

    def publish_many_to(
        self, declaration: ChannelDeclaration, channel: str, values: Sequence[object], keys: Sequence[str] | None
    ) -> list[Published]:
        """Publish several values to a channel of a declaration; what `OneChannel.publish_many` calls."""
        self._warn_if_served_elsewhere()
        return self._publishing.many(self.framework.after_commit, declaration, channel, values, keys)

    def position(self, name: str) -> Position:
        """The present position of a channel by name.

        Raises:
            DeclarationError: no such channel was declared.
            BusUnavailable: the bus is out of reach.
        """
        if self.registry.channel_for(name) is None:
            raise DeclarationError(f"no channel is declared for {name!r}")
        return self._bus.position(name)

    @property
    def bus(self) -> Bus:
        """What is behind it all."""
        return self._bus

    @property
    def _guard(self) -> ServingGuard:
        if self._guard_made is None:
            self._guard_made = ServingGuard(self._lock_file or lock_path(self._lock_key))
        return self._guard_made

    def _warn_if_served_elsewhere(self) -> None:
        """memory:// lives in one process: what is published in another reaches nobody, and that must be heard."""
        if self._bus.blocking or self._warned_elsewhere or self.serving is not None:
            return
        holder = self._guard.holder()
        if holder is not None and holder != os.getpid():
            self._warned_elsewhere = True
            _log.error(
                "published to %s in process %d, but clients are served by process %d: they will not see it. "
                "memory:// is for one process that serves and publishes",
                self.url, os.getpid(), holder,
            )  # fmt: skip

    # -- serving ------------------------------------------------------------------------------------------

    @property
    def shared(self) -> bool:
        """Whether other processes reach the same channels: not with `memory://`, which lives in one."""
        return self._bus.blocking

    def attach(self, app: object) -> None:
        """The WSGI application around us, through which its framework is found. A framework that was found
        stays where another application has none."""
        found = find_framework(app)
        if self._framework is None or found.name != "plain":
            self._framework = found
            if callable(app):
                self._app = app

    @property
    def framework(self) -> Framework:
        """What the site around us gives: secret, users, and a context for the application's code."""
        if self._framework is None:
            self._framework = find_framework(None)
        return self._framework

    def why_not_serving(self) -> str | None:
        """None if this process may serve; else the sentence that says why not and what to do."""
        if self._bus.blocking or self._guard.claim():
            return None
        why = (
            "this bridge keeps its channels in memory and is already served by process "
            f"{self._guard.holder()}; process {os.getpid()} would be a world of its own. Serve the site from one "
            "process (one worker, with threads or gevent), or give each of several servers a lock_file of its own"
        )
        if not self._warned_not_serving:
            self._warned_not_serving = True
            _log.error("clients are refused here: %s", why)
        return why

    def services(self) -> Services:
        """The machinery of this process, made at the first request. Call it from a thread or greenlet that serves."""
        services = self._services
        if services is not None and self._services_pid == os.getpid():
            return services
        with self._lock:
            if self._services is None or self._services_pid != os.getpid():
                self._services = self._make_services()
                self._services_pid = os.getpid()
            return self._services

    @property
    def serving(self) -> Services | None:
        """The machinery of this process, if it serves."""
        return self._services if self._services_pid == os.getpid() else None

    def token_for(
        self,
        request: object = None,
        *,
        user: object = ASK,
        channels: Iterable[str | OneChannel] = (),
        previous: str | None = None,
    ) -> str:
        """A token for the site's page to give to its client, `connect({token})`, where the realtime endpoint is
        served apart. It stands in for authenticate for `limits.token_ttl` seconds; then the client fetches another.

        Args:
            request: Django's or Flask's, or a WSGI environ. The token is worth nothing without the same
                credentials (session cookie, `Authorization`). None binds it to none: whoever has it is this user.
            user: None for somebody unknown; by default whom authenticate finds in the request.
            channels: what the user may follow, without a question to authorize. You have asked already.
            previous: the client's present token (its header `Rtbridge-Token`), so that its session goes on.

        Raises:
            ConfigError: neither a request nor a user was given, or no secret.
            DeclarationError: one of the channels was not declared.
        """
        return hand_out(self._make_access(), self.registry, request, user, channels, previous)

    def drain(self, window: float | None = None) -> None:
        """Tell every socket and stream of this process to come back, spread over `window` seconds, and answer
        what is parked; for a server that stops. From any thread; does not wait.

        Args:
            window: None for `limits.drain_window`.
        """
        services = self.serving
        if services is None:
            return
        most = self.limits.drain_window if window is None else window

        def tell() -> None:
            for session in list(services.newest.values()):
                session.disconnect(
                    DisconnectCode.SHUTDOWN, "the server is going away", random.uniform(0.0, most)
                )
            for poll in list(services.parked):
                poll.hurry()

        services.loop.call_soon(tell)

    def drain_on_sigterm(self) -> None:
        """Have SIGTERM drain first, then do what it did before. For servers that wait for their requests to
        end and do not tell us that they stop; call it in the main thread of each worker, with gunicorn in its
        configuration file: `def post_worker_init(worker): rt.drain_on_sigterm()`.
        """
        before = signal.getsignal(signal.SIGTERM)

        def stopping(number: int, frame: FrameType | None) -> None:
            self.drain()
            if callable(before):
                before(number, frame)
            elif before == signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        signal.signal(signal.SIGTERM, stopping)

    def _make_services(self) -> Services:
        loop = watched(choose_loop(), self.metrics, self.limits.loop_lag)
        fanout = Fanout(self._bus, loop, self.limits, self.metrics)
        self._bus.listen(fanout)
        access = self._make_access()
        hooks = SessionHooks(self._bus, loop, self.limits, lambda: self.framework)
        hooks.started, hooks.ended = self._started, self._ended
        calls = CallRunner(self._bus, loop, self.limits, self.metrics)
        self.run_sources(self.registry, self._bus, fanout, loop, self.limits, self.metrics)
        return Services(
            self.registry, access, self._bus, fanout, loop, calls, hooks, self.limits, self.metrics
        )

    def _make_access(self) -> Access:
        tokens = Tokens(self._secrets(), self.limits.token_ttl, time.time)
        return Access(self.framework, self._authenticate, tokens, self.limits, time.time, self._credentials)

    def _secrets(self) -> list[str]:
        from_environment = os.environ.get("RTBRIDGE_SECRET")
        if self._secret:
            return self._secret
        if from_environment:
            return [from_environment]
        secret = self.framework.secret()
        if not secret and self._bus.blocking:
            raise ConfigError(
                f"no secret to sign tokens with, which every process on {self._bus.url} must share: give "
                "Bridge(secret=…), RTBRIDGE_SECRET, or the site's SECRET_KEY"
            )
        return secret or [self._made_secret]


def _make_bus(url: str, limits: Limits) -> Bus:
    if url in ("memory://", "memory:"):
        return MemoryBus(limits)
    try:
        from rtbridge.bus.redis import RedisBus
    except ImportError:
        raise ConfigError(
            f"a bus at {url.split(':')[0]}:// needs more: pip install 'rtbridge[redis]'"
        ) from None
    return RedisBus(url, limits)


def _known_transports(transports: Sequence[str]) -> frozenset[str]:
    unknown = set(transports) - set(TRANSPORTS)
    if unknown or not transports:
        raise ConfigError(f"transports must be some of {', '.join(TRANSPORTS)}, not {sorted(unknown)}")
    # A client that can do nothing else polls.
    return frozenset(transports) | {"shortpoll"}
