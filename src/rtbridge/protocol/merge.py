"""Merge and dedupe: what a client does with each message about a channel.

These are the rules of "Keeping the cursor" on the protocol page, and the reason why nothing else has to be
careful: two connections at once, repeated polls and late answers may overlap as they like. Each publication
comes out once and in order, or the caller is told of a gap or to subscribe again; never silently less.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtbridge.protocol.messages import GapPush, Publications, SnapshotPush, Subscribed
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a client stands in one channel.

    Attributes:
        position: None until the first answer.
        keep: `history`, `latest`, `volatile` or `private`, from the newest `subscribed` reply. `history` until
            then, the strictest.
    """

    position: Position | None = None
    keep: str = "history"


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of merging one message.

    Attributes:
        deliver: the publications that are new, in order.
        cursor: the cursor from now on.
        gap: tell the application that something is missing before what comes next.
        resubscribe: nothing could be delivered; subscribe again from the cursor.
        snapshot: give the application the message's snapshot, in place of all that came before; with `gap`
            it makes up for what is missing.
    """

    deliver: tuple[Publication, ...]
    cursor: Cursor
    gap: bool = False
    resubscribe: bool = False
    snapshot: bool = False


def merge(cursor: Cursor, message: Subscribed | Publications | GapPush | SnapshotPush) -> Merged:
    """Merge one message about a channel into the cursor that the client has for it."""
    if isinstance(message, Subscribed):
        cursor = Cursor(cursor.position, message.keep)
        if message.snapshot:
            return Merged((), cursor)
    here, there = cursor.position, message.position
    is_snapshot = isinstance(message, SnapshotPush)
    if isinstance(message, GapPush) or (not isinstance(message, Publications) and message.recovered is False):
        if here is not None and here.epoch == there.epoch and here.offset >= there.offset:
            return Merged((), cursor)  # another connection was faster, and bridged it
        return Merged((), Cursor(there, cursor.keep), gap=True, snapshot=is_snapshot)
    # Who has a cursor already needs no snapshot: from there on every publication is to be had.
    publications = () if isinstance(message, SnapshotPush) else message.publications
    if here is None:
        return Merged(publications, Cursor(there, cursor.keep), snapshot=is_snapshot)
    if here.epoch != there.epoch:
        return _other_log(cursor, there, publications)
    return _same_log(cursor, here, there, publications)


def _other_log(cursor: Cursor, there: Position, publications: tuple[Publication, ...]) -> Merged:
    """Another epoch without a gap: only a channel whose older publications are no loss can go on."""
    if cursor.keep in ("history", "private"):
        return Merged((), cursor, resubscribe=True)
    return Merged(publications, Cursor(there, cursor.keep))


def _same_log(
    cursor: Cursor, here: Position, there: Position, publications: tuple[Publication, ...]
) -> Merged:
    fresh = tuple(item for item in publications if item.offset > here.offset)
    if cursor.keep == "history" and not _whole(fresh, here.offset, there.offset):
        return Merged((), cursor, resubscribe=True)
    return Merged(fresh, Cursor(there if there.offset > here.offset else here, cursor.keep))


def _whole(fresh: tuple[Publication, ...], after: int, to: int) -> bool:
    """Whether `fresh` is every offset beyond `after` up to `to`; as offsets rise, three numbers tell."""
    if not fresh:
        return to <= after
    return fresh[0].offset == after + 1 and fresh[-1].offset == to == after + len(fresh)
