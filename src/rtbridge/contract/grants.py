"""Which channels somebody may follow, and until when: what a token says of it, and what a session remembers.

As long as nothing is added, a session's are its token's own. Thousands who wait keep theirs, mostly of one channel, so
they are one tuple: a dictionary takes three times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any


class Grants(Mapping[str, float]):
    """Channel -> unix time until when it is granted. Never changes.

    Args:
        grants: pairs of them.
    """

    __slots__ = ("_flat",)

    def __init__(self, grants: Iterable[tuple[str, float]] = ()) -> None:
        flat: list[Any] = []
        for channel, until in grants:
            flat += _shared(channel), until
        self._flat = tuple(flat)

    def until(self, channel: str) -> float:
        """Until when the channel is granted; 0.0 if it is not."""
        return self.get(channel, 0.0)

    def plus(self, channel: str, until: float) -> Grants:
        """These and another, in place of an older one for the same channel."""
        return Grants([*self.minus(channel).items(), (channel, until)])

    def minus(self, channel: str) -> Grants:
        """All but one."""
        return Grants([each for each in self.items() if each[0] != channel]) if channel in self else self

    def __getitem__(self, channel: str) -> float:
        flat = self._flat
        for at in range(0, len(flat), 2):
            if flat[at] == channel:
                until: float = flat[at + 1]
                return until
        raise KeyError(channel)

    def __iter__(self) -> Iterator[str]:
        return iter(self._flat[::2])

    def __len__(self) -> int:
        return len(self._flat) // 2

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        return f"Grants({list(self.items())})"


NONE = Grants()


@lru_cache(maxsize=1_000)
def _shared(channel: str) -> str:
    """One text for all who follow the same channel."""
    return channel
