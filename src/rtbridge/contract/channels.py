"""Channel declarations: what a channel is called, what travels in it, what it keeps, and who may follow it.

One declaration stands for all channels of its pattern. A channel is closed until its author opens it, either
with `public=True` or with an authorize function.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, overload

from rtbridge.bus.contract import LATEST, VOLATILE, History, Keep
from rtbridge.config import Limits
from rtbridge.contract.context import Context
from rtbridge.contract.functions import check_plain, only_named, parameters_of
from rtbridge.contract.patterns import Pattern
from rtbridge.contract.presence import PresenceOf
from rtbridge.contract.snapshots import SnapshotDeclaration
from rtbridge.contract.types import Schema
from rtbridge.errors import DeclarationError

TRANSPORTS = ("shortpoll", "longpoll", "eventstream", "websocket")
"""Every transport, the humblest first."""

Hook = TypeVar("Hook", bound=Callable[..., Any])
_log = logging.getLogger("rtbridge")


class ChannelDeclaration:
    """A declared channel, or family of channels.

    Attributes:
        presence_told: what is told of who follows it; None where nobody is.
        of_people: whether it has presence, or is the presence of another channel.

    Args:
        pattern: the name, with parameters such as `groups/{group_id:int}/photos`.
        type_: what is published in it: any type that pydantic understands.
        keep: `History(size, ttl)`, "latest" or "volatile"; None stands for `History()`.
        public: anyone may follow it, and its GET answers may be cached by proxies.
        transport: the highest transport it may be followed on, or None for any.
        every: seconds between two polls where `transport` is "shortpoll", None for `limits.poll_interval`.
        presence: who follows it is told to whoever asks.
        limits: the bridge's limits.

    Raises:
        DeclarationError: these do not go together.
    """

    def __init__(
        self,
        pattern: str,
        type_: Any = Any,
        *,
        keep: Keep | Literal["latest", "volatile"] | None = None,
        public: bool = False,
        transport: str | None = None,
        every: float | None = None,
        presence: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.pattern = Pattern(pattern)
        self.what = f"channel {pattern!r}"
        self.schema = Schema(type_, f"data of {self.what}")
        self.keep = _keep(keep, self.what)
        self.public = public
        self.transport = transport
        self.every = float((limits or Limits()).poll_interval if every is None else every)
        self.snapshot_taken: SnapshotDeclaration | None = None
        self.presence_told = PresenceOf(self.what) if presence else None
        self.of_people = presence
        if presence and transport == "shortpoll":
            raise DeclarationError(
                f"{self.what}: who only fetches it by short polls is not present; drop presence or transport"
            )
        self._authorize: Callable[..., object] | None = None
        self._warned = False
        self._check_transport(every is not None)

    def __repr__(self) -> str:
        return f"<{self.what}>"

    def authorize(self, function: Hook) -> Hook:
        """A decorator for who may follow: `function(ctx, **params)` returns whether, or raises `Refused`.

        Raises:
            DeclarationError: the channel is public or has one already, or the parameters are not the
                pattern's.
        """
        if self.public:
            raise DeclarationError(
                f"{self.what} is public, so authorize would never run; drop one of the two"
            )
        if self._authorize is not None:
            raise DeclarationError(f"{self.what} has an authorize function already")
        self._check_hook(function, f"authorize of {self.what}")
        self._authorize = function
        return function

    @overload
    def snapshot(self, function: Hook) -> Hook: ...

    @overload
    def snapshot(self, *, per_user: bool = False) -> Callable[[Hook], Hook]: ...

    def snapshot(
        self, function: Hook | None = None, *, per_user: bool = False
    ) -> Hook | Callable[[Hook], Hook]:
        """A decorator for the channel's state: `function(ctx, **params)` returns it as of now.

        Clients that ask for snapshots get it at first and in place of each gap. It is called after a position of
        the channel was read, and publications after that position follow it: so publish *after* the state has
        changed, and let a publication do no harm that the state has in it already.

        Args:
            per_user: call it for each user with a `ctx` that knows the user. Otherwise one snapshot serves
                everybody who may follow the channel.

        Raises:
            DeclarationError: the channel has one already, or is public and wants one for each user, or the
                parameters are not the pattern's.
        """
        if function is None:
            return lambda given: self._declare_snapshot(given, per_user)
        return self._declare_snapshot(function, per_user)

    def _declare_snapshot(self, function: Hook, per_user: bool) -> Hook:
        what = f"snapshot of {self.what}"
        if self.snapshot_taken is not None:
            raise DeclarationError(f"{self.what} has a snapshot function already")
        if per_user and self.public:
            raise DeclarationError(f"{self.what} is public, so its snapshot is the same for every user")
        self._check_hook(function, what)
        self.snapshot_taken = SnapshotDeclaration(what, function, per_user=per_user)
        return function

    def presence_info(self, function: Hook) -> Hook:
        """A decorator for what is told of who is present: `function(ctx, **params)` returns a dict, such as a name and
        a picture. Called once for each client that comes.

        Raises:
            DeclarationError: the channel has no presence, or such a function already, or the parameters are not the
                pattern's.
        """
        what = f"presence_info of {self.what}"
        if self.presence_told is None:
            raise DeclarationError(f"{what}: declare the channel with presence=True")
        if self.presence_told.info is not None:
            raise DeclarationError(f"{self.what} has a presence_info function already")
        self._check_hook(function, what)
        self.presence_told.declare(function)
        return function

    def may_follow(self, ctx: Context, params: Mapping[str, object]) -> bool:
        """Whether `ctx` may follow the channel with `params`. Runs the author's code, so may raise anything.

        A channel that nobody opened is for no client. The log says so once, because it is most likely an
        oversight.
        """
        if self.public:
            return True
        if self._authorize is None:
            self._warn_closed()
            return False
        return bool(self._authorize(ctx, **params))

    def allows(self, transport: str) -> bool:
        """Whether it may be followed on this transport: not above the one where its author stopped it."""
        ceiling = self.transport
        return ceiling is None or TRANSPORTS.index(transport) <= TRANSPORTS.index(ceiling)

    def _check_transport(self, every_given: bool) -> None:
        if self.transport is not None and self.transport not in TRANSPORTS:
            raise DeclarationError(f"{self.what}: transport must be one of {', '.join(TRANSPORTS)}")
        if not (math.isfinite(self.every) and self.every > 0):
            raise DeclarationError(f"{self.what}: every is a number of seconds above 0, not {self.every!r}")
        if every_given and self.transport != "shortpoll":
            raise DeclarationError(f'{self.what}: every belongs to transport="shortpoll"')
        if self.transport == "shortpoll" and self.keep.kind == "volatile":
            raise DeclarationError(
                f"{self.what}: a volatile channel only reaches who is waiting, and a short poll never waits;"
                ' choose keep="latest" or another transport'
            )

    def _check_hook(self, function: Callable[..., Any], what: str) -> None:
        check_plain(function, what)
        parameters, _ = parameters_of(function, what)
        named = [each for each in parameters if each.kind is not each.VAR_KEYWORD]
        only_named(named, what)
        wanted, taken = set(self.pattern.names), {each.name for each in named}
        required = {each.name for each in named if each.default is each.empty}
        if required <= wanted and (wanted <= taken or len(named) < len(parameters)):
            return
        expected = ", ".join(("ctx", *self.pattern.names))
        raise DeclarationError(f"{what}: it is called with ({expected}), so its parameters must be these")

    def _warn_closed(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "%s has neither an authorize function nor public=True, so it does not exist for clients;"
                " declare one with @channel.authorize, or public=True if everyone may read it",
                self.what,
            )


def _keep(keep: object, what: str) -> Keep:
    if keep is None:
        return History()
    if keep == "latest":
        return LATEST
    if keep == "volatile":
        return VOLATILE
    if isinstance(keep, Keep):
        return keep
    raise DeclarationError(f'{what}: keep must be History(size, ttl), "latest" or "volatile", not {keep!r}')
