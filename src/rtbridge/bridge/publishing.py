"""From a value to its place in the log: checked, encoded once, and sent off when the transaction has committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rtbridge.bridge.channel import Published
from rtbridge.bus.contract import Bus, ToPublish
from rtbridge.config import Limits
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.errors import DataError
from rtbridge.metrics import Metrics
from rtbridge.session.calls import RunningCall, current_call

AfterCommit = Callable[[Callable[[], None]], object]
"""Runs a function when the surrounding transaction has committed; at once where there is none."""


class Publishing:
    """What is published while a call runs carries the call's id as `cause`, and the reply tells its position."""

    def __init__(self, bus: Bus, limits: Limits, metrics: Metrics) -> None:
        self._bus = bus
        self._limits = limits
        self._metrics = metrics

    def one(
        self,
        after_commit: AfterCommit,
        declaration: ChannelDeclaration,
        channel: str,
        value: object,
        key: str | None,
    ) -> Published:
        data = self._encode(declaration, channel, value)
        published = Published(channel)
        call = current_call.get()
        keep = declaration.keep

        def leave() -> None:
            cause = None if call is None else call.call_id
            published.position = self._bus.publish(channel, data, keep, cause=cause, key=key)
            self._metrics.add("publications")
            if isinstance(call, RunningCall):
                call.positions[channel] = str(published.position)

        after_commit(leave)
        return published

    def many(
        self,
        after_commit: AfterCommit,
        declaration: ChannelDeclaration,
        channel: str,
        values: Sequence[object],
        keys: Sequence[str] | None,
    ) -> list[Published]:
        """All of them or, where one does not fit, none."""
        call = current_call.get()
        cause = None if call is None else call.call_id
        if keys is not None and len(keys) != len(values):
            raise DataError(f"{len(values)} values for {channel!r} need as many keys, not {len(keys)}")
        several = [
            ToPublish(
                channel,
                self._encode(declaration, channel, value),
                declaration.keep,
                cause,
                None if keys is None else keys[index],
            )
            for index, value in enumerate(values)
        ]
        published = [Published(channel) for _ in several]

        def leave() -> None:
            for each, position in zip(published, self._bus.publish_many(several), strict=True):
                each.position = position
            self._metrics.add("publications", len(several))
            if isinstance(call, RunningCall) and published:
                call.positions[channel] = str(published[-1].position)

        after_commit(leave)
        return published

    def _encode(self, declaration: ChannelDeclaration, channel: str, value: object) -> bytes:
        data = declaration.schema.dump(value)
        if len(data) > self._limits.max_publication:
            raise DataError(
                f"a publication for {channel!r} has {len(data)} bytes, "
                f"over limits.max_publication = {self._limits.max_publication}"
            )
        return data
