"""One session's place in one channel: a reader with a position, nothing more.

`pull` answers "what comes after my position" from the channel's tail, already encoded once for everybody on
the same wire. No message is ever queued here: what is not taken now is asked for again later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.fanout import Entry, Tail
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Publication
from rtbridge.session.outlet import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence


class Subscription:
    """A position in a channel, on behalf of one session."""

    __slots__ = ("channel", "declaration", "params", "position", "reading")

    def __init__(
        self, channel: str, declaration: ChannelDeclaration, params: dict[str, object], position: Position
    ) -> None:
        self.channel = channel
        self.declaration = declaration
        self.params = params
        self.position = position
        self.reading = False  # a page of the bus is on its way


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull found: entries to send, a gap to tell, or that the bus must be asked."""

    entries: Sequence[Entry] = ()
    gap: Gap | None = None
    ask_bus: bool = False
    more: bool = False


NOTHING = Pulled()


def pull(subscription: Subscription, tail: Tail, limit: int, max_bytes: int) -> Pulled:
    """What `tail` holds after the subscription's position; does not move the position."""
    if subscription.position == tail.position():
        return NOTHING
    found = tail.after(subscription.position, limit, max_bytes)
    if found is None:
        return Pulled(ask_bus=True)
    if isinstance(found, Gap):
        return Pulled(gap=found)
    if not found:
        # A volatile channel moved on while nobody could be told: that is its nature, not a gap.
        subscription.position = tail.position()
        return NOTHING
    return Pulled(entries=found, more=found[-1].offset < tail.last)


def publications_on(wire: Wire, channel: str, epoch: str, entries: Sequence[Entry], more: bool) -> bytes:
    """The push for `entries` on a wire. A single one is encoded and framed once per process and shared."""
    codec = wire.codec
    if len(entries) == 1 and not more:
        return entries[0].form(
            wire.name,
            lambda p: wire.wrap(
                codec.publications(channel, Position(epoch, p.offset), [codec.publication(p)], False)
            ),
        )
    fragments = [entry.form(codec.name, codec.publication) for entry in entries]
    return wire.wrap(codec.publications(channel, Position(epoch, entries[-1].offset), fragments, more))


def page_on(
    wire: Wire, channel: str, position: Position, publications: Sequence[Publication], more: bool
) -> bytes:
    """The push for a page that was read from the bus."""
    fragments = [wire.codec.publication(p) for p in publications]
    return wire.wrap(wire.codec.publications(channel, position, fragments, more))
