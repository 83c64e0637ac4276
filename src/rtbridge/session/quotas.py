"""How much of what one client, one user and one address may do, so that none of them can take it from the others.

Rates are token buckets: a bucket fills at its rate and holds `limits.rate_burst` seconds' worth, so that a page that
begins with forty subscriptions is none the slower. All of it is counted in this process only: with `n` workers who
spreads over them all gets `n` times as much. That needs no bus, and costs a few dictionary look-ups for each call or
new subscription; deliveries, repeated subscriptions of polls and idle connections are not counted at all.

Bytes are charged when they have arrived, and may run into debt; who is in debt may not call or subscribe until it is
paid. A limit of 0 is no limit.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtbridge.config import Limits
from rtbridge.errors import ProtocolError
from rtbridge.metrics import Metrics
from rtbridge.protocol.codes import ErrorCode

if TYPE_CHECKING:
    from rtbridge.session.session import Session

_log = logging.getLogger("rtbridge")
_PAUSE = 5.0  # seconds to stay away from a limit that is no rate
_SCOPES = ("session", "user", "address")
_ONE = 0.999  # of a token: times are sums of many small parts
_Keys = tuple[str, str, str]
"""Who is charged, by scope; "" where nobody is known."""


class Rate:
    """The buckets of one limit, by whom they are of. `scope`: which of the keys that is.

    A bucket is the time at which it will be full again, which says how much is in it now. One that is full is as good
    as none and is forgotten soon: so those who do little, and that is nearly everybody, take no memory.
    """

    __slots__ = ("_burst", "_full_at", "_most", "limit", "rate", "scope")

    def __init__(self, limits: Limits, scope: int, kind: str) -> None:
        self.scope = scope
        self.limit = f"{_SCOPES[scope]}_{kind}"
        self.rate: float = getattr(limits, self.limit)
        self._burst = limits.rate_burst
        self._most = limits.rate_entries
        self._full_at: OrderedDict[str, float] = OrderedDict()  # longest unused first

    def __len__(self) -> int:
        return len(self._full_at)

    def tokens(self, key: str, now: float) -> float:
        """How many there are; less than none is a debt."""
        return (self._burst - max(0.0, self._full_at.get(key, now) - now)) * self.rate

    def take(self, key: str, tokens: float, now: float) -> None:
        """Take some, whether they are there or not."""
        buckets = self._full_at
        full_at = buckets.get(key, now)
        buckets[key] = (full_at if full_at > now else now) + tokens / self.rate
        buckets.move_to_end(key)
        for _ in range(2):  # more than came
            oldest = next(iter(buckets.values()), math.inf)
            if oldest > now and len(buckets) <= self._most:
                return
            buckets.popitem(last=False)


class Quotas:
    """The buckets and counts of a process. In the turn only.

    Counts `quota_refusals`.

    Args:
        now: seconds, for the buckets.
    """

    def __init__(self, limits: Limits, metrics: Metrics, now: Callable[[], float]) -> None:
        self._limits = limits
        self._metrics = metrics
        self._now = now
        self._calls = _rates(limits, "calls")
        self._subscribes = _rates(limits, "subscribes")
        self._bytes = _rates(limits, "bytes")
        self._channels: tuple[dict[str, int], ...] = ({}, {}, {})  # by scope
        self._most_channels = (0, limits.user_channels, limits.address_channels)
        self._told = False

    # -- what costs something ------------------------------------------------------------------------------

    def call(self, session: Session) -> None:
        """A call is to be made. Raises ProtocolError TOO_MANY."""
        self._admit(self._calls, _keys(session))

    def subscribe(self, session: Session) -> None:
        """A channel is to be followed anew. Raises ProtocolError TOO_MANY."""
        keys = _keys(session)
        self._admit(self._subscribes, keys)
        for scope, most in enumerate(self._most_channels):
            if 0 < most <= self._channels[scope].get(keys[scope], 0):
                self._refuse(f"{_SCOPES[scope]}_channels", most, _PAUSE)

    def ask(self, user_id: str | None, address: str) -> None:
        """A channel is asked for by GET, and authorize must run. Raises ProtocolError TOO_MANY."""
        self._admit(self._subscribes, ("", user_id or "", address))

    def received(self, session: Session, size: int) -> None:
        """Bytes have come on a connection."""
        self._charge(_keys(session), size)

    def posted(self, address: str, size: int) -> None:
        """A body has come. Raises ProtocolError TOO_MANY where the address was in debt before."""
        if address:
            keys = ("", "", address)
            self._check_debt(keys, self._now())
            self._charge(keys, size)

    def greeted(self, session: Session, size: int) -> None:
        """Now it is known whose body that was."""
        client_id, user_id, _ = _keys(session)
        self._charge((client_id, user_id, ""), size)

    # -- what is held -------------------------------------------------------------------------------------

    def followed(self, session: Session) -> None:
        """A connection follows one more channel."""
        _, user, address = _keys(session)
        _, by_user, by_address = self._channels
        if user:
            by_user[user] = by_user.get(user, 0) + 1
        if address:
            by_address[address] = by_address.get(address, 0) + 1

    def left(self, session: Session) -> None:
        """A connection follows one channel less."""
        _, user, address = _keys(session)
        _, by_user, by_address = self._channels
        if user:
            _less(by_user, user)
        if address:
            _less(by_address, address)

    # -- buckets ------------------------------------------------------------------------------------------

    def _admit(self, rates: tuple[Rate, ...], keys: _Keys) -> None:
        now = self._now()
        taken: list[tuple[Rate, str]] = []
        for rate in rates:
            key = keys[rate.scope]
            if key:
                tokens = rate.tokens(key, now)
                if tokens < _ONE:
                    self._refuse(rate.limit, rate.rate, (1.0 - tokens) / rate.rate)
                taken.append((rate, key))
        self._check_debt(keys, now)
        for rate, key in taken:
            rate.take(key, 1.0, now)

    def _check_debt(self, keys: _Keys, now: float) -> None:
        """Refuse who has sent more than is paid for."""
        for rate in self._bytes:
            key = keys[rate.scope]
            if key:
                tokens = rate.tokens(key, now)
                if tokens < 0:
                    self._refuse(rate.limit, rate.rate, -tokens / rate.rate)

    def _charge(self, keys: _Keys, size: int) -> None:
        now = self._now()
        for rate in self._bytes:
            key = keys[rate.scope]
            if key:
                rate.take(key, size, now)

    def _refuse(self, limit: str, value: float, wait: float) -> None:
        self._metrics.add("quota_refusals")
        if limit.startswith("address") and not self._told:
            self._told = True
            _log.warning(
                "a client was refused by limits.%s. If its address is your proxy's, say Bridge(proxies=1)",
                limit,
            )
        raise ProtocolError(
            ErrorCode.TOO_MANY,
            f"over limits.{limit} = {value:g}; come again",
            retry_after=max(0.1, round(wait, 1)),
        )


def _rates(limits: Limits, kind: str) -> tuple[Rate, ...]:
    rates = (Rate(limits, scope, kind) for scope in range(len(_SCOPES)))
    return tuple(rate for rate in rates if rate.rate > 0)


def _less(counts: dict[str, int], key: str) -> None:
    count = counts.get(key, 0) - 1
    if count > 0:
        counts[key] = count
    else:
        counts.pop(key, None)


def _keys(session: Session) -> _Keys:
    identity = session.identity
    if identity is None:
        return "", "", session.address
    return identity.client_id, identity.user_id or "", session.address
