"""Who stands together at a channel's end: the news is encoded once and costs each of them one `send`.

Of a thousand sockets that follow a channel nearly all have nothing unsent and stand exactly at the tail's end.
They are *members* of a live group: the group is the fanout's reader in their place, its position is theirs, and
there is nothing else to keep for them. Whose socket does not take all of it leaves the group with a position of
its own, reads for itself like anybody who is behind, and comes back once it has caught up.

What a group sends, it sends to all its members within one turn; so one position says what all of them have. For that
a group is bounded: more members make more groups, and other work has its turn in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rtbridge.config import Limits
from rtbridge.fanout import Entry, Fanout, Tail
from rtbridge.metrics import Metrics
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap
from rtbridge.session.flusher import Flusher
from rtbridge.session.outlet import Wire
from rtbridge.session.subscription import Encoder, end_of

if TYPE_CHECKING:
    from rtbridge.session.following import Following

SIZE = 1_000
"""Most members of one group: 1,000 sends take some 6 ms."""
WORTH = 4
"""Readers of a channel from which on a group is worth its memory."""
MOST = 65_536
"""Bytes of publications in one send, where there are several."""
LOST = -1
"""What was sent to a socket that is broken."""


class Sink(Protocol):
    """A socket that never blocks."""

    def send(self, data: bytes, /) -> int:
        """As `socket.send`: how many bytes it took, or an OSError."""


class LiveGroup:
    """Members on one wire at one position of one channel. In the turn only."""

    __slots__ = ("_due", "_groups", "channel", "members", "position", "wire")

    def __init__(self, groups: LiveGroups, channel: str, wire: Wire, position: Position) -> None:
        self._groups = groups
        self._due = False
        self.channel = channel
        self.wire = wire
        self.position = position
        self.members: dict[Following, Sink] = {}

    @property
    def weight(self) -> int:
        return len(self.members)

    def news(self, channel: str) -> None:
        """(Fanout's callback.)"""
        if not self._due:
            self._due = True
            self._groups.flusher.add_first(self)

    def flush(self) -> None:
        """Send the members what came since the last time."""
        self._due = False
        if not self.members:
            return
        groups = self._groups
        tail = groups.fanout.tail(self.channel)
        found = tail and tail.after(self.position, groups.limits.page_publications, MOST)
        if tail is None or found is None or isinstance(found, Gap):
            self.abandon()
        elif found:
            self._send_all(tail, found)
        else:
            self.position = tail.position()  # a volatile channel moved on: see `pull`

    def _send_all(self, tail: Tail, found: list[Entry]) -> None:
        groups = self._groups
        position, more = end_of(found, tail)
        data = groups.encoder.publications(self.wire, self.channel, tail, found, more)
        self.position = position
        groups.metrics.add("deliveries", len(found) * len(self.members))
        for member, sent in self._send(data):
            member.fall_behind(data, sent)
        if more:
            self.news(self.channel)

    def _send(self, data: bytes) -> list[tuple[Following, int]]:
        """To each member; those that did not take all of it, and how much they took."""
        size = len(data)
        failed: list[tuple[Following, int]] = []
        for member, sink in self.members.items():
            try:
                sent = sink.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                sent = LOST
            if sent != size:
                failed.append((member, sent))
        return failed

    def abandon(self) -> None:
        """What comes next is not in the tail: let each member read on, and be told of a gap, by itself."""
        for member in list(self.members):
            member.go_alone()
            member.outlet.due()

    def leave(self, member: Following) -> None:
        del self.members[member]
        if not self.members:
            self._groups.forget(self)


class LiveGroups:
    """The live groups of a process. In the turn only."""

    def __init__(
        self, fanout: Fanout, flusher: Flusher, encoder: Encoder, limits: Limits, metrics: Metrics
    ) -> None:
        self.fanout = fanout
        self.flusher = flusher
        self.encoder = encoder
        self.limits = limits
        self.metrics = metrics
        self._groups: dict[tuple[str, str], list[LiveGroup]] = {}

    def join(self, member: Following, channel: str, position: Position, sink: Sink) -> LiveGroup | None:
        """The group that the member now belongs to, in place of being the fanout's reader; or None: it goes on alone.

        It must stand at the tail's end with nothing unsent.
        """
        group = self._find(channel, member.outlet.wire, position)
        if group is not None:
            group.members[member] = sink
            self.fanout.leave(channel, member)
        return group

    def _find(self, channel: str, wire: Wire, position: Position) -> LiveGroup | None:
        key = (channel, wire.name)
        groups = self._groups.get(key)
        if groups is None:
            if self.fanout.readers(channel) < WORTH:
                return None
            groups = self._groups[key] = []
        room = False
        for group in groups:
            if len(group.members) < SIZE:
                if group.position == position:
                    return group
                room = True  # it has not been flushed yet: rather wait for it than begin another
        if room:
            return None
        group = LiveGroup(self, channel, wire, position)
        self.fanout.join(channel, group)
        groups.append(group)
        return group

    def forget(self, group: LiveGroup) -> None:
        key = (group.channel, group.wire.name)
        groups = self._groups[key]
        groups.remove(group)
        if not groups:
            del self._groups[key]
        self.fanout.leave(group.channel, group)
