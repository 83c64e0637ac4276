"""Taking back access, on every worker within a second.

Revocations travel in a log of their own, `~control`, which every process follows from its start. So a process that
begins, or was cut off for a while, reads what it missed like any reader that is behind; and where the log no longer
reaches back that far, nothing found out before that is trusted: tokens and living connections are authenticated and
authorised anew.

What is heard is remembered for as long as a token may live (see `RevocationList`), and carried out at once on what is
alive here: sockets, streams, parked polls and readers of one channel.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from rtbridge.bus.contract import History, Keep
from rtbridge.config import Limits
from rtbridge.contract.revocations import SKEW, Revocation, RevocationList
from rtbridge.errors import BusError, ProtocolError
from rtbridge.fanout import Tail
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import DisconnectCode, ErrorCode
from rtbridge.protocol.positions import Position
from rtbridge.protocol.private import RESERVED
from rtbridge.protocol.publications import Gap, Page, Publication
from rtbridge.session.access import Identity

if TYPE_CHECKING:
    from rtbridge.session.services import Services
    from rtbridge.session.session import Session

CONTROL = RESERVED + "control"
"""The channel in which processes tell each other what was taken back."""
_RETRY = 1.0  # seconds
_PATIENCE = 2.0  # seconds to wait for the bus where this process has only just begun
_RENEWED_WITHIN = 10.0  # seconds over which living connections are asked anew when nothing is trusted
_log = logging.getLogger("rtbridge")


def control_keep(limits: Limits) -> Keep:
    """How long a revocation is kept: as long as any token that it may be about."""
    return History(int(limits.revocations), limits.token_ttl + 2 * SKEW)


class LiveRead(Protocol):
    """A reader of one channel without a session: a parked GET, or its stream."""

    @property
    def channel(self) -> str:
        """What it reads."""

    @property
    def identity(self) -> Identity | None:
        """Who reads; None where anybody may."""

    def revoked(self) -> None:
        """Its access has ended. In the turn."""


class Revocations:
    """One for each process. In the turn, but for `trusted`."""

    weight = 1
    """(For the fanout.)"""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._loop = services.loop
        self._limits = services.limits
        self._seen: Position | None = None
        self._reading = False
        self._waiting: list[Callable[[object], object]] = []
        self._most = int(min(services.limits.revocations, services.limits.page_publications))
        self._heard = services.loop.now()
        self.list = RevocationList(services.limits.token_ttl, self._family)
        self.polls: dict[Session, None] = {}
        """Sessions on polls, while these last."""
        self.reads: set[LiveRead] = set()

    def start(self) -> None:
        """Follow what is taken back, from now on and of what still matters. In the turn."""
        self._follow()
        if self._services.bus.blocking:
            self._tick()

    @property
    def trusted(self) -> bool:
        """Whether we would have heard of a revocation: else nothing may be granted or renewed. From any thread."""
        if not self._services.bus.blocking:
            return True
        return self._seen is not None and self._loop.now() - self._heard <= self._limits.cut_off

    def has_nothing_to_say(self) -> bool:
        """Whether everything that a token says still counts."""
        if self._seen is None:
            return False
        known = self.list
        if known.is_empty:
            return True
        known.forget_old(self._services.access.wall())
        return known.is_empty

    @property
    def ready(self) -> bool:
        """Whether what was taken back before this process began is known."""
        return self._seen is not None

    def check_trusted(self) -> None:
        """Wait a moment if this process has only just begun. Blocks; not in the turn.

        Raises:
            ProtocolError: UNAVAILABLE, where this process is cut off from the bus.
        """
        if not self.ready:
            box = self._loop.mailbox()
            with self._loop.turn():
                self._waiting.append(box.put)
            box.get(_PATIENCE)
        if not self.trusted:
            raise ProtocolError(
                ErrorCode.UNAVAILABLE, "this server is cut off from its bus and can grant nothing; try again"
            )

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for put in waiting:
            put(True)

    # -- hearing ------------------------------------------------------------------------------------------

    def _family(self, channel: str) -> str | None:
        found = self._services.registry.channel_for(channel)
        return None if found is None else found[0].pattern.text

    def _ready(self, tail: Tail | BusError) -> None:
        if isinstance(tail, BusError):
            self._wake()
            self._loop.call_later(_RETRY, self._follow)
            return
        self._services.fanout.join(CONTROL, self)
        # All that is kept, and not only what the tail was primed with.
        self._services.fanout.read_bus(CONTROL, None, self._most, self._began)

    def _follow(self) -> None:
        self._services.fanout.when_ready(CONTROL, control_keep(self._limits), self._ready)

    def _began(self, found: Page | Gap | BusError) -> None:
        if not isinstance(found, Page):
            self._wake()
            self._loop.call_later(_RETRY, self._follow)
            return
        for publication in found.publications:
            self._hear(publication)
        if len(found.publications) >= self._most:
            # There may have been others before, which are gone because there are so many.
            self.list.distrusted = Revocation.load(found.publications[0].data).at + SKEW
        self._seen = found.position
        self._heard = self._loop.now()
        self._wake()
        self.news(CONTROL)

    def news(self, channel: str) -> None:
        """(Fanout's callback.)"""
        tail = self._services.fanout.tail(CONTROL)
        if tail is None or self._seen is None or self._reading:
            return
        found = tail.after(self._seen, tail.last, 1 << 60)
        if found is None:
            self._reading = True
            self._services.fanout.read_bus(CONTROL, self._seen, self._most, self._caught_up)
        elif isinstance(found, Gap):
            self._missed(found.position)
        else:
            self._seen = tail.position()
            for entry in found:
                self._hear(entry.publication)

    def _caught_up(self, found: Page | Gap | BusError) -> None:
        self._reading = False
        if isinstance(found, BusError):
            self._loop.call_later(_RETRY, self.news, CONTROL)
        elif isinstance(found, Gap):
            self._missed(found.position)
        else:
            self._seen = found.position
            for publication in found.publications:
                self._hear(publication)
            if found.publications:
                self.news(CONTROL)

    def _missed(self, now: Position) -> None:
        """We do not know what was taken back until now: ask everybody anew."""
        _log.warning(
            "revocations may have been missed: every session here is authenticated and authorised anew"
        )
        self._seen = now
        self.list.distrusted = self._services.access.wall() + SKEW
        for session in self._services.newest.values():
            self._loop.call_later(random.uniform(0, _RENEWED_WITHIN), session.renew_now)

    def _tick(self) -> None:
        """Have a sign of life of the bus."""
        self._loop.call_later(self._limits.cut_off / 4, self._tick)
        if self._seen is not None:
            self._loop.spawn(self._probe)

    def _probe(self) -> None:
        """Outside the turn."""
        asked = self._loop.now()
        try:
            position = self._services.bus.position(CONTROL)
        except BusError:
            return
        self._loop.call_soon(self._probed, position, asked)

    def _probed(self, position: Position, asked: float) -> None:
        # Only if we have heard all that there was then do we know what we need to know.
        if (
            self._seen is not None
            and self._seen.epoch == position.epoch
            and self._seen.offset >= position.offset
        ):
            self._heard = max(self._heard, asked)
        else:
            self._services.fanout.suspect(CONTROL)

    # -- carrying out -------------------------------------------------------------------------------------

    def _hear(self, publication: Publication) -> None:
        try:
            revocation = Revocation.load(publication.data)
        except (ValueError, TypeError):
            _log.error(
                "what came in %s is no revocation; do workers of several versions share a bus?", CONTROL
            )
            return
        now = self._services.access.wall()
        self.list.forget_old(now)
        self.list.add(revocation, now)
        self._services.metrics.add("revocations")
        for session in [*self._services.newest.values(), *self.polls]:
            identity = session.identity
            if identity is not None and revocation.concerns(identity.client_id, identity.user_id):
                self._revoke(session, identity, revocation)
        for read in list(self.reads):
            identity = read.identity
            if (
                identity is not None
                and revocation.concerns(identity.client_id, identity.user_id)
                and (revocation.code is not None or self.list.covers(revocation, read.channel))
            ):
                read.revoked()

    def follow(self, read: LiveRead, since: int) -> bool:
        """From now on end a read when its access ends. False where that has ended since `heard` was `since`, which was
        before it was asked whether it may. Whoever carries it does not know of it yet: say so in the next turn."""
        identity = read.identity
        if identity is not None and self.heard_since(identity, read.channel, since):
            return False
        self.reads.add(read)
        return True

    def _revoke(self, session: Session, identity: Identity, revocation: Revocation) -> None:
        if revocation.code is not None:
            session.disconnect(DisconnectCode(revocation.code), "the application ended this session")
            return
        for channel in [name for name in identity.grants() if self.list.covers(revocation, name)]:
            identity.revoke(channel)
            identity.changed = True
        self.drop(session, lambda channel: self.list.covers(revocation, channel))

    def drop_heard_since(self, session: Session, since: int) -> None:
        """Take back what a renewal gave that began when `list.heard` was `since`, where it was taken back meanwhile."""
        identity = session.known_identity
        for channel in [name for name in identity.grants() if self.heard_since(identity, name, since)]:
            identity.revoke(channel)
        self.drop(session, lambda channel: self.heard_since(identity, channel, since))

    def drop(self, session: Session, ended: Callable[[str], bool]) -> None:
        """End the subscriptions of a session, but for public ones, to channels whose access has `ended`."""
        for subscription in session.subscriptions:
            channel = subscription.channel
            if not subscription.declaration.public and ended(channel):
                session.unfollow(channel)
                code = ErrorCode.NO_SUCH_CHANNEL
                session.reply(m.UnsubscribedPush(channel, code, f"access to {channel!r} was revoked"))
        session.go_on()

    def ended_since(self, identity: Identity, since: int) -> DisconnectCode | None:
        """The code with which a session was ended while it was being identified."""
        code = self.list.ended_since(identity.client_id, identity.user_id, since)
        return None if code is None else DisconnectCode(code)

    def heard_since(self, identity: Identity, channel: str, since: int) -> bool:
        """See `RevocationList.heard_since`."""
        return self.list.heard_since(identity.client_id, identity.user_id, channel, since)
