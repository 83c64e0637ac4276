"""What all sessions of a bridge share, made once per process by the bridge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rtbridge.bus.contract import Bus
from rtbridge.config import Limits
from rtbridge.contract.registry import Registry
from rtbridge.fanout import Fanout
from rtbridge.metrics import Metrics
from rtbridge.runtime import Loop, Wheel
from rtbridge.session.access import Access
from rtbridge.session.calls import CallRunner
from rtbridge.session.flusher import Flusher
from rtbridge.session.hooks import SessionHooks
from rtbridge.session.live import LiveGroups
from rtbridge.session.members import Members
from rtbridge.session.presence import Presence
from rtbridge.session.private import Mailboxes
from rtbridge.session.questions import Questions
from rtbridge.session.quotas import Quotas
from rtbridge.session.revocation import Revocations
from rtbridge.session.snapshots import Snapshots
from rtbridge.session.subscription import Encoder
from rtbridge.session.takeover import Takeovers

if TYPE_CHECKING:
    from rtbridge.session.session import Session


class Hurried(Protocol):
    """A poll that waits."""

    def hurry(self) -> None:
        """Answer now, with what there is. In the turn."""


@dataclass(slots=True)
class Services:
    """Shared by every session of this process; sessions hold one reference to it."""

    registry: Registry
    access: Access
    bus: Bus
    fanout: Fanout
    loop: Loop
    calls: CallRunner
    hooks: SessionHooks
    limits: Limits
    metrics: Metrics
    encoder: Encoder = field(default_factory=Encoder)
    flusher: Flusher = field(init=False)
    wheel: Wheel = field(init=False)
    live: LiveGroups = field(init=False)
    mailboxes: Mailboxes = field(init=False)
    questions: Questions = field(init=False)
    snapshots: Snapshots = field(init=False)
    quotas: Quotas = field(init=False)
    revocations: Revocations = field(init=False)
    presence: Presence = field(init=False)
    takeovers: Takeovers = field(init=False)
    parked: set[Hurried] = field(default_factory=set)
    """Polls that wait, to be answered at once when the server stops."""
    newest: dict[tuple[str, str], Session] = field(default_factory=dict)
    """(client id, instance) -> its newest socket or stream; a newer one closes the older."""

    def __post_init__(self) -> None:
        self.flusher = Flusher(self.loop)
        self.wheel = Wheel(self.loop)
        self.quotas = Quotas(self.limits, self.metrics, self.loop.now)
        self.snapshots = Snapshots(
            self.fanout, self.loop, self.limits, self.metrics, lambda: self.access.framework
        )
        self.live = LiveGroups(self.fanout, self.flusher, self.encoder, self.limits, self.metrics)
        self.mailboxes = Mailboxes(self)
        self.questions = Questions(self)
        self.revocations = self.access.revocations = Revocations(self)
        self.presence = Presence(self)
        self.takeovers = Takeovers(self)
        self.access.members = Members(self.bus, self.limits)
        self.metrics.measure("parked_polls", lambda: len(self.revocations.polls))
        lag = getattr(self.bus, "lag", None)
        if lag is not None:
            self.metrics.measure("bus_lag", lag)
        with self.loop.turn():
            self.revocations.start()
            self.takeovers.start()
