"""How a session comes to follow a channel: permitted, watched, placed at a position, answered.

Four steps, any of which may have to wait: is it declared and granted (else authorize runs as a job); is its
tail here (else the fanout watches the channel first); what comes after the position asked for (else the bus
is read); then the reply, and from there on the session is one of the tail's readers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.errors import BusError, ProtocolError
from rtbridge.fanout import Entry, Tail
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.positions import Position
from rtbridge.protocol.private import PRIVATE
from rtbridge.protocol.publications import Gap, Page
from rtbridge.session import private
from rtbridge.session.access import no_such_channel
from rtbridge.session.awaiting import State
from rtbridge.session.subscription import Subscription, end_of, pull

if TYPE_CHECKING:
    from rtbridge.session.session import Session


def begin(session: Session, command: m.Subscribe) -> None:
    """Carry out a subscribe command. In the turn; `session` is busy until it is answered.

    Raises:
        ProtocolError: it can be refused at once.
    """
    services, channel = session.services, command.channel
    if channel == PRIVATE:
        private.begin(session, command)
        return
    identity = session.known_identity
    if session.subscription_to(channel) is not None:
        raise ProtocolError(ErrorCode.ALREADY_SUBSCRIBED, f"already subscribed to {channel!r} here")
    if len(session.subscriptions) >= services.limits.max_channels:
        most = services.limits.max_channels
        raise ProtocolError(ErrorCode.TOO_LARGE, f"more than {most} channels here (limits.max_channels)")
    found = services.registry.channel_for(channel)
    if found is None:
        raise no_such_channel(channel)
    declaration, params = found
    if command.presence is not None and declaration.presence_told is not None:
        services.presence.check_size(command.presence)
    access = services.access
    subscribing = Subscribing(session, command, declaration, params)
    permitted_already = declaration.public or identity.may_follow(channel, access.wall())
    if not permitted_already or not repeated(session, command):
        services.quotas.subscribe(session)
    if permitted_already:
        subscribing.watch()
        return
    context = access.context(identity, session.environ, session.outlet.transport)
    heard = services.revocations.list.heard

    def permitted(_: None) -> None:
        if services.revocations.heard_since(identity, channel, heard):
            identity.revoke(channel)
            begin(session, command)  # what we found out may be from before it was taken back
        else:
            subscribing.watch()

    session.job(command, lambda: access.permit(identity, declaration, channel, params, context), permitted)


def repeated(session: Session, command: m.Subscribe) -> bool:
    """Whether a poll says once more what it follows, which costs nothing."""
    return command.id is None and session.outlet.transport in ("shortpoll", "longpoll")


class Subscribing:
    """A subscribe command on its way, once it is permitted."""

    __slots__ = ("_command", "_declaration", "_params", "_session")

    def __init__(
        self,
        session: Session,
        command: m.Subscribe,
        declaration: ChannelDeclaration,
        params: dict[str, object],
    ) -> None:
        self._session = session
        self._command = command
        self._declaration = declaration
        self._params = params

    def watch(self) -> None:
        """Have the channel's tail here; nearly always it is."""
        session = self._session
        tail = session.services.fanout.tail(self._command.channel)
        if tail is not None:
            self._place(tail)
            return
        resume = session.wait()
        session.services.fanout.when_ready(
            self._command.channel,
            self._declaration.keep,
            lambda tail: resume(self._command, self._place, tail),
        )

    def _place(self, tail: Tail | BusError) -> None:
        if isinstance(tail, BusError):
            raise ProtocolError(ErrorCode.UNAVAILABLE, str(tail))
        command, session = self._command, self._session
        if not self._is_permitted():
            begin(session, command)
            return
        start = self._start(tail)
        subscription = Subscription(command.channel, self._declaration, self._params, start)
        if command.snapshot and self._declaration.snapshot_taken is not None:
            subscription.state = State()
        begins = subscription.state is not None and command.position is None
        if not self._declaration.allows(session.outlet.transport):
            if command.id is not None:
                session.reply(self._limited(command.id, start, begins))
            return
        if begins:
            self._begin_with_state(subscription, tail)
            return
        if command.id is None:
            self._follow(subscription)
            return
        if session.room <= 0:
            # Many commands in one message must not add up to an answer without bound: this one gets its share later.
            self._answer(command.id, subscription, Page(start, (), True))
            return
        found = pull(subscription, tail, session.services.limits.page_publications, session.room)
        if found is None:
            self._read(subscription)
        elif isinstance(found, Gap):
            self._answer(command.id, subscription, found, lost=True)
        else:
            position, more = end_of(found, tail) if found else (subscription.position, False)
            self._answer(command.id, subscription, Page(position, (), more), entries=found)

    def _follow(self, subscription: Subscription) -> None:
        self._session.follow(subscription)
        if self._declaration.of_people:
            presence = self._session.services.presence
            presence.follows(self._session, subscription, self._command.presence)

    def _is_permitted(self) -> bool:
        """Whether it still is: access may have been taken back while we waited for the bus."""
        session, channel = self._session, self._command.channel
        if self._declaration.public:
            return True
        return session.known_identity.may_follow(channel, session.services.access.wall())

    def _start(self, tail: Tail) -> Position:
        """Where it begins: at its position, or now, or as many publications back as asked for."""
        kind, recent = self._declaration.keep.kind, self._command.recent or 0
        if kind == "volatile" and self._session.outlet.transport != "longpoll":
            return tail.position()  # only the next of many long polls was there all the time, as it were
        if self._command.position is not None:
            return self._command.position
        if kind == "latest":
            return Position(tail.epoch, 0)
        return Position(tail.epoch, max(0, tail.last - recent)) if kind == "history" else tail.position()

    def _begin_with_state(self, subscription: Subscription, tail: Tail) -> None:
        session, command, state = self._session, self._command, subscription.state
        assert state is not None
        self._follow(subscription)
        if command.id is not None:
            keep = self._declaration.keep.kind
            session.reply(m.Subscribed(command.id, command.channel, keep, tail.position(), snapshot=True))
        state.ask(session, subscription, gap=False)

    def _read(self, subscription: Subscription) -> None:
        """The tail does not reach back that far: read the bus."""
        session, command = self._session, self._command
        limit = session.services.limits.page_publications
        # The newest few are asked for as such: counting back from the end may lead below what is kept.
        newest = command.position is None and bool(command.recent)
        after = None if newest else subscription.position
        resume = session.wait()

        def came(found: Page | Gap | BusError) -> None:
            resume(command, lambda page: self._came(subscription, page), found)

        most = min(command.recent or limit, limit) if newest else limit
        session.services.fanout.read_bus(command.channel, after, most, came)

    def _came(self, subscription: Subscription, found: Page | Gap | BusError) -> None:
        if isinstance(found, BusError):
            raise ProtocolError(ErrorCode.UNAVAILABLE, str(found))
        if not self._is_permitted():
            begin(self._session, self._command)
            return
        assert self._command.id is not None
        self._answer(self._command.id, subscription, found)

    def _answer(
        self,
        command_id: int,
        subscription: Subscription,
        found: Page | Gap,
        lost: bool = False,
        entries: list[Entry] | None = None,
    ) -> None:
        """Follow from what was found, in a page or as a tail's entries; `lost` if the log was lost while we watched, so
        that everybody has this gap."""
        session, metrics = self._session, self._session.services.metrics
        whole = isinstance(found, Page)
        publications = found.publications if isinstance(found, Page) else ()
        metrics.add("deliveries", len(entries or publications))
        if not whole:
            metrics.add("gaps")
        state = None if whole else subscription.state
        if state is None:
            subscription.position = found.position
        self._follow(subscription)
        reply = m.Subscribed(
            id=command_id,
            channel=subscription.channel,
            keep=self._declaration.keep.kind,
            position=found.position,
            publications=publications,
            recovered=None if self._command.position is None else whole,
            more=isinstance(found, Page) and found.more,
            snapshot=state is not None,
            fetch_after=session.services.snapshots.fetch_after(lost and state is None),
        )
        if entries:
            session.owe(session.services.encoder.subscribed(session.outlet.wire, reply, entries))
        else:
            session.reply(reply)
        if state is not None:
            state.ask(session, subscription, gap=True, spread=lost)

    def _limited(self, command_id: int, start: Position, snapshot: bool) -> m.Subscribed:
        declaration = self._declaration
        assert declaration.transport is not None
        return m.Subscribed(
            id=command_id,
            channel=self._command.channel,
            keep=declaration.keep.kind,
            position=start,
            limit=m.FollowLimit(declaration.transport, declaration.every, declaration.public),
            snapshot=snapshot,
        )
