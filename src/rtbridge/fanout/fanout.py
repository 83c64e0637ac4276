"""Who in this process listens to what, and the tails they read from.

The bus says what arrived; here it is appended to the channel's tail, once for all readers, and at the end
of the turn each reader is told that there is news. It pulls when it can. What the bus says is a hint: a
hole in the offsets, another epoch, a suspicion or a periodic comparison of positions all end in the same
repair, a read from the bus.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from rtbridge.bus.contract import Bus, Keep
from rtbridge.config import Limits
from rtbridge.errors import BusError
from rtbridge.fanout.asking import Asker
from rtbridge.fanout.stock import Stock
from rtbridge.fanout.tail import Entry, Tail
from rtbridge.fanout.watched import Reader, State, Then, Watched
from rtbridge.metrics import Metrics
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication
from rtbridge.runtime.loop import Loop, Timer, run_logged

__all__ = ["Fanout", "Reader"]

logger = logging.getLogger("rtbridge")
RETRY = 1.0
"""Seconds until another attempt to repair, when the bus failed."""
SWEEP_CHUNK = 100
"""Channels whose positions one question to the bus compares."""

Found = Page | Gap | BusError
Checks = list[tuple[Watched, Position, Position]]


class Fanout:
    """Make one per process, and have the bus `listen` to it. All but `arrived` and `suspect`: in the turn.

    Counts `fanout_repairs` and `fanout_gaps`; shows `fanout_channels` and `fanout_tail_bytes`.
    """

    def __init__(self, bus: Bus, loop: Loop, limits: Limits, metrics: Metrics) -> None:
        self._bus = bus
        self._loop = loop
        self._limits = limits
        self._metrics = metrics
        self._asker = Asker(loop, bus.blocking)
        self._stock = Stock(limits.tail_bytes, limits.tail_publications)
        self._channels: dict[str, Watched] = {}
        self._idle: OrderedDict[str, float] = OrderedDict()  # without readers: since when, longest first
        self._marked: list[Watched] = []
        self._reads: dict[tuple[str, Position | None, int], list[Callable[[Found], object]]] = {}
        self._ticker: Timer | None = None
        self._sweeping = 0
        self.watching: Callable[[str], object] | None = None
        """Called with the name of each channel that somebody has begun to watch here."""

    # For the floors above.

    def when_ready(self, channel: str, keep: Keep, then: Then) -> None:
        """Call `then` with the channel's tail, watched and primed, or with the BusError that was in the way.

        At once where the tail is there, else later in a turn; many who wait cost one watch and one read.
        """
        watched = self._channels.get(channel)
        if watched is None:
            watched = self._channels[channel] = Watched(channel, keep)
            watched.waiting.append(then)
            self._start_ticking()
            self._prime(watched)
            if self.watching is not None:
                self.watching(channel)
        elif watched.tail is not None:
            self._touch(watched)
            then(watched.tail)
        else:
            watched.waiting.append(then)

    def join(self, channel: str, reader: Reader) -> None:
        """From now on tell `reader` of news. Then let it look once: something may have come before.

        Raises:
            LookupError: if the channel is not here; `when_ready` comes first.
        """
        watched = self._channels.get(channel)
        if watched is None or watched.tail is None:
            raise LookupError(f"channel {channel!r} is not watched here: call when_ready before join")
        watched.resting.pop(reader, None)
        watched.readers[reader] = None
        self._idle.pop(channel, None)

    def rest(self, channel: str, reader: Reader) -> None:
        """Tell `reader`, who can take nothing now, of no news until it joins again; for its sake the channel stays.

        It must have joined.
        """
        watched = self._channels.get(channel)
        if watched is not None:
            watched.readers.pop(reader, None)
            watched.resting[reader] = None

    def leave(self, channel: str, reader: Reader) -> None:
        """No longer tell `reader`. After the last one the channel stays for `limits.tail_linger` seconds."""
        watched = self._channels.get(channel)
        if watched is not None and (reader in watched.readers or reader in watched.resting):
            watched.readers.pop(reader, None)
            watched.resting.pop(reader, None)
            self._touch(watched)

    def readers(self, channel: str) -> int:
        """How many readers the channel has."""
        watched = self._channels.get(channel)
        return 0 if watched is None else len(watched.readers) + len(watched.resting)

    def channels(self) -> list[str]:
        """All channels that this process watches."""
        return list(self._channels)

    def wanted(self, channel: str, within: float) -> bool | None:
        """Whether the channel has a reader, or was asked for in the last `within` seconds; None if it is not here."""
        watched = self._channels.get(channel)
        if watched is None or watched.state is State.LEAVING:
            return None
        if watched.readers or watched.waiting:
            return True
        since = self._idle.get(channel)
        return since is not None and self._loop.now() - since <= within

    def tail(self, channel: str) -> Tail | None:
        """The channel's tail if it is watched and primed. Asking keeps it so."""
        watched = self._channels.get(channel)
        if watched is None or watched.tail is None:
            return None
        self._touch(watched)
        return watched.tail

    def read_bus(
        self,
        channel: str,
        after: Position | None,
        limit: int,
        then: Callable[[Found], object],
    ) -> None:
        """Read what the tail no longer holds; see `Log.read`. Many who ask the same cost one read.

        `then` is called at once where the bus does not block.
        """
        question = (channel, after, limit)
        if question in self._reads:
            self._reads[question].append(then)
            return
        self._reads[question] = [then]
        self._asker.ask(partial(self._bus.read, *question), partial(self._was_read, question))

    def _was_read(self, question: tuple[str, Position | None, int], found: Found) -> None:
        for then in self._reads.pop(question):
            run_logged(then, (found,))

    def close(self) -> None:
        """Tell nobody anything any more."""
        if self._ticker is not None:
            self._ticker.cancel()
        self._channels.clear()
        self._idle.clear()

    # For the bus, from any thread.

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        self._loop.call_soon(self._arrived, channel, epoch, publications)

    def suspect(self, channel: str | None) -> None:
        self._loop.call_soon(self._suspect, channel)

    # What arrives.

    def _arrived(self, channel: str, epoch: str, publications: tuple[Publication, ...]) -> None:
        watched = self._channels.get(channel)
        if watched is None or watched.state is State.LEAVING:
            return
        tail = watched.tail
        if (
            watched.state is State.READY
            and tail is not None
            and epoch == tail.epoch
            and publications[0].offset == tail.last + 1
            and publications[-1].offset == tail.last + len(publications)
        ):
            # They were published together: there is no hole.
            self._stock.append(tail, *map(Entry, publications))
            self._mark(watched)
            return
        for publication in publications:
            self._take(watched, epoch, publication)

    def _take(self, watched: Watched, epoch: str, publication: Publication) -> None:
        tail = watched.tail
        live = watched.state is State.READY or watched.keep.kind == "volatile"
        if live and tail is not None and self._place(watched, tail, epoch, publication):
            return
        watched.hold(epoch, publication, self._limits.tail_publications, self._limits.page_bytes)
        if watched.state is State.READY and tail is not None:
            self._repair(watched, tail)

    def _place(self, watched: Watched, tail: Tail, epoch: str, publication: Publication) -> bool:
        """Append it if it belongs at the end, or pass over it if it is here. False: something is missing."""
        offset = publication.offset
        if epoch != tail.epoch:
            if watched.keep.kind != "volatile":
                return False
            self._stock.restart(tail, Position(epoch, offset - 1))
        elif offset <= tail.last:
            return True
        elif offset != tail.last + 1 and watched.keep.kind == "history":
            return False
        self._stock.append(tail, Entry(publication))
        self._mark(watched)
        return True

    def _mark(self, watched: Watched) -> None:
        if watched.readers and not watched.marked:
            watched.mark(self._loop.now())
            self._marked.append(watched)
            if len(self._marked) == 1:
                self._loop.call_soon(self._spread)

    def _spread(self) -> None:
        """Tell the readers, once for all that came before. Where more keeps coming, look again next turn."""
        marked, self._marked = self._marked, []
        now = self._loop.now()
        for watched in marked:
            if watched.tail is not None and watched.grows(now):
                self._marked.append(watched)
                continue
            watched.marked = False
            channel = watched.channel
            for reader in tuple(watched.readers):
                try:
                    reader.news(channel)
                except Exception:
                    logger.exception("A reader of %s failed", channel)
        if self._marked:
            self._loop.call_soon(self._spread)

    # Priming and repairing.

    def _prime(self, watched: Watched) -> None:
        watched.state = State.PRIMING
        watched.release()
        watched.again = False
        channel = watched.channel

        def prime() -> Page | Gap:
            self._bus.watch(channel)
            return self._bus.read(channel, None, self._limits.tail_prime)

        self._asker.ask(prime, partial(self._primed, watched))

    def _primed(self, watched: Watched, found: Found) -> None:
        if self._is_gone(watched):
            return
        if isinstance(found, BusError):
            waiting, watched.waiting = watched.waiting, []
            self._leave_bus(watched)  # first: who hears of the error may ask again at once
            _answer(waiting, found)
            return
        watched.tail = Tail(watched.channel, watched.keep.kind, found.position)
        if isinstance(found, Page) and watched.keep.kind != "volatile":
            self._refill(watched.tail, found)
        self._touch(watched)
        self._go_live(watched, watched.tail, 0)
        waiting, watched.waiting = watched.waiting, []
        _answer(waiting, watched.tail)

    def _repair(self, watched: Watched, tail: Tail) -> None:
        """Read on from the end of the tail. What was held before, the read makes superfluous.

        From here until it is live again, a channel has one chain of reads.
        """
        if self._is_gone(watched) or watched.tail is not tail:
            return
        watched.state = State.REPAIRING
        watched.again = False
        self._metrics.add("fanout_repairs")
        question = partial(self._bus.read, watched.channel, tail.position(), self._limits.page_publications)
        self._asker.ask(question, partial(self._repaired, watched, tail, len(watched.held)))

    def _repaired(self, watched: Watched, tail: Tail, superfluous: int, found: Found) -> None:
        if self._is_gone(watched) or watched.tail is not tail:
            return
        if isinstance(found, BusError):
            self._loop.call_later(RETRY, self._repair, watched, tail)
            return
        if isinstance(found, Gap):
            self._go_on_from(watched, tail, found.position)
        else:
            self._absorb(tail, found)
            self._mark(watched)
        if isinstance(found, Page) and found.more:
            # Not at once: where the bus does not block, that would nest as deep as there are pages.
            self._loop.call_soon(self._repair, watched, tail)
        else:
            self._go_live(watched, tail, superfluous)

    def _go_on_from(self, watched: Watched, tail: Tail, position: Position) -> None:
        """Readers stand where the tail no longer reaches; they will ask the bus and be told of the gap."""
        self._metrics.add("fanout_gaps")
        self._stock.restart(tail, position)
        self._mark(watched)

    def _go_live(self, watched: Watched, tail: Tail, superfluous: int) -> None:
        """Place what was held since the read began; if that leaves a hole, read again."""
        watched.state = State.READY
        held = watched.release()[superfluous:]
        left = [(epoch, p) for epoch, p in held if not self._place(watched, tail, epoch, p)]
        for epoch, publication in left:
            watched.hold(epoch, publication, self._limits.tail_publications, self._limits.page_bytes)
        if (left or watched.again) and watched.keep.kind != "volatile":
            watched.state = State.REPAIRING
            self._loop.call_soon(self._repair, watched, tail)

    def _absorb(self, tail: Tail, page: Page) -> None:
        if page.position.epoch != tail.epoch:
            self._refill(tail, page)  # a `latest` channel goes on in another epoch without a gap
            return
        for publication in page.publications:
            if publication.offset > tail.last:
                self._stock.append(tail, Entry(publication))
        if page.position.offset > tail.last:
            self._stock.restart(tail, page.position)  # there were more, but they are no longer kept

    def _refill(self, tail: Tail, page: Page) -> None:
        first = page.publications[0].offset if page.publications else page.position.offset + 1
        self._stock.restart(tail, Position(page.position.epoch, first - 1))
        for publication in page.publications:
            self._stock.append(tail, Entry(publication))

    # Comparing positions.

    def _suspect(self, channel: str | None) -> None:
        if channel is None:
            self._compare(list(self._channels.values()))
        elif channel in self._channels:
            self._compare([self._channels[channel]])

    def _compare(self, several: list[Watched]) -> None:
        """Ask where the logs stand; that also renews their lives."""
        checks: list[tuple[Watched, Position]] = []
        for watched in several:
            if watched.state is State.READY and watched.tail is not None:
                checks.append((watched, watched.tail.position()))
            else:
                watched.again = True
        for start in range(0, len(checks), SWEEP_CHUNK):
            self._sweeping += 1
            self._asker.ask(partial(self._positions, checks[start : start + SWEEP_CHUNK]), self._compared)

    def _positions(self, checks: list[tuple[Watched, Position]]) -> Checks:
        """Outside the turn, where the bus blocks."""
        now = self._bus.positions([watched.channel for watched, _ in checks])
        return [(watched, before, here) for (watched, before), here in zip(checks, now, strict=True)]

    def _compared(self, checks: Checks | BusError) -> None:
        self._sweeping -= 1
        if isinstance(checks, BusError):
            return  # the next sweep will see
        for watched, before, now in checks:
            if self._is_gone(watched) or watched.state is not State.READY or watched.tail is None:
                continue
            if watched.keep.kind == "volatile":
                continue  # nothing can be read; and to jump ahead would pass over what is still on its way
            known = watched.tail.position()
            # Behind what was known before we asked: the log has lost something that we have.
            backwards = now.epoch == before.epoch and now.offset < before.offset
            if now.epoch != known.epoch and known == before and watched.keep.kind == "history":
                # To read on from another log gives a gap to where we know already. When Redis was away that spares
                # one question for each channel there is.
                self._go_on_from(watched, watched.tail, now)
            elif now.epoch != known.epoch or now.offset > known.offset or backwards:
                self._repair(watched, watched.tail)

    # Lingering and leaving.

    def _touch(self, watched: Watched) -> None:
        if not watched.readers and not watched.resting:
            self._idle[watched.channel] = self._loop.now()
            self._idle.move_to_end(watched.channel)
            if watched.tail is not None:
                self._stock.touch(watched.tail)

    def _start_ticking(self) -> None:
        if self._ticker is None:
            self._ticker = self._loop.call_later(self._limits.sweep_interval, self._tick)

    def _tick(self) -> None:
        self._ticker = None
        until = self._loop.now() - self._limits.tail_linger
        while self._idle and next(iter(self._idle.values())) <= until:
            self._leave_bus(self._channels[self._idle.popitem(last=False)[0]])
        for watched in self._channels.values():
            if watched.keep.kind == "volatile" and watched.tail is not None:
                watched.aged = self._stock.drop_until(watched.tail, watched.aged)
        if self._bus.blocking and not self._sweeping:
            # Those that are just being read have their turn at the next tick.
            self._compare([w for w in self._channels.values() if w.state is State.READY])
        self._metrics.gauge("fanout_channels", len(self._channels))
        self._metrics.gauge("fanout_tail_bytes", self._stock.size)
        if self._channels:
            self._start_ticking()

    def _leave_bus(self, watched: Watched) -> None:
        watched.state = State.LEAVING
        watched.release()
        self._idle.pop(watched.channel, None)
        if watched.tail is not None:
            self._stock.forget(watched.tail)
            watched.tail = None
        self._asker.ask(partial(self._bus.unwatch, watched.channel), partial(self._left, watched))

    def _left(self, watched: Watched, _: BusError | None) -> None:
        if self._is_gone(watched):
            return
        if watched.waiting:
            self._prime(watched)
        else:
            del self._channels[watched.channel]

    def _is_gone(self, watched: Watched) -> bool:
        return self._channels.get(watched.channel) is not watched


def _answer(waiting: list[Then], answer: Tail | BusError) -> None:
    for then in waiting:
        run_logged(then, (answer,))
