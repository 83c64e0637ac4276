"""Publish commands, packed fast: what is the same for every publication of a channel is packed once.

Publications for one channel that leave together leave as one command, which costs Redis, its watchers and us little
more than one of them alone (see scripts/publish.lua).

A receipt makes a publication safe to repeat, alone or in other company. With an idempotency key it is kept under that
key. Without one, the publisher (this process) has numbered *places*, as many as it has publications on their way at
once, and one receipt for each place: the highest number wins, and a command that arrives late, after its own
repetition, finds itself done.
"""

from __future__ import annotations

import base64
import itertools
import random
import secrets
from collections.abc import Sequence

from rtbridge.bus.contract import Keep
from rtbridge.bus.redis.keys import Keys
from rtbridge.bus.redis.lua import script
from rtbridge.config import Limits

RECEIPT_TTL = 60.0
"""Seconds that a process's receipts are kept: longer than a publisher goes on trying."""
FOR_EVER = 315_360_000.0
"""Seconds (10 years) that an infinite history is kept."""
CACHED = 4096
"""Channels whose packed parts are remembered."""


class Outgoing:
    """One publication on its way.

    Attributes:
        prepared: those that have the same can leave together; None: it leaves alone.
        words: its own part of the command, packed.
    """

    __slots__ = ("place", "prepared", "words")

    def __init__(self, prepared: Prepared, place: bytes, words: bytes) -> None:
        self.prepared = prepared
        self.place = place
        self.words = words

    @property
    def partition(self) -> int:
        return self.prepared.partition

    def packed(self, fence: bytes) -> bytes:
        """The command for this one alone."""
        return self.prepared.pack([self.words], fence)


class Once:
    """A command that leaves a receipt of its own."""

    __slots__ = ("packed", "partition", "place")

    def __init__(self, partition: int, place: bytes, packed: bytes) -> None:
        self.partition = partition
        self.place = place
        self.packed = packed


class Prepared:
    """What is the same for all publications of one channel that are kept alike, with receipts in the same hash."""

    __slots__ = ("_fixed", "_publishing", "channel", "joins", "keep", "partition")

    def __init__(self, publishing: Publishing, channel: str, keep: Keep, key: str | None) -> None:
        keys, limits = publishing.keys, publishing.limits
        self._publishing = publishing
        self.channel = channel
        self.keep = keep
        self.joins = key is None
        """Whether others may leave with one of these."""
        self.partition = keys.partition(channel)
        self._fixed = _words(
            b"EVALSHA",
            script("publish").sha,
            b"3",
            keys.receipts(channel, publishing.name) if key is None else keys.idempotency(channel, key),
            keys.log(channel),
            keys.history(channel),
            channel.encode(),
            keep.kind[0].encode(),
            b"%d" % keep.size,
            b"0" if keep.kind == "latest" else milliseconds(min(keep.ttl, FOR_EVER)),
            milliseconds(limits.position_ttl),
            publishing.word,
            keys.lane(channel),
            milliseconds(RECEIPT_TTL if key is None else limits.idempotency_ttl),
        )

    def pack(self, words: Sequence[bytes], fence: bytes) -> bytes:
        """The command for several publications, in their order; its reply is a list of their positions."""
        return b"*%d\r\n%b$12\r\n%b\r\n$%d\r\n%b\r\n%b" % (
            16 + 3 * len(words), self._fixed, self._publishing.epoch(), len(fence), fence, b"".join(words),
        )  # fmt: skip


class Publishing:
    """Makes commands for scripts/publish.lua. One for a process.

    Args:
        sharded: whether notifications are.
    """

    def __init__(self, keys: Keys, limits: Limits, sharded: bool) -> None:
        self.keys = keys
        self.limits = limits
        self.word = b"SPUBLISH" if sharded else b"PUBLISH"
        self.name = secrets.token_urlsafe(6)
        self._random = random.Random(secrets.randbits(256))
        self._numbers = itertools.count(1)
        self._prepared: dict[str, Prepared] = {}
        self._free: list[bytes] = []
        self._places = itertools.count(1)

    def command(self, channel: str, data: bytes, keep: Keep, cause: str | None, key: str | None) -> Outgoing:
        if key is None:
            prepared = self._prepared.get(channel)
            if prepared is None or prepared.keep is not keep:
                prepared = self._prepare(channel, keep)
            place, number = self._take_place(), next(self._numbers)
        else:
            prepared, place, number = Prepared(self, channel, keep, key), b"", 0
        why = cause.encode() if cause else b""
        words = b"$%d\r\n%b\r\n$12\r\n%012d\r\n$%d\r\n%b\n%b\r\n" % (
            len(place), place, number, len(why) + 1 + len(data), why, data,
        )  # fmt: skip
        return Outgoing(prepared, place, words)

    def done(self, outgoing: Outgoing | Once) -> None:
        """It will not be tried again: its place is free."""
        if outgoing.place:
            self._free.append(outgoing.place)

    def once(self, name: str, what: str, keys: list[bytes], *arguments: bytes) -> Once:
        """The command for a script that begins with scripts/once.lua, about something of this name."""
        place = self._take_place()
        receipt = self.keys.receipt(name, self.name) + place
        number = b"%d" % next(self._numbers)
        command = script(what).command([*keys, receipt], *arguments, number, milliseconds(RECEIPT_TTL))
        return Once(self.keys.partition(name), place, command)

    def epoch(self) -> bytes:
        """A new one, 12 characters. Unlike `contract.new_epoch` without asking the operating system each time."""
        return base64.urlsafe_b64encode(self._random.getrandbits(72).to_bytes(9, "big"))

    def _take_place(self) -> bytes:
        try:
            return self._free.pop()
        except IndexError:
            return b"%d" % next(self._places)

    def _prepare(self, channel: str, keep: Keep) -> Prepared:
        if len(self._prepared) >= CACHED:
            self._prepared.clear()
        prepared = self._prepared[channel] = Prepared(self, channel, keep, None)
        return prepared


def milliseconds(seconds: float) -> bytes:
    return b"%d" % max(1, round(seconds * 1000))


def _words(*words: bytes) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
