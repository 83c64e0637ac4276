"""Who is asking, and what they may follow.

Everything here may run the application's own code (authenticate, authorize) and so runs *outside* the turn,
on the carrier; only `recall` and the dictionary look-ups of `Identity` are for the turn. An authorisation is
remembered in the identity as a grant (channel -> expiry), and the identity travels as one signed token that
the client sends back: later polls and reconnects touch no database while it lives.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rtbridge.config import Limits
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.context import Context
from rtbridge.contract.grants import NONE, Grants
from rtbridge.contract.tokens import Claims, Tokens
from rtbridge.errors import BusError, ProtocolError, Refused
from rtbridge.frameworks import Framework
from rtbridge.protocol.codes import ErrorCode
from rtbridge.session.addresses import new_client_id
from rtbridge.session.members import Members

if TYPE_CHECKING:
    from rtbridge.session.revocation import Revocations

Environ = Mapping[str, Any]
_NOT_LOADED = object()
_SITE = "site:"
"""Before the fingerprint of a token that the site itself handed out; alone, where it is bound to no credentials."""
_SHARED = 256  # fingerprints that are remembered
_log = logging.getLogger("rtbridge")


class Identity:
    """A session's identity on one connection: who, until when that is known, and what was granted.

    Attributes:
        expires: unix time until which this stands in for authenticate.
        changed: whether the client must be given a new token.
    """

    __slots__ = ("_grants", "changed", "client_id", "expires", "fingerprint", "user", "user_id")

    def __init__(
        self,
        client_id: str,
        user_id: str | None,
        fingerprint: str,
        expires: float,
        grants: Grants = NONE,
    ) -> None:
        self.client_id = client_id
        self.user_id = user_id
        self.fingerprint = fingerprint
        self.expires = expires
        self.user: object = _NOT_LOADED
        self.changed = False
        self._grants = grants

    @property
    def by_site(self) -> bool:
        """Whether it is the site that says who this is: then nobody else can renew it."""
        return self.fingerprint.startswith(_SITE)

    def grant(self, channel: str, until: float) -> None:
        """Let authorize not run again before `until`, unix seconds."""
        self._grants = self._grants.plus(channel, until)

    def revoke(self, channel: str) -> None:
        """Have authorize run again."""
        self._grants = self._grants.minus(channel)

    def granted_until(self, channel: str) -> float:
        """Until when the channel is granted, unix seconds; 0.0 if it never was."""
        return self._grants.until(channel)

    def grants(self) -> Grants:
        """Each channel that was granted, and until when."""
        return self._grants

    def may_follow(self, channel: str, now: float) -> bool:
        return self.granted_until(channel) > now


class Access:
    """Authenticates, authorises and signs; one per bridge.

    Args:
        framework: what the site around us is.
        authenticate: the application's `authenticate(environ) -> user or None`, or None for the framework's
            own.
        tokens: signs and reads tokens.
        wall: the wall clock, unix seconds.
        credentials: names of headers that prove who somebody is, besides what the framework knows of.
    """

    def __init__(
        self,
        framework: Framework,
        authenticate: Callable[[Environ], object] | None,
        tokens: Tokens,
        limits: Limits,
        wall: Callable[[], float],
        credentials: Sequence[str] = (),
    ) -> None:
        self._credentials = ["HTTP_" + name.upper().replace("-", "_") for name in credentials]
        self.framework = framework
        self.tokens = tokens
        self.limits = limits
        self.wall = wall
        self.members: Members | None = None
        """Who was put into a channel by the server."""
        self.revocations: Revocations | None = None
        """What was taken back."""
        self._authenticate = authenticate
        self._shared: dict[str, str] = {}

    def fingerprint(self, environ: Environ) -> str:
        """A short digest of the request's credentials; another one means another session."""
        text = self.framework.credentials(environ)
        if self._credentials:
            text = json.dumps([text, *(environ.get(key) for key in self._credentials)])
        digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12)
        return self._share(digest.hexdigest())

    def _share(self, fingerprint: str) -> str:
        """The same text for all with the same credentials, above all for those who have none.

        Interned, everybody's would be there for ever on Python 3.12.
        """
        if len(self._shared) >= _SHARED:
            self._shared.clear()
        return self._shared.setdefault(fingerprint, fingerprint)

    def recall(self, token: str | None, environ: Environ) -> Identity | None:
        """The identity a token proves, or None if authenticate has to run. Touches no database, never blocks."""
        claims = self._claims(token)
        if claims is None or claims.expires <= self.wall() or not self._fits(claims, environ):
            return None
        identity = _identity_of(claims, self._share(claims.fingerprint))
        revocations = self.revocations
        if revocations is None or revocations.has_nothing_to_say():
            return identity
        known = revocations.list
        if not revocations.ready or known.is_stale(claims):
            return None
        for channel, expiry in identity.grants().items():
            if known.is_void(claims, channel, expiry):
                identity.revoke(channel)
        return identity

    def ended(self, token: str | None) -> int | None:
        """The disconnect code of the session of a token, if the application ended it. For the turn."""
        revocations = self.revocations
        claims = None if revocations is None or revocations.has_nothing_to_say() else self._claims(token)
        return None if claims is None or revocations is None else revocations.list.ended(claims)

    def _fits(self, claims: Claims, environ: Environ) -> bool:
        bound_to = claims.fingerprint.removeprefix(_SITE)
        unbound = claims.fingerprint == _SITE
        return unbound or bound_to == self.fingerprint(environ)

    def identify(self, token: str | None, environ: Environ) -> tuple[Identity, bool]:
        """The identity behind a request, and whether it goes on from `token`. Runs authenticate if it must.

        Raises:
            SiteTokenExpired: the token is the site's, and no longer holds: the client has to fetch another.
            ProtocolError: FAILED when authenticate raised.
        """
        known = self.recall(token, environ)
        if known is not None:
            return known, True
        if self._is_by_site(token):
            return self._insist(token, environ), True
        asked = self.wall()
        user, user_id = self._who(environ)
        claims = None if self.ended(token) is not None else self._claims(token)
        fingerprint = self.fingerprint(environ)
        resumed = claims is not None and claims.fingerprint == fingerprint and claims.user_id == user_id
        client_id = claims.client_id if resumed and claims is not None else new_client_id(user_id)
        identity = Identity(client_id, user_id, fingerprint, asked + self.limits.token_ttl)
        identity.user = user
        identity.changed = True
        return identity, resumed

    def _is_by_site(self, token: str | None) -> bool:
        claims = self._claims(token)
        return claims is not None and claims.fingerprint.startswith(_SITE)

    def _insist(self, token: str | None, environ: Environ) -> Identity:
        """Look again when it is known what was taken back. Nobody here may ask in place of the site."""
        if self.revocations is not None:
            self.revocations.check_trusted()
        known = self.recall(token, environ)
        if known is None:
            raise SiteTokenExpired
        return known

    def reidentify(self, identity: Identity, environ: Environ) -> bool:
        """Authenticate a living connection anew; False when it is another user's now, or nobody's, or the site's to
        renew."""
        if self.revocations is not None:
            self.revocations.check_trusted()
        if identity.by_site:
            return False
        asked = self.wall()
        user, user_id = self._who(environ)
        if user_id != identity.user_id:
            return False
        identity.user = user
        identity.expires = asked + self.limits.token_ttl
        identity.changed = True
        return True

    def permit(
        self,
        identity: Identity,
        declaration: ChannelDeclaration,
        channel: str,
        params: Mapping[str, object],
        context: Context,
    ) -> None:
        """Authorise a channel and remember the grant.

        Raises:
            ProtocolError: NO_SUCH_CHANNEL when refused (as if undeclared); FAILED when authorize raised.
        """
        if declaration.public:
            return
        if self.revocations is not None:
            self.revocations.check_trusted()
        asked = self.wall()
        try:
            with self.framework.around(context.environ):
                allowed = declaration.may_follow(context, params)
        except Refused:
            allowed = False
        except Exception:
            _log.exception(
                "authorize of channel %r failed",
                channel,
                extra={"client_id": identity.client_id, "channel": channel},
            )
            raise ProtocolError(
                ErrorCode.FAILED, f"authorising channel {channel!r} failed; try again"
            ) from None
        if not allowed and not self._is_member(identity, channel):
            identity.revoke(channel)
            raise no_such_channel(channel)
        # From when we asked: what was taken back meanwhile is newer than what we found out.
        identity.grant(channel, asked + self.limits.token_ttl)
        identity.changed = True

    def _is_member(self, identity: Identity, channel: str) -> bool:
        if self.members is None:
            return False
        try:
            return self.members.includes(identity.client_id, identity.user_id, channel)
        except BusError as error:
            raise ProtocolError(ErrorCode.UNAVAILABLE, str(error)) from None

    def token_for(self, identity: Identity, max_bytes: int | None = None) -> str:
        """Sign the identity with the grants that still live: the longest-lived, as many as fit into `max_bytes`.

        Args:
            max_bytes: None for `limits.max_token`.
        """
        most = self.limits.max_token if max_bytes is None else max_bytes
        now = self.wall()
        identity.changed = False
        living = {channel: expiry for channel, expiry in identity.grants().items() if expiry > now}
        while True:
            token = self.tokens.issue(
                Claims(
                    identity.client_id, identity.user_id, identity.fingerprint, now, identity.expires, living
                )
            )
            if len(token) <= most or not living:
                return token
            keep = sorted(living.items(), key=lambda item: item[1], reverse=True)[: len(living) // 2]
            living = dict(keep)

    def hand_out(
        self, environ: Environ | None, user_id: str | None, grants: Iterable[str], previous: str | None
    ) -> str:
        """A token of the site's: it stands in for authenticate, and for authorize where channels are granted.

        Args:
            environ: of the request whose credentials the client will send along; None binds it to none.
            grants: channels that it may follow.
            previous: a token of the same client, whose session goes on if user and credentials are the same.
        """
        now = self.wall()
        expires = now + self.limits.token_ttl
        fingerprint = _SITE + ("" if environ is None else self.fingerprint(environ))
        before = self._claims(previous)
        same = before is not None and (before.user_id, before.fingerprint) == (user_id, fingerprint)
        client_id = before.client_id if same and before is not None else new_client_id(user_id)
        granted = Grants((channel, expires) for channel in dict.fromkeys(grants))
        return self.token_for(Identity(client_id, user_id, fingerprint, expires, granted))

    def who(self, environ: Environ) -> str | None:
        """The id of the user behind a request, by authenticate."""
        return self._who(environ)[1]

    def context(
        self, identity: Identity, environ: Environ, transport: str, call_id: str | None = None
    ) -> Context:
        """What the application's functions are given as `ctx`; its user is loaded only if they look at it."""

        def load_user() -> object:
            if identity.user is _NOT_LOADED:
                identity.user, _ = self._who(environ)
            return identity.user

        return Context(
            client_id=identity.client_id,
            user_id=identity.user_id,
            environ=environ,
            call_id=call_id,
            transport=transport,
            load_user=load_user,
        )

    def _claims(self, token: str | None) -> Claims | None:
        if token is None or len(token) > self.limits.max_token:
            return None
        return self.tokens.read(token)

    def _who(self, environ: Environ) -> tuple[object, str | None]:
        try:
            with self.framework.around(environ):
                user = (self._authenticate or self.framework.authenticate)(environ)
                return user, None if user is None else self.framework.user_id(user)
        except Exception:
            _log.exception("authenticate failed")
            raise ProtocolError(ErrorCode.FAILED, "authentication failed with an error; try again") from None


class SiteTokenExpired(ProtocolError):
    """A token that the site handed out no longer holds, by its time or by the request's credentials."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.UNAVAILABLE, "the token that the site handed out no longer holds; fetch another one"
        )


def no_such_channel(channel: str) -> ProtocolError:
    """The one answer for channels that do not exist and for those that are not for this client."""
    return ProtocolError(ErrorCode.NO_SUCH_CHANNEL, f"no such channel: {channel!r}")


def _identity_of(claims: Claims, fingerprint: str) -> Identity:
    grants = claims.channels if isinstance(claims.channels, Grants) else Grants(claims.channels.items())
    return Identity(claims.client_id, claims.user_id, fingerprint, claims.expires, grants)
