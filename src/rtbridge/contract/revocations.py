"""What was taken back: grants and sessions that ended before their tokens do.

A token says what somebody was once found out; a revocation says that what was found out before a moment no longer
counts. It has to be remembered only as long as such a token can live. All times are unix seconds.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rtbridge.contract.tokens import Claims
from rtbridge.protocol.presence import PREFIX

SKEW = 2.0
"""Seconds that the clocks of two machines may differ: what was found out so shortly after is found out once more."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One thing taken back.

    Attributes:
        at: when, by the clock of whoever did.
        user: whose, by user id; None where `client` says it.
        client: whose, by client id.
        channel: where: a channel, or the pattern of a family of them; None for everywhere.
        code: a `DisconnectCode` where the session itself has ended, else None.
    """

    at: float
    user: str | None = None
    client: str | None = None
    channel: str | None = None
    code: int | None = None

    def dump(self) -> bytes:
        """As the bus carries it."""
        return json.dumps([self.at, self.user, self.client, self.channel, self.code]).encode()

    @classmethod
    def load(cls, raw: bytes) -> Revocation:
        """What `dump` made. ValueError for anything else."""
        at, user, client, channel, code = json.loads(raw)
        return cls(float(at), user, client, channel, code)

    def concerns(self, client_id: str, user_id: str | None) -> bool:
        """Whether it is about this session."""
        return self.client == client_id if self.user is None else self.user == user_id


@dataclass(frozen=True, slots=True)
class _Heard:
    revocation: Revocation
    when: float
    number: int


class RevocationList:
    """The revocations that still matter. Looking costs two look-ups, however many there are.

    Args:
        ttl: seconds that a token or grant lives.
        family: the pattern that a channel's name belongs to, None if there is none.
    """

    def __init__(self, ttl: float, family: Callable[[str], str | None]) -> None:
        self._ttl = ttl
        self._family = family
        self._order: deque[_Heard] = deque()
        self._about: dict[tuple[str, str], list[_Heard]] = {}
        self.heard = 0
        """How many were ever heard of: a clock that tells before from after."""
        self.distrusted = 0.0
        """What was found out before counts no longer, whoever it is about: revocations may have been missed."""

    def __len__(self) -> int:
        return len(self._order)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that anybody could be refused for."""
        return not self._order and not self.distrusted

    def add(self, revocation: Revocation, now: float) -> None:
        """Remember one that was heard of just now."""
        self.heard += 1
        heard = _Heard(revocation, now, self.heard)
        self._order.append(heard)
        self._about.setdefault(_key(revocation), []).append(heard)

    def forget_old(self, now: float) -> None:
        """Let go of those that no token outlives."""
        while self._order and max(self._order[0].revocation.at, self._order[0].when) + self._ttl + SKEW < now:
            heard = self._order.popleft()
            others = self._about[_key(heard.revocation)]
            others.remove(heard)
            if not others:
                del self._about[_key(heard.revocation)]
        if self.distrusted + self._ttl < now:
            self.distrusted = 0.0

    def ended(self, claims: Claims) -> int | None:
        """The code with which the session of this token was ended, None if it was not."""
        known_since = claims.expires - self._ttl
        for each in self._concerning(claims.client_id, claims.user_id):
            if each.revocation.code is not None and known_since <= each.revocation.at:
                return each.revocation.code
        return None

    def is_stale(self, claims: Claims) -> bool:
        """Whether a token no longer stands in for authenticate."""
        known_since = claims.expires - self._ttl
        if known_since < self.distrusted:
            return True
        concerning = self._concerning(claims.client_id, claims.user_id)
        return any(
            each.revocation.code is not None and known_since < each.revocation.at + SKEW
            for each in concerning
        )

    def is_void(self, claims: Claims, channel: str, expires: float) -> bool:
        """Whether the grant in a token for `channel` that lives until `expires` no longer stands in for authorize."""
        given = expires - self._ttl
        if given < self.distrusted:
            return True
        concerning = self._concerning(claims.client_id, claims.user_id)
        return any(
            given < each.revocation.at + SKEW and self.covers(each.revocation, channel) for each in concerning
        )

    def heard_since(self, client_id: str, user_id: str | None, channel: str, since: int) -> bool:
        """Whether we heard that access to `channel` ended since `heard` was `since`. Ask it of something that was found
        out meanwhile: it may be from before."""
        if self.heard == since:
            return False
        concerning = self._concerning(client_id, user_id)
        return any(each.number > since and self.covers(each.revocation, channel) for each in concerning)

    def ended_since(self, client_id: str, user_id: str | None, since: int) -> int | None:
        """The code with which a session was ended, if we heard of it since `heard` was `since`."""
        for each in self._concerning(client_id, user_id):
            if each.revocation.code is not None and each.number > since:
                return each.revocation.code
        return None

    def covers(self, revocation: Revocation, channel: str) -> bool:
        """Whether access to this channel, or to the presence of it, was taken back."""
        if revocation.channel is None:
            return True
        channel = channel.removeprefix(PREFIX)
        return revocation.channel == channel or revocation.channel == self._family(channel)

    def _concerning(self, client_id: str, user_id: str | None) -> list[_Heard]:
        if not self._about:
            return []
        found = self._about.get(("client", client_id), [])
        return found if user_id is None else found + self._about.get(("user", user_id), [])


def _key(revocation: Revocation) -> tuple[str, str]:
    if revocation.user is not None:
        return "user", revocation.user
    return "client", revocation.client or ""
