"""A subscription whose snapshot is on its way: nothing of its channel is sent until that is there.

The client's cursor does not move meanwhile either: should the connection be lost, it asks again from where it was.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from rtbridge.errors import ProtocolError
from rtbridge.protocol import messages as m
from rtbridge.session.snapshots import Flight, wish_for

if TYPE_CHECKING:
    from rtbridge.session.session import Session
    from rtbridge.session.subscription import Subscription


class State:
    """On a subscription whose client wants snapshots.

    Attributes:
        pending: one was asked for and has not been sent.
    """

    __slots__ = ("_flight", "_gap", "pending")

    def __init__(self) -> None:
        self._flight: Flight | None = None
        self._gap = False
        self.pending = False

    def ask(self, session: Session, subscription: Subscription, *, gap: bool, spread: bool = False) -> None:
        """Have it made. Until it was sent, `pull` for the subscription says nothing.

        Args:
            gap: it stands in for what is lost to this client.
            spread: everybody has lost it.
        """
        self._gap = gap
        self.pending = True
        session.awaiting += 1
        # A short poll is waiting for its answer, and comes at a time of its own anyway.
        spread = spread and session.outlet.transport != "shortpoll"
        came = partial(self._came, session, subscription)
        access, identity = session.services.access, session.known_identity
        wish = wish_for(
            subscription.channel,
            subscription.declaration,
            subscription.params,
            identity,
            lambda: access.context(identity, session.environ, session.outlet.transport),
        )
        assert wish is not None
        session.services.snapshots.ask(wish, came, spread=spread)

    def _came(self, session: Session, subscription: Subscription, flight: Flight) -> None:
        session.awaiting -= 1
        self._flight = flight
        self.offer(session, subscription)
        session.go_on()

    def offer(self, session: Session, subscription: Subscription) -> None:
        """Send it, if it is here and there is room."""
        flight, channel = self._flight, subscription.channel
        if flight is None or subscription not in session.subscriptions:
            return
        if flight.error is not None:
            session.unfollow(channel)
            session.reply(_failed(channel, flight.error, session.services.limits.gap_jitter))
            return
        if session.room <= 0:
            session.mark(channel)  # many of them must not add up to an answer without bound
            session.more = True
            return
        assert flight.position is not None
        session.owe(flight.push(session.outlet.wire, self._gap))
        session.services.metrics.add("snapshots_sent")
        self._flight = None
        self.pending = False
        subscription.position = flight.position
        session.mark(channel)


def _failed(channel: str, error: ProtocolError, jitter: float) -> m.UnsubscribedPush:
    pause = round(random.uniform(1.0, 1.0 + jitter), 1)
    return m.UnsubscribedPush(channel, error.code, error.message, pause)
