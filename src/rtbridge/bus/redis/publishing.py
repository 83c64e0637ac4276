"""Publish commands, packed fast: what is the same for every publication of a channel is packed once.

A receipt makes a publication safe to repeat. With an idempotency key it is kept under that key. Without one, the
publisher (this process) has numbered *places*, as many as it has publications on their way at once, and one receipt
for each place: the highest number wins, and a command that arrives late, after its own repetition, finds itself done.
"""

from __future__ import annotations

import base64
import itertools
import random
import secrets

from rtbridge.bus.contract import Keep
from rtbridge.bus.redis.keys import Keys
from rtbridge.bus.redis.lua import script
from rtbridge.config import Limits

RECEIPT_TTL = 60.0
"""Seconds that a place's receipt is kept: longer than a publisher goes on trying."""
FOR_EVER = 315_360_000.0
"""Seconds (10 years) that an infinite history is kept."""
CACHED = 4096
"""Channels whose packed parts are remembered."""


class Outgoing:
    """A command that leaves a receipt: complete but for the fence, which the connection knows.

    `after` follows the fence; None: the command has none.
    """

    __slots__ = ("_after", "_before", "partition", "place")

    def __init__(self, partition: int, place: int, before: bytes, after: bytes | None) -> None:
        self.partition = partition
        self.place = place  # 0: none
        self._before = before
        self._after = after

    def packed(self, fence: bytes) -> bytes:
        if self._after is None:
            return self._before
        return b"%b$%d\r\n%b\r\n%b" % (self._before, len(fence), fence, self._after)


class _Prepared:
    """What is the same for all publications of one channel that are kept alike."""

    __slots__ = ("fixed", "keep", "partition", "receipt")

    def __init__(
        self, channel: str, keep: Keep, keys: Keys, publisher: str, limits: Limits, word: bytes
    ) -> None:
        self.keep = keep
        self.partition = keys.partition(channel)
        self.receipt = keys.receipt(channel, publisher)
        log_ttl = limits.position_ttl
        self.fixed = _words(
            keys.log(channel),
            keys.history(channel),
            channel.encode(),
            keep.kind[0].encode(),
            b"%d" % keep.size,
            b"0" if keep.kind == "latest" else milliseconds(min(keep.ttl, FOR_EVER)),
            milliseconds(log_ttl),
            word,
            keys.lane(channel),
        )


class Publishing:
    """Makes commands for scripts/publish.lua. One for a process.

    Args:
        sharded: whether notifications are.
    """

    def __init__(self, keys: Keys, limits: Limits, sharded: bool) -> None:
        self._keys = keys
        self._limits = limits
        self._word = b"SPUBLISH" if sharded else b"PUBLISH"
        sha = script("publish").sha
        self._head = b"*18\r\n" + _words(b"EVALSHA", sha, b"3")
        self._place_ttl = _words(milliseconds(RECEIPT_TTL))
        self._key_ttl = _words(milliseconds(limits.idempotency_ttl))
        self._random = random.Random(secrets.randbits(256))
        self._publisher = secrets.token_urlsafe(6)
        self._numbers = itertools.count(1)
        self._prepared: dict[str, _Prepared] = {}
        self._free: list[int] = []
        self._places = itertools.count(1)

    def command(self, channel: str, data: bytes, keep: Keep, cause: str | None, key: str | None) -> Outgoing:
        prepared = self._prepared.get(channel)
        if prepared is None or prepared.keep is not keep:
            prepared = self._prepare(channel, keep)
        if key is None:
            place = self._take_place()
            receipt, number, ttl = b"%b%d" % (prepared.receipt, place), next(self._numbers), self._place_ttl
        else:
            place = 0
            receipt, number, ttl = self._keys.idempotency(channel, key), 0, self._key_ttl
        news = b"%b\n%b" % (cause.encode() if cause else b"", data)
        before = b"%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n$12\r\n%b\r\n" % (
            self._head, len(receipt), receipt, prepared.fixed, len(news), news, self.epoch(),
        )  # fmt: skip
        digits = b"%d" % number
        return Outgoing(prepared.partition, place, before, b"$%d\r\n%b\r\n%b" % (len(digits), digits, ttl))

    def done(self, outgoing: Outgoing) -> None:
        """It will not be tried again: its place is free."""
        if outgoing.place:
            self._free.append(outgoing.place)

    def once(self, name: str, what: str, keys: list[bytes], *arguments: bytes) -> Outgoing:
        """The command for a script that begins with scripts/once.lua, about something of this name."""
        place = self._take_place()
        receipt = b"%b%d" % (self._keys.receipt(name, self._publisher), place)
        number = b"%d" % next(self._numbers)
        command = script(what).command([*keys, receipt], *arguments, number, milliseconds(RECEIPT_TTL))
        return Outgoing(self._keys.partition(name), place, command, None)

    def epoch(self) -> bytes:
        """A new one, 12 characters. Unlike `contract.new_epoch` without asking the operating system each time."""
        return base64.urlsafe_b64encode(self._random.getrandbits(72).to_bytes(9, "big"))

    def _take_place(self) -> int:
        try:
            return self._free.pop()
        except IndexError:
            return next(self._places)

    def _prepare(self, channel: str, keep: Keep) -> _Prepared:
        if len(self._prepared) >= CACHED:
            self._prepared.clear()
        prepared = _Prepared(channel, keep, self._keys, self._publisher, self._limits, self._word)
        self._prepared[channel] = prepared
        return prepared


def milliseconds(seconds: float) -> bytes:
    return b"%d" % max(1, round(seconds * 1000))


def _words(*words: bytes) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
