"""The presence of a channel, as it is declared: what the application says of its users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rtbridge.contract.context import Context
from rtbridge.protocol import data as canonical

Function = Callable[..., Any]


class PresenceOf:
    """What a channel's declaration says of its presence.

    Attributes:
        what: the channel, for messages.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._function: Function | None = None

    def declare(self, function: Function) -> None:
        """Have `function(ctx, **params)` say what is told of a user."""
        self._function = function

    @property
    def info(self) -> Callable[[Context, Mapping[str, object]], dict[str, object]] | None:
        """Says what is told of a user; None where nothing is. Runs the author's code, so may raise anything."""
        return None if self._function is None else self._ask

    def _ask(self, ctx: Context, params: Mapping[str, object]) -> dict[str, object]:
        assert self._function is not None
        found = self._function(ctx, **params)
        info = canonical.decode(canonical.encode({} if found is None else found))
        if not isinstance(info, dict):
            raise TypeError(f"it must return a dict, not {type(found).__name__}")
        return info
