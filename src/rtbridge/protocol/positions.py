"""Positions: where in a channel's log a reader stands.

An epoch is the random identity of one log, an offset counts its publications. Two offsets can only be
compared inside one epoch; nothing is ever assumed across two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode

MAX_OFFSET = 2**53 - 1
"""The largest offset: the largest integer that a browser holds exactly."""

_FORM = re.compile(r"([A-Za-z0-9_-]{1,32})\.(0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class Position:
    """An epoch and an offset. `str(position)` is its form on the wire, `kX3f9Q2a.17`.

    Attributes:
        epoch: 1 to 32 characters of `A-Z a-z 0-9 _ -`.
        offset: 0 to `MAX_OFFSET`; 0 is a log in which nothing was published yet.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.offset}"

    @classmethod
    @lru_cache(maxsize=1_000)  # readers of a channel stand at the same few
    def parse(cls, text: str) -> Position:
        """Read a position from the wire.

        Raises:
            ProtocolError: BAD_POSITION when it has not exactly the form that `str` gives.
        """
        match = _FORM.fullmatch(text)
        if match is None or (offset := int(match[2])) > MAX_OFFSET:
            raise ProtocolError(ErrorCode.BAD_POSITION, "not a position; send one that the server gave you")
        return cls(match[1], offset)
