"""What the house asks of a bus, in words that every bus keeps. `tests/contracts/bus_contract.py` checks them.

A bus is three small things. A **log** per channel gives publications their positions and keeps a bounded
history; its listener hears of what is new, but hearing is a hint: the history is the truth. **Records** are
keyed bytes that expire. **Leases** are names that somebody must keep renewing, and whose lapse somebody is
told of.

All methods raise `BusUnavailable` when the bus is out of reach, and `BusError` when it is closed or
refuses. They may be called from any thread. Where `blocking` is true they may take long: never call them in
the loop's turn.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rtbridge.errors import DeclarationError
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication

Kind = Literal["history", "latest", "volatile"]


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of a channel is kept. Make it with `History(...)`, or take `LATEST` or `VOLATILE`.

    Attributes:
    kind: `history` keeps the newest `size`; `latest` the newest one, and skipped ones are no loss; `volatile`
    none: only who is connected gets it.
    size: publications kept.
    ttl: seconds a publication is kept at least, as long as it is among the newest `size`. A bus may keep it
    longer while newer ones arrive. Infinite: as long as the log itself.
    """

    kind: Kind
    size: int
    ttl: float


def History(size: int = 100, ttl: float = 3600.0) -> Keep:  # reads as a declaration
    """Keep the newest `size` publications, for at least `ttl` seconds each.

    Raises:
        DeclarationError: if that would keep nothing.
    """
    if size < 1 or not ttl > 0:
        raise DeclarationError(
            f"History({size}, ttl={ttl}) would keep nothing; for that there is keep='volatile'"
        )
    return Keep("history", size, float(ttl))


LATEST = Keep("latest", 1, math.inf)
VOLATILE = Keep("volatile", 0, 0.0)


@dataclass(frozen=True, slots=True)
class ToPublish:
    """One of several publications for `Log.publish_many`; the fields are the arguments of `Log.publish`."""

    channel: str
    data: bytes
    keep: Keep
    cause: str | None = None
    key: str | None = None


def new_epoch() -> str:
    """A random id for a new log: 12 characters, 72 bits, so that no two logs are ever taken for one another."""
    return secrets.token_urlsafe(9)


class Listener(Protocol):
    """What a bus calls above it: from any thread. It must not block or raise."""

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        """Something was published in a watched channel. In order for each channel, unless something was
        missed; what was told of together, in one call.
        """

    def suspect(self, channel: str | None) -> None:
        """Something may have been missed in this channel (None: in any): compare positions."""


class Log(Protocol):
    """The channels."""

    def publish(
        self,
        channel: str,
        data: bytes,
        keep: Keep,
        *,
        cause: str | None = None,
        key: str | None = None,
    ) -> Position:
        """Append canonical JSON `data` and tell the watchers.

        Args: channel: its name; the log is created where there is none. data: canonical JSON. keep: how
        much of the channel to keep from now on. cause: the id of the call that made it publish, for the
        caller to know its own echo. key: an idempotency key. The same key on the same channel, within
        `limits.idempotency_ttl` seconds, gives the first one's position and publishes nothing.

        Returns:
        The position of the publication.
        """

    def publish_many(self, publications: Sequence[ToPublish]) -> list[Position]:
        """`publish` each of these, in their order, asked for together.

        When it raises, the first few of a channel's may have been published; their keys tell which.
        """

    def read(self, channel: str, after: Position | None, limit: int) -> Page | Gap:
        """Give what comes after a position.

        A page has at most `limit` and at most `limits.page_publications` publications, and at most
        `limits.page_bytes` bytes of data but always one; `more` says that it was cut. It is empty when up
        to date.

        Args: after: None gives the newest `limit`, oldest first; then `more` is false and the page's
        position is the log's own.

        Returns: What is after the position, whole, or a `Gap` where it cannot be: the position is of
        another epoch, ahead of the log, or before what is kept. Where the newest publication was kept as
        `latest`, that one if its position differs from `after`, and never a gap; as `volatile`, an empty
        page with the log's position.
        """

    def position(self, channel: str) -> Position:
        """Where the log stands. Gives a log that has none its epoch.

        Epoch and counter live for `limits.position_ttl` seconds after the last publish, read, position or
        watch, however short the history is kept.
        """

    def positions(self, channels: Sequence[str]) -> list[Position]:
        """`position` of each of these, asked for together."""

    def watch(self, channel: str) -> None:
        """From the return on, the listener hears of this channel. Repeating it changes nothing."""

    def unwatch(self, channel: str) -> None:
        """The listener no longer wants to hear of it, however often it was watched."""


class Records(Protocol):
    """Small keyed values that expire. `ttl` is in seconds from now."""

    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        """Store it if there is none: None. Otherwise change nothing and give the one that is there."""

    def put(self, key: str, value: bytes, ttl: float) -> None:
        """Store it, whatever is there."""

    def get(self, key: str) -> bytes | None:
        """The value, or None."""

    def replace(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Store `value` if the value there is `expected`. True if it was."""

    def delete(self, key: str) -> None:
        """Remove it. Nothing happens where there is none."""


class Leases(Protocol):
    """Names in groups that lapse unless they are renewed.

    A name is *held* until its ttl has passed, then it is *lapsed* until somebody releases it or takes it
    anew. Each lapse is handed out, *claimed*, at least once, so that somebody acts on it even where the
    holder's process died.
    """

    def hold(self, group: str, name: str, ttl: float, value: bytes = b"") -> bool:
        """Take or renew it for `ttl` seconds.

        Returns:
        True if others may think it gone: it was absent, or its lapse had been claimed. A lapse that nobody
        has noticed is as if it had not been.
        """

    def release(self, group: str, name: str, *, only_lapsed: bool = False) -> bool:
        """Remove it.

        Args: only_lapsed: leave it if it is held. For whoever claimed a lapse and has acted on it: the
        holder may have come back meanwhile.

        Returns:
        True if it was there (held, or lapsed) and no longer is.
        """

    def held(self, group: str) -> dict[str, bytes]:
        """Name and value of what is held and has not lapsed."""

    def lapsed(self, group: str, retry_in: float, limit: int) -> dict[str, bytes]:
        """Claim at most `limit` lapsed names, with the values they were last held with.

        Each is given to one caller; to another again after `retry_in` seconds, unless it was released or
        taken anew meanwhile. What nobody claims for a day is forgotten.
        """


class Bus(Log, Records, Leases, Protocol):
    """All of it, and its life."""

    blocking: bool
    """Whether methods may wait for a network. False: they return at once, also in the loop's turn."""
    url: str
    """Where it is, without secrets."""

    def listen(self, listener: Listener) -> None:
        """Name the one listener of this process; it replaces an earlier one."""

    def close(self) -> None:
        """Let go of everything. Afterwards all methods but this one raise `BusError`."""
