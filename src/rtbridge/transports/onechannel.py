"""One channel by GET: short poll, long poll and event stream without a session, for anything that speaks
HTTP.

Who may read the channel is settled before these are made. They are readers of the channel's tail, like
subscriptions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.errors import BusError, ProtocolError
from rtbridge.fanout import Tail
from rtbridge.protocol.codecs import Codec
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication
from rtbridge.runtime import Spoke, Timer
from rtbridge.session.access import Identity, no_such_channel
from rtbridge.session.services import Services
from rtbridge.session.snapshots import Flight, Wish
from rtbridge.session.subscription import Subscription, end_of, pull
from rtbridge.transports.carrier import Carrier, safely


@dataclass(frozen=True, slots=True)
class Question:
    """What a GET asks: a channel, from where, and how long to wait.

    Attributes:
        identity: who asks; None where anybody may.
        heard: how many revocations were heard of before it was asked whether they may.
        after: the position to read after; None asks for the newest `recent`.
        wait: seconds to park when there is nothing; 0 for a short poll.
        snapshot: what to ask for where there is no position, or a gap.
    """

    channel: str
    declaration: ChannelDeclaration
    after: Position | None
    recent: int
    wait: float = 0.0
    snapshot: Wish | None = None
    identity: Identity | None = None
    heard: int = 0


@dataclass(frozen=True, slots=True)
class ChannelAnswer:
    """The answer to a `Question`: its body, and the position it brings the reader to.

    Attributes:
        recovered: False where there was a gap.
        count: publications in the body.
        snapshot: whether the body holds one.
    """

    position: Position
    body: bytes
    recovered: bool
    more: bool = False
    count: int = 0
    snapshot: bool = False


class _Reader:
    """What the GET transports share: becoming a reader of the tail, and falling back on the bus."""

    weight = 1
    """(For the fanout.)"""
    __slots__ = (
        "_carrier", "_done", "_joined", "_place", "_question", "_reading",
        "_scheduled", "_services", "_spoke",
    )  # fmt: skip

    def __init__(self, services: Services, question: Question, carrier: Carrier) -> None:
        self._services = services
        self._question = question
        self._carrier = carrier
        self._place: Subscription | None = None
        self._joined = False
        self._scheduled = False
        self._reading = False
        self._done = False
        self._spoke: Spoke | None = None

    @property
    def channel(self) -> str:
        """(For revocations.)"""
        return self._question.channel

    _counted_as = ""
    """The metric of those that wait or stream."""

    @property
    def identity(self) -> Identity | None:
        """(For revocations.)"""
        return self._question.identity

    def revoked(self) -> None:
        """(Revocations' callback.)"""
        raise NotImplementedError

    def start(self) -> None:
        """Begin. In the turn."""
        if self.identity is not None and not self._services.revocations.follow(self, self._question.heard):
            self._services.loop.call_soon(self._ready_safely, no_such_channel(self.channel))
            return
        self._services.fanout.when_ready(self.channel, self._question.declaration.keep, self._ready_safely)

    def news(self, channel: str) -> None:
        """(Fanout's callback.)"""
        if not self._scheduled:
            self._scheduled = True
            self._services.loop.call_soon(safely, self._give_up, self._look_soon)

    def _look_soon(self) -> None:
        self._scheduled = False
        if not self._done and not self._reading:
            self._look()

    def _ready_safely(self, tail: Tail | BusError | ProtocolError) -> None:
        safely(self._give_up, self._ready, tail)

    def _give_up(self) -> None:
        raise NotImplementedError

    def _ready(self, tail: Tail | BusError | ProtocolError) -> None:
        if self._done:
            return
        if isinstance(tail, BusError | ProtocolError):
            self._failed(tail)
            return
        if self._place is not None:
            self._look()
            return
        question, after = self._question, self._question.after
        if after is None and question.snapshot is not None:
            self._place = Subscription(question.channel, question.declaration, {}, tail.position())
            self._ask_snapshot(None, False)
            return
        if question.declaration.keep.kind == "volatile" and not question.wait:
            after = tail.position()  # nobody waited for what was published until now
        elif after is None:
            latest = question.declaration.keep.kind == "latest"
            after = Position(tail.epoch, 0 if latest else max(0, tail.last - question.recent))
        self._place = Subscription(question.channel, question.declaration, {}, after)
        self._look()

    def _look(self) -> None:
        place, services = self._place, self._services
        tail = services.fanout.tail(self._question.channel)
        if place is None:
            return
        found = (
            None
            if tail is None
            else pull(place, tail, services.limits.page_publications, services.limits.page_bytes)
        )
        if tail is None or found is None:
            self._ask_bus(place)
        elif isinstance(found, Gap):
            self._lost(found.position)
        elif found:
            position, more = end_of(found, tail)
            self._publications(position, [entry.publication for entry in found], more)
        else:
            self._nothing(place.position)

    def _ask_bus(self, place: Subscription) -> None:
        came = partial(safely, self._give_up, self._came)
        self._reading = True
        limit = self._services.limits.page_publications
        if self._question.after is None and not self._joined:
            # "The newest few": counting back from the end may lead below what is kept, the bus knows.
            self._services.fanout.read_bus(place.channel, None, min(self._question.recent, limit), came)
        else:
            self._services.fanout.read_bus(place.channel, place.position, limit, came)

    def _came(self, found: Page | Gap | BusError) -> None:
        self._reading = False
        if self._done or self._place is None:
            return
        if isinstance(found, BusError):
            self._failed(found)
        elif isinstance(found, Gap):
            self._lost(found.position)
        elif found.publications:
            self._publications(found.position, found.publications, found.more)
        else:
            self._place.position = found.position
            self._nothing(found.position)

    def _lost(self, position: Position) -> None:
        self._services.metrics.add("gaps")
        if self._question.snapshot is None:
            self._gap(position)
        else:
            assert self._place is not None
            # What is parked or streamed was told by the loss itself, like everybody else.
            self._ask_snapshot(False, self._joined and self._place.position.epoch != position.epoch)

    def _ask_snapshot(self, recovered: bool | None, spread: bool) -> None:
        assert self._question.snapshot is not None
        self._reading = True
        came = partial(safely, self._give_up, self._snapshot_came, recovered)
        self._services.snapshots.ask(self._question.snapshot, came, spread=spread)

    def _snapshot_came(self, recovered: bool | None, flight: Flight) -> None:
        self._reading = False
        if self._done:
            return
        if flight.error is not None:
            self._failed(flight.error)
        else:
            assert flight.position is not None and flight.data is not None
            self._services.metrics.add("snapshots_sent")
            self._snapshot(flight.position, flight.data, recovered)

    def _join(self) -> None:
        if not self._joined:
            try:
                self._services.fanout.join(self._question.channel, self)
            except LookupError:
                self.start()  # the channel was let go while the bus was asked: have it watched again
            else:
                self._joined = True
                self._services.metrics.add(self._counted_as)

    def _leave(self) -> None:
        self._done = True
        self._services.revocations.reads.discard(self)
        if self._spoke is not None:
            self._spoke.discard(self)
            self._spoke = None
        if self._joined:
            self._joined = False
            self._services.metrics.add(self._counted_as, -1)
            self._services.fanout.leave(self._question.channel, self)

    def _publications(self, position: Position, publications: Sequence[Publication], more: bool) -> None:
        raise NotImplementedError

    def _gap(self, position: Position) -> None:
        raise NotImplementedError

    def _snapshot(self, position: Position, data: bytes, recovered: bool | None) -> None:
        raise NotImplementedError

    def _nothing(self, position: Position) -> None:
        raise NotImplementedError

    def _failed(self, error: BusError | ProtocolError) -> None:
        raise NotImplementedError


class ChannelPoll(_Reader):
    """A short or long poll. The carrier is finished with a `ChannelAnswer` or with the bus's error."""

    _counted_as = "parked_polls"

    __slots__ = ("_codec", "_expired")

    def __init__(self, services: Services, question: Question, codec: Codec, carrier: Carrier) -> None:
        super().__init__(services, question, carrier)
        self._codec = codec
        self._expired = question.wait <= 0

    def abort(self) -> None:
        """Nobody waits for the answer any more. In the turn."""
        if not self._done:
            self._leave()
            self._carrier.finish(None)

    _give_up = abort

    def revoked(self) -> None:
        """Access has ended: answer so. In the turn."""
        if not self._done:
            self._leave()
            self._carrier.finish(no_such_channel(self._question.channel))

    def _nothing(self, position: Position) -> None:
        if self._expired:
            self._answer(position, (), None, False)
            return
        self._join()
        if self._spoke is None:
            self._spoke = self._services.wheel.add(self._question.wait, self, early=True)

    def tick(self) -> None:
        """(The wheel's callback.)"""
        self._spoke = None
        self.hurry()

    def hurry(self) -> None:
        """Answer now, with what there is. In the turn."""
        self._expired = True
        self.news(self._question.channel)

    def _publications(self, position: Position, publications: Sequence[Publication], more: bool) -> None:
        self._services.metrics.add("deliveries", len(publications))
        self._answer(position, publications, None, more)

    def _gap(self, position: Position) -> None:
        self._answer(position, (), False, False)

    def _snapshot(self, position: Position, data: bytes, recovered: bool | None) -> None:
        tail = self._services.fanout.tail(self._question.channel)
        more = tail is None or tail.position() != position
        self._answer(position, (), recovered, more, data)

    def _failed(self, error: BusError | ProtocolError) -> None:
        self._leave()
        self._carrier.finish(error)

    def _answer(
        self,
        position: Position,
        publications: Sequence[Publication],
        recovered: bool | None,
        more: bool,
        snapshot: bytes | None = None,
    ) -> None:
        self._leave()
        codec = self._codec
        fragments = [codec.publication(publication) for publication in publications]
        body = codec.channel_answer(self._question.channel, position, fragments, recovered, more, snapshot)
        whole = recovered is not False
        self._carrier.finish(ChannelAnswer(position, body, whole, more, len(fragments), snapshot is not None))


class ChannelStream(_Reader):
    """An event stream of one channel: one publication for each event, its position as the event's id.

    The carrier is finished with each next piece, with None at the end, or with the bus's error before the
    first.

    Args:
        life: seconds until it ends, and whoever reads it has to ask again; infinite for a public channel.
    """

    __slots__ = ("_begun", "_end", "_life", "_pieces", "_waiting")
    _counted_as = "connections_eventstream"

    def __init__(
        self, services: Services, question: Question, carrier: Carrier, life: float = math.inf
    ) -> None:
        super().__init__(services, question, carrier)
        self._life = life
        self._end: Timer | None = None
        self._pieces: list[bytes] = []
        self._waiting = False
        self._begun = False

    def ready(self) -> None:
        """The carrier can take the next piece. In the turn."""
        self._waiting = True
        self._flush()
        if self._waiting and self._done:
            self.hang_up()
        elif self._waiting:
            self.news(self._question.channel)

    def hang_up(self) -> None:
        """The client is gone, or its time is up: end the response. In the turn."""
        self.close()
        if self._waiting:
            self._waiting = False
            self._carrier.finish(None)

    def _give_up(self) -> None:
        self.hang_up()

    revoked = hang_up

    def close(self) -> None:
        """The response is over. In the turn; idempotent."""
        self._leave()
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _look(self) -> None:
        # What the reader does not take is not gathered for it.
        if self._waiting or not self._begun:
            super()._look()

    def _begin(self, position: Position | None) -> None:
        """The first piece pins the reader's cursor to where it begins, before anything is delivered.

        None: it begins with a snapshot, and has no cursor before that is there.
        """
        if not self._begun:
            self._begun = True
            self._join()
            self._spoke = self._services.wheel.add(self._services.limits.ping_interval, self)
            if math.isfinite(self._life):
                self._end = self._services.loop.call_later(self._life, self.hang_up)
            if position is not None:
                self._pieces.append(f"id: {position}\n\n".encode())

    def _move(self, position: Position, pieces: list[bytes]) -> None:
        assert self._place is not None
        self._begin(self._place.position)
        self._place.position = position
        self._pieces += pieces
        self._flush()

    def _publications(self, position: Position, publications: Sequence[Publication], more: bool) -> None:
        self._services.metrics.add("deliveries", len(publications))
        epoch = position.epoch
        self._move(
            position, [b"id: %s.%d\ndata: %s\n\n" % (epoch.encode(), p.offset, p.data) for p in publications]
        )

    def _snapshot(self, position: Position, data: bytes, recovered: bool | None) -> None:
        if recovered is None:
            self._begin(None)
        self._move(position, [b"event: snapshot\nid: %s\ndata: %s\n\n" % (str(position).encode(), data)])
        self.news(self._question.channel)

    def _gap(self, position: Position) -> None:
        self._move(position, [f'event: gap\nid: {position}\ndata: {{"position":"{position}"}}\n\n'.encode()])

    def _nothing(self, position: Position) -> None:
        self._move(position, [])

    def _failed(self, error: BusError | ProtocolError) -> None:
        if self._begun:
            self._services.loop.call_later(1.0, self.news, self._question.channel)
        else:
            self._leave()
            self._carrier.finish(error)

    def _flush(self) -> None:
        if self._waiting and self._pieces:
            self._waiting = False
            pieces, self._pieces = self._pieces, []
            self._carrier.finish(b"".join(pieces))

    def tick(self) -> None:
        """(The wheel's callback.) Say that we are here."""
        self._spoke = self._services.wheel.add(self._services.limits.ping_interval, self)
        if self._waiting:
            self._pieces.append(b":\n\n")
            self._flush()
