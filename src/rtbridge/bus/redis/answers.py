"""What scripts answer and tell, as the house knows it."""

from __future__ import annotations

from typing import Any

from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication


def position(answer: bytes) -> Position:
    epoch, _, offset = answer.decode().rpartition(".")
    return Position(epoch, int(offset))


def entry(raw: bytes) -> Publication:
    """An entry of a history: "<offset> <cause>\\n<data>"."""
    head, _, data = raw.partition(b"\n")
    offset, _, cause = head.decode().partition(" ")
    return Publication(int(offset), data, cause or None)


def notification(head: bytes, news: bytes) -> tuple[str, list[Publication]]:
    """What scripts/publish.lua told of: epoch and publications. `head` is "<epoch> <first offset> <size> ..."."""
    epoch, start, *sizes = head.split(b" ")
    first, parts = int(start), news.split(b"\n")
    if len(parts) != 2 * len(sizes):  # there are line ends in the data: then the sizes tell
        parts, at = [], 0
        for size in map(int, sizes):
            cause, _, data = news[at : at + size].partition(b"\n")
            parts += (cause, data)
            at += size + 1
    offsets, causes = range(first, first + len(sizes)), parts[::2]
    if any(causes):
        told = map(Publication, offsets, parts[1::2], [cause.decode() or None for cause in causes])
    else:
        told = map(Publication, offsets, parts[1::2])
    return epoch.decode(), list(told)


def page(answer: list[Any], after: Position | None) -> Page | Gap:
    """The answer of scripts/read.lua to what comes after a position.

    The offsets are looked at: should somebody have meddled with the history, that is a gap and no lie.
    """
    here, state = position(answer[0]), answer[1]
    publications = tuple(entry(raw) for raw in answer[2:])
    if state == b"gap":
        return Gap(here)
    if len(publications) > 1:
        first = publications[0].offset
        if any(p.offset != first + i for i, p in enumerate(publications)):
            return Gap(here)
    if state == b"more":
        return Page(Position(here.epoch, publications[-1].offset), publications, True)
    return Page(here, publications)
