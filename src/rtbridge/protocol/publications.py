"""Publications, and the two answers a log can give to "what comes after this position?".

Data travels as canonical JSON bytes from the publisher to the socket: encoded once, spliced many times,
decoded only by whoever wants to look inside.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtbridge.protocol import data as _data
from rtbridge.protocol.positions import Position


@dataclass(frozen=True, slots=True)
class Publication:
    """One item in a channel's log.

    Attributes:
        offset: its number in the log, from 1.
        data: canonical JSON, as `rtbridge.protocol.data.encode` gives it.
        cause: the `call_id` of the call that published it, if one did.
    """

    offset: int
    data: bytes
    cause: str | None = None

    def value(self) -> object:
        """The data as a Python value, tagged bytes as `bytes`."""
        return _data.decode(self.data)


@dataclass(frozen=True, slots=True)
class Page:
    """What came after a position, without a hole.

    Attributes:
        position: the position after the last publication here; ask on from it.
        publications: in order of offset.
        more: the page was cut for size, there is more at once.
    """

    position: Position
    publications: tuple[Publication, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """What came after the position asked for cannot be served whole.

    Attributes:
        position: the current position of the log, to go on from after fetching state anew.
    """

    position: Position
