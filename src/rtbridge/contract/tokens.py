"""Tokens: what a session was granted, signed, and kept by the client so that no server has to keep it.

A token is proof of what we once found out, nothing more: whoever reads one compares its fingerprint with the
credentials of the request and its times with the clock. Anything that we did not sign, whatever it is, simply
proves nothing.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rtbridge.config import Limits
from rtbridge.contract.grants import NONE, Grants
from rtbridge.contract.signing import Signed
from rtbridge.errors import ConfigError

_SALT = "rtbridge.token.1"
_PROVED = 4_096  # tokens whose signature is remembered


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. All times are unix seconds.

    Attributes:
        client_id: the session.
        user_id: its user, None for somebody unknown.
        fingerprint: digest of the credentials it was issued for.
        issued: when.
        expires: until when it stands in for authenticate.
        channels: channel -> until when it stands in for authorize there.
    """

    client_id: str
    user_id: str | None
    fingerprint: str
    issued: float
    expires: float
    channels: Mapping[str, float] = NONE


class Tokens:
    """Signs and reads tokens.

    Args:
        secrets: the first signs, all are accepted: to rotate, put the new one in front.
        ttl: most seconds that a token or grant may live.
        clock: the wall clock, unix seconds.
        max_token: longest token read, in bytes; None for the default of `limits.max_token`.

    Raises:
        ConfigError: no secret, or an empty one.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        ttl: float,
        clock: Callable[[], float],
        max_token: int | None = None,
    ) -> None:
        if isinstance(secrets, str) or not secrets or not all(secrets):
            raise ConfigError("tokens need a list of secrets, none of them empty: pass Bridge(secret=…)")
        self._ttl = ttl
        self._clock = clock
        self._max_token = Limits().max_token if max_token is None else max_token
        self._proved: dict[bytes, Claims] = {}
        self._signed = Signed(secrets, _SALT)

    def issue(self, claims: Claims) -> str:
        """A token: ASCII, fit for a header. Times are kept to the millisecond."""
        grants = {channel: _milliseconds(expiry) for channel, expiry in claims.channels.items()}
        times = [_milliseconds(claims.issued), _milliseconds(claims.expires)]
        return self._signed.dumps([claims.client_id, claims.user_id, claims.fingerprint, *times, grants])

    def read(self, token: str) -> Claims | None:
        """What a token of ours says, also when it has expired; None for anything else, whatever it is.

        Nothing it says reaches further than `ttl` from its issue, so that a shorter `ttl` holds for older
        tokens too, and a token from a clock that is more than `ttl` ahead of ours counts as not ours.
        """
        if not isinstance(token, str) or len(token) > self._max_token or not token.isascii():
            return None
        # A client that polls sends the same token each time; its signature is good once and for all.
        name = hashlib.blake2b(token.encode(), digest_size=20).digest()
        claims = self._proved.get(name)
        if claims is None:
            claims = self._prove(token)
            if claims is not None:
                if len(self._proved) >= _PROVED:
                    self._proved.clear()
                self._proved[name] = claims
        if claims is None or claims.issued > self._clock() + self._ttl:
            return None
        return claims

    def _prove(self, token: str) -> Claims | None:
        try:
            payload = self._signed.loads(token)
        except (ValueError, zlib.error, RecursionError):
            return None
        return _claims(payload, self._ttl)


def _claims(payload: object, ttl: float) -> Claims | None:
    """The claims in a payload. It was signed with our secret, but perhaps by a version that knew another form."""
    if not isinstance(payload, list) or len(payload) != 6:
        return None
    client_id, user_id, fingerprint, issued, expires, grants = payload
    if not isinstance(client_id, str) or not (user_id is None or isinstance(user_id, str)):
        return None
    if not isinstance(fingerprint, str) or not isinstance(issued, int) or not isinstance(expires, int):
        return None
    if not isinstance(grants, dict):
        return None
    latest = issued + math.ceil(ttl * 1000)
    if not all(isinstance(expiry, int) for expiry in grants.values()):
        return None
    channels = Grants(
        (channel, (expiry if expiry < latest else latest) / 1000) for channel, expiry in grants.items()
    )
    return Claims(client_id, user_id, fingerprint, issued / 1000, min(expires, latest) / 1000, channels)


def _milliseconds(seconds: float) -> int:
    return math.floor(seconds * 1000)
