"""What a session follows, and what leaves it: replies, and the publications after each of its positions.

Nothing that is published waits here. `news` marks a subscription; `collect` reads from its position whatever the
transport can take just now. A transport that can be sent to at any moment says `settle` when all of that has left: from
then on those subscriptions stand in a live group (see `live`), and cost nothing until the group is no longer theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rtbridge.errors import BusError, ProtocolError
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.private import PRIVATE
from rtbridge.protocol.publications import Gap, Page
from rtbridge.session.outlet import LiveOutlet, Outlet
from rtbridge.session.private import Place
from rtbridge.session.private import pull as pull_letters
from rtbridge.session.subscription import Subscription, end_of, page_on, pull

if TYPE_CHECKING:
    from rtbridge.session.live import Sink
    from rtbridge.session.services import Services
    from rtbridge.session.session import Session


class Following:
    """The half of a session that reads. In the turn.

    Attributes:
        more: the last `collect` left something behind.
        subscriptions: few, nearly always: a tuple takes a third of a dictionary.
        private: its place in `~me`, if it follows that.
        awaiting: snapshots on their way.
    """

    __slots__ = (
        "_caught_up", "_dirty", "_owed", "_reading", "_replies", "awaiting", "more", "outlet", "private", "services",
        "subscriptions",
    )  # fmt: skip
    weight = 1
    """(For the fanout.)"""

    def __init__(self, services: Services, outlet: Outlet) -> None:
        self.services = services
        self.outlet = outlet
        self.subscriptions: tuple[Subscription, ...] = ()
        self.private: Place | None = None
        self.more = False
        self.awaiting = 0
        self._reading = False
        self._replies: list[bytes] | None = None  # here and below: None is an empty one, and takes no memory
        self._owed = 0  # bytes of the replies
        self._dirty: dict[str, None] | None = None
        self._caught_up: list[Subscription] | None = None  # what the last collect brought to its tail's end

    def go_on(self) -> None:
        """See whether something can be done now."""
        raise NotImplementedError

    # -- replies ------------------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Replies not yet collected."""
        return 0 if self._replies is None else len(self._replies)

    @property
    def room(self) -> int:
        """Bytes of publications that replies may still carry before some are collected; 0 or less: none."""
        return self.services.limits.page_bytes - self._owed

    def reply(self, message: m.ServerMessage) -> None:
        """Answer a command; it leaves with the next `collect`."""
        self.owe(self._encode(message))

    def owe(self, piece: bytes) -> None:
        """Send what is encoded already, with the replies."""
        if self._replies is None:
            self._replies = []
        self._replies.append(piece)
        self._owed += len(piece)

    def _encode(self, message: m.ServerMessage) -> bytes:
        wire = self.outlet.wire
        return wire.wrap(wire.codec.encode(message))

    def _take_replies(self) -> list[bytes]:
        taken, self._replies = self._replies, None
        self._owed = 0
        return taken or []

    # -- following ----------------------------------------------------------------------------------------

    def follow(self, subscription: Subscription) -> None:
        """Become a reader of a channel, from the subscription's position."""
        try:
            self.services.fanout.join(subscription.channel, self)
        except LookupError:
            raise ProtocolError(
                ErrorCode.UNAVAILABLE, "the channel was let go meanwhile; subscribe again"
            ) from None
        self.subscriptions += (subscription,)
        self.services.quotas.followed(cast("Session", self))
        self.mark(subscription.channel)

    def unfollow(self, channel: str) -> None:
        """No longer read the channel; nothing of it is sent any more. It must be followed."""
        subscription = self.subscription_to(channel)
        assert subscription is not None
        self.subscriptions = tuple(each for each in self.subscriptions if each is not subscription)
        self.services.quotas.left(cast("Session", self))
        if subscription.declaration.of_people:
            self.services.presence.left(cast("Session", self), subscription)
        if self._dirty is not None:
            self._dirty.pop(channel, None)
        if subscription.group is not None:
            subscription.group.leave(self)
        else:
            self.services.fanout.leave(channel, self)

    def unfollow_all(self) -> None:
        """Read nothing any more."""
        for subscription in self.subscriptions:
            self.unfollow(subscription.channel)

    def subscription_to(self, channel: str) -> Subscription | None:
        """The subscription to a channel; None if that is not followed."""
        for subscription in self.subscriptions:
            if subscription.channel == channel:
                return subscription
        return None

    # -- reading ------------------------------------------------------------------------------------------

    def news(self, channel: str) -> None:
        """(Fanout's callback.) Something is after our position, perhaps."""
        self.mark(channel)
        self.outlet.due()

    def mark(self, channel: str) -> None:
        """Look into the channel with the next `collect`."""
        if self._dirty is None:
            self._dirty = {}
        self._dirty[channel] = None

    def collect(self, budget: int) -> list[bytes]:
        """What can be sent now: replies, then publications from each position, about `budget` bytes of them."""
        left = budget - self._owed
        out = self._take_replies()
        self.more = False
        self._caught_up = None
        if not self._dirty:
            return out
        marked, self._dirty = self._dirty, None
        for channel in marked:
            if left <= 0:
                self.mark(channel)
                self.more = True
                continue
            chunk = self._pull(channel, left)
            if chunk is not None:
                out.append(chunk)
                left -= len(chunk)
        # A bus that does not block gives its pages at once: they belong to this answer, a poll has no other.
        return out + self._take_replies()

    def _pull(self, channel: str, max_bytes: int) -> bytes | None:
        if self.private is not None and channel == PRIVATE:
            return pull_letters(self.private, max_bytes)
        subscription = self.subscription_to(channel)
        if subscription is None or subscription.group is not None:
            return None
        state = subscription.state
        if state is not None and state.pending:
            state.offer(cast("Session", self), subscription)
            return None
        services = self.services
        tail = services.fanout.tail(channel)
        found = (
            None if tail is None else pull(subscription, tail, services.limits.page_publications, max_bytes)
        )
        if tail is None or found is None:
            self._read_page(subscription)
            return None
        if isinstance(found, Gap):
            # The tail knows of a log that was lost under our eyes: then everybody has this gap.
            return self._gap(subscription, found, subscription.position.epoch != found.position.epoch)
        more = False
        if found:
            subscription.position, more = end_of(found, tail)
        if more:
            self.mark(channel)
            self.more = True
        elif self._caught_up is None:
            self._caught_up = [subscription]
        else:
            self._caught_up.append(subscription)
        if not found:
            return None
        services.metrics.add("deliveries", len(found))
        return services.encoder.publications(self.outlet.wire, channel, tail, found, more)

    def _gap(self, subscription: Subscription, gap: Gap, everybodys: bool) -> bytes | None:
        self.services.metrics.add("gaps")
        state = subscription.state
        if state is not None:
            state.ask(cast("Session", self), subscription, gap=True, spread=everybodys)
            return None
        subscription.position = gap.position
        pause = self.services.snapshots.fetch_after(everybodys)
        return self._encode(m.GapPush(subscription.channel, gap.position, pause))

    def _read_page(self, subscription: Subscription) -> None:
        """Catch up from the bus; one page at a time for a session, so that a slow reader holds no more than one."""
        if self._reading:
            self.mark(subscription.channel)
            return
        self._reading = True
        limit = self.services.limits.page_publications
        self.services.fanout.read_bus(
            subscription.channel,
            subscription.position,
            limit,
            lambda found: self._page_came(subscription, found),
        )

    def _page_came(self, subscription: Subscription, found: Page | Gap | BusError) -> None:
        self._reading = False
        if subscription not in self.subscriptions:
            self.go_on()
            return
        if isinstance(found, BusError):
            self.services.loop.call_later(1.0, self.news, subscription.channel)
        elif isinstance(found, Gap):
            told = self._gap(subscription, found, False)
            if told is not None:
                self.owe(told)
        else:
            if found.publications:
                wire = self.outlet.wire
                self.owe(page_on(wire, subscription.channel, found.position, found.publications, found.more))
                self.services.metrics.add("deliveries", len(found.publications))
            self.more = self.more or found.more
            moved = found.position != subscription.position
            subscription.position = found.position
            if moved:
                self.mark(subscription.channel)
        self.go_on()

    # -- standing with others -----------------------------------------------------------------------------

    def settle(self, sink: Sink) -> None:
        """All that was collected has left: stand with the others where we are at the end. For a `LiveOutlet`."""
        caught_up, self._caught_up = self._caught_up, None
        if caught_up is None or self._reading:
            return
        for subscription in caught_up:
            channel = subscription.channel
            done = self._dirty is None or channel not in self._dirty
            if done and subscription in self.subscriptions:
                group = self.services.live.join(self, channel, subscription.position, sink)
                if group is not None:
                    subscription.group = group

    def fall_behind(self, data: bytes, sent: int) -> None:
        """Of `data`, which a group sent, the socket took only `sent` bytes; `live.LOST` if it is broken."""
        cast(LiveOutlet, self.outlet).hold(data, sent)

    def go_alone(self) -> None:
        """Leave every group, each with a position of our own, and look what comes after it when there is room."""
        for subscription in self.subscriptions:
            channel, group = subscription.channel, subscription.group
            if group is not None:
                subscription.position = group.position
                subscription.group = None
                self.services.fanout.join(channel, self)  # first: so that the channel always has a reader
                group.leave(self)
                self.mark(channel)

    def rest(self) -> None:
        """The outlet takes nothing for now: leave every group, and hear no news until `wake`."""
        self.go_alone()
        for subscription in self.subscriptions:
            self.services.fanout.rest(subscription.channel, self)

    def wake(self) -> None:
        """The outlet takes something again: hear of news, and look what came meanwhile."""
        for subscription in self.subscriptions:
            self.services.fanout.join(subscription.channel, self)
            self.mark(subscription.channel)
