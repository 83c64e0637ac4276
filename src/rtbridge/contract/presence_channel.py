"""The channel in which the presence of another one is told: a declaration like any other, made along with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rtbridge.bus.contract import Keep
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.context import Context
from rtbridge.contract.patterns import Pattern
from rtbridge.contract.snapshots import SnapshotDeclaration
from rtbridge.contract.types import Schema
from rtbridge.protocol.presence import PREFIX


class PresenceChannel(ChannelDeclaration):
    """`~presence/` and the other channel's pattern. Who may follow the one may follow the other.

    Args:
        base: the other channel.
        keep: how much is kept.
        read: gives everybody who is on a channel, as a snapshot; may block.
    """

    of_people = True

    def __init__(self, base: ChannelDeclaration, keep: Keep, read: Callable[[str], object]) -> None:
        self.pattern = Pattern(PREFIX + base.pattern.text, reserved=True)
        self.what = f"presence of {base.what}"
        self.schema = Schema(Any, self.what)
        self.keep = keep
        self.public = base.public
        self.transport = base.transport
        self.every = base.every
        self.presence_told = None
        self._base = base

        def everybody(ctx: Context, **params: object) -> Any:
            return read(base.pattern.fill(**params))

        self.snapshot_taken = SnapshotDeclaration(self.what, everybody, per_user=False)

    def may_follow(self, ctx: Context, params: Mapping[str, object]) -> bool:
        """See `ChannelDeclaration.may_follow`."""
        return self._base.may_follow(ctx, params)
