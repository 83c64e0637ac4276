"""A feed: what the application takes publications from.

Think of a letter box of bounded size. The loop puts, one thread or greenlet of the application takes. When the
box is full the channel is put on hold: nothing more is taken from the server until the box is half empty, and then
we go on from the cursor. So a slow reader costs a box, not the memory of the process; if it falls off the end of
the history, it finds a `Gap` in the box like anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from rtbridge.client.errors import ClientError, FeedClosed
from rtbridge.protocol import data as _data
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication
from rtbridge.runtime import Loop

INBOX = 1000
"""Items after which a feed is full. One more answer of the server may come on top."""


@dataclass(frozen=True, slots=True)
class Item:
    """One publication.

    Attributes:
        channel: where it was published.
        data: its value, as the publisher gave it; bytes are `bytes`.
        offset: its number in the channel's log.
        position: where to go on after it, for `subscribe(position=…)` in some later process.
        cause: the `call_id` of the call that published it, if one did.
    """

    channel: str
    data: object
    offset: int
    position: str
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Something before `position` is lost to us: fetch your state anew, what follows goes on from there."""

    channel: str
    position: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the channel as of `position`, in place of all that came before; what follows goes on from there.

    Attributes:
        data: what the channel's snapshot function returned.
        gap: whether it makes up for publications that are lost to us.
    """

    channel: str
    data: object
    position: str
    gap: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    error: ClientError


_Entry: TypeAlias = tuple[str, Publication]
Taken: TypeAlias = Item | Gap | Snapshot
"""What is taken from a feed."""


class Feed:
    """The publications of one channel: iterate over it, or `get` them one by one; in one thread at a time.

    Iterating blocks. It yields `Item`s in the order of the log, each once, and a `Gap` where something was lost; or a
    `Snapshot`, at first and in place of gaps, if that was asked for and the channel has one. It ends when the feed or
    the client is closed, and raises `FeedError` where the server ends the subscription, or `ConnectionStopped` where it
    ends the session.
    """

    def __init__(
        self,
        channel: str,
        position: str | None,
        loop: Loop,
        *,
        close: Callable[[], None],
        drained: Callable[[], None],
        inbox: int = INBOX,
    ) -> None:
        self.channel = channel
        self.position = position
        """After the last item that was taken; until then the one that was asked for."""
        self._box = loop.mailbox()
        self._ready = loop.mailbox()
        self._close = close
        self._inbox = inbox
        self._end: _End | None = None
        self._confirmed: str | None = None
        self._told = False
        # One counter for each side, so that neither needs a lock.
        self._put = 0
        self._taken = 0
        self._held = False
        self._drained = drained

    def wait(self, timeout: float | None = 10.0) -> str:
        """Wait until the server has confirmed the subscription.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            The position from which the channel is followed; what is published from now on will come.

        Raises:
            TimeoutError: not within `timeout`. The client goes on trying.
            FeedError: the server refused.
        """
        if self._confirmed is None:
            answer = self._ready.get(timeout)
            if answer is None:
                raise TimeoutError(f"{self.channel} was not confirmed within {timeout} s")
            self._ready.put(answer)
            if isinstance(answer, _End):
                raise answer.error.with_traceback(None)
            self._confirmed = str(answer)
        return self._confirmed

    def get(self, timeout: float | None = None) -> Taken:
        """The next item, waiting for it.

        Args:
            timeout: seconds; None waits for ever.

        Raises:
            TimeoutError: nothing came within `timeout`.
            FeedClosed: the feed or the client was closed, and everything was taken.
            FeedError, ConnectionStopped: the server ended it, and everything was taken.
        """
        if self._end is None:
            entry = self._box.get(timeout)
            if entry is None:
                raise TimeoutError(f"nothing on {self.channel} within {timeout} s")
            self._taken += 1
            if self._held and self._put - self._taken <= self._inbox // 2:
                self._held = False
                self._drained()
            if not isinstance(entry, _End):
                return self._opened(entry)
            self._end = entry
        raise self._end.error.with_traceback(None)

    def close(self) -> None:
        """Follow the channel no more. Items that arrived already can still be taken."""
        self._close()

    def __iter__(self) -> Iterator[Taken]:
        return self

    def __next__(self) -> Taken:
        try:
            return self.get()
        except FeedClosed:
            raise StopIteration from None

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _opened(self, entry: object) -> Taken:
        if isinstance(entry, Gap | Snapshot):
            self.position = entry.position
            return entry
        assert isinstance(entry, tuple)
        epoch, publication = entry
        self.position = str(Position(epoch, publication.offset))
        return Item(self.channel, publication.value(), publication.offset, self.position, publication.cause)

    # -- for the client, in the loop's turn ---------------------------------------------------------------

    def put(self, epoch: str, publications: tuple[Publication, ...]) -> None:
        """New publications."""
        for publication in publications:
            self._add((epoch, publication))

    def put_gap(self, position: Position) -> None:
        """Something was lost."""
        self._add(Gap(self.channel, str(position)))

    def put_snapshot(self, position: Position, data: bytes, gap: bool) -> None:
        """The state, as canonical JSON."""
        self._add(Snapshot(self.channel, _data.decode(data), str(position), gap))

    def confirm(self, position: Position) -> None:
        """The subscription stands."""
        if not self._told:
            self._told = True
            self._ready.put(str(position))

    def finish(self, error: ClientError) -> None:
        """Nothing more will come; said once."""
        self._ready.put(_End(error))
        self._add(_End(error))

    def full(self) -> bool:
        """Whether the box is full. If so, `drained` will be called, in the taker's thread, when it is half empty."""
        if self._put - self._taken < self._inbox:
            return False
        # The taker looks at `_held` after it took, we count after we set it: one of us sees the other.
        self._held = True
        if self._put - self._taken <= self._inbox // 2:
            self._held = False
        return self._held

    def _add(self, entry: _Entry | Gap | Snapshot | _End) -> None:
        self._put += 1
        self._box.put(entry)
