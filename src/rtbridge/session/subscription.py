"""One session's place in one channel: a reader with a position, nothing more.

`pull` answers "what comes after my position" from the channel's tail, already encoded once for everybody on
the same wire. No message is ever queued here: what is not taken now is asked for again later.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.fanout import Entry, Tail
from rtbridge.protocol.messages import Subscribed
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Publication
from rtbridge.session.outlet import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtbridge.session.awaiting import State
    from rtbridge.session.live import LiveGroup


NO_PARAMS: Mapping[str, object] = MappingProxyType({})
"""Those of a channel without any: one for all."""


class Subscription:
    """A position in a channel, on behalf of one session.

    Attributes:
        position: what was sent; while it is in a live group it means nothing, for the group's holds.
        group: the live group it stands in, if any.
    """

    __slots__ = ("channel", "declaration", "group", "params", "position", "state")

    def __init__(
        self, channel: str, declaration: ChannelDeclaration, params: Mapping[str, object], position: Position
    ) -> None:
        self.channel = sys.intern(channel)
        self.declaration = declaration
        self.params = params or NO_PARAMS
        self.position = position
        self.group: LiveGroup | None = None
        self.state: State | None = None


def pull(subscription: Subscription, tail: Tail, limit: int, max_bytes: int) -> list[Entry] | Gap | None:
    """What `tail` holds after the subscription's position, which it does not move.

    Returns:
        Entries, none if up to date; the same list for all who stand at the same position. A gap to tell of.
        None if the bus must be asked.
    """
    now = tail.position()
    # Who took everything last time holds the tail's own position object: the usual case costs one comparison.
    if subscription.position is now:
        return []
    if subscription.position == now:
        subscription.position = now
        return []
    found = tail.after(subscription.position, limit, max_bytes)
    if found is not None and not isinstance(found, Gap) and not found:
        # A volatile channel moved on while nobody could be told: that is its nature, not a gap.
        subscription.position = now
    return found


def end_of(entries: list[Entry], tail: Tail) -> tuple[Position, bool]:
    """The position after `entries`, and whether the tail holds more behind them."""
    last = entries[-1].offset
    if last == tail.last:
        return tail.position(), False
    return Position(tail.epoch, last), True


class Encoder:
    """Encodes publications for a wire, once for all who are sent the same.

    A single publication keeps its finished bytes for as long as it is in a tail. Of batches only the newest
    of each wire is
    kept: readers that stand at the same position follow each other.
    """

    def __init__(self) -> None:
        self._newest: dict[str, tuple[list[Entry], bytes]] = {}
        self._replies: dict[str, tuple[list[Entry], Subscribed, bytes]] = {}

    def publications(self, wire: Wire, channel: str, tail: Tail, entries: list[Entry], more: bool) -> bytes:
        """The push for `entries` of `tail`."""
        if len(entries) == 1 and not more:
            entry = entries[0]
            forms = entry.forms
            if forms is not None and wire.name in forms:
                return forms[wire.name]
            return entry.form(wire.name, lambda _: self._encode(wire, channel, tail, entries, False))
        newest = self._newest.get(wire.name)
        if newest is not None and newest[0] is entries:
            return newest[1]
        made = self._encode(wire, channel, tail, entries, more)
        self._newest[wire.name] = (entries, made)
        return made

    def subscribed(self, wire: Wire, reply: Subscribed, entries: list[Entry]) -> bytes:
        """The `reply` to a subscribe, with `entries` for its publications: who comes back after an outage gets the same
        as everybody else who does."""
        newest = self._replies.get(wire.name)
        if newest is not None and newest[0] is entries and newest[1] == reply:
            return newest[2]
        whole = replace(reply, publications=tuple([entry.publication for entry in entries]))
        made = wire.wrap(wire.codec.encode(whole))
        self._replies[wire.name] = (entries, reply, made)
        return made

    def _encode(self, wire: Wire, channel: str, tail: Tail, entries: list[Entry], more: bool) -> bytes:
        codec = wire.codec
        fragments = [entry.form(codec.name, codec.publication) for entry in entries]
        position = Position(tail.epoch, entries[-1].offset)
        return wire.wrap(codec.publications(channel, position, fragments, more))


def page_on(
    wire: Wire, channel: str, position: Position, publications: Sequence[Publication], more: bool
) -> bytes:
    """The push for a page that was read from the bus."""
    fragments = [wire.codec.publication(p) for p in publications]
    return wire.wrap(wire.codec.publications(channel, position, fragments, more))
