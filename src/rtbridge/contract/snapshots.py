"""Snapshots: the function that knows a channel's state as of now.

A log says what changed; the snapshot says what is. It belongs to the channel and not to who asks, so that one
answer serves everybody who may follow it; a channel whose state depends on the user says `per_user=True`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rtbridge.contract.context import Context
from rtbridge.contract.functions import parameters_of, resolved
from rtbridge.contract.types import Schema


class SnapshotDeclaration:
    """A channel's snapshot function.

    Args:
        what: as error messages name it.
        function: `function(ctx, **params)` returns the state; its return annotation, if it has one, is checked.
        per_user: it may look at the user, and is called for each of them.

    Raises:
        DeclarationError: its return annotation is no type that can travel.
    """

    def __init__(self, what: str, function: Callable[..., Any], *, per_user: bool) -> None:
        self.function = function
        self.per_user = per_user
        self.what = what
        _, returns = parameters_of(function, what)
        written = Any if returns is inspect.Signature.empty else returns
        self._schema = Schema(resolved(function, {"return": written}, what)["return"], what)

    def take(self, ctx: Context, params: Mapping[str, object]) -> bytes:
        """Run it: the state as canonical JSON. The author's code, so it may raise anything.

        Raises:
            DataError: what it returned does not fit its annotation, or the wire.
        """
        return self._schema.dump(self.function(ctx, **params))


def shared_context(what: str) -> Context:
    """The `ctx` of a snapshot that is made for everybody: there is no user to look at."""

    def nobody() -> object:
        raise LookupError(
            f"{what} is made once for everybody who may follow the channel, so there is no ctx.user;"
            " declare it with per_user=True if the state depends on the user"
        )

    return Context(client_id="", user_id=None, environ={}, transport="", load_user=nobody)
