"""Declaring sources: the half of the bridge that an author meets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from rtbridge.bridge.sources import Sources
from rtbridge.bridge.views import View
from rtbridge.bus.contract import Bus
from rtbridge.config import Limits
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.registry import Registry
from rtbridge.contract.sources import SourceDeclaration
from rtbridge.errors import DeclarationError
from rtbridge.fanout import Fanout
from rtbridge.frameworks import Framework
from rtbridge.metrics import Metrics
from rtbridge.runtime import Loop

Source = TypeVar("Source", bound=Callable[..., Any])


class Sourcing:
    """What a bridge knows of its sources."""

    def __init__(self) -> None:
        self.sources: dict[ChannelDeclaration, SourceDeclaration] = {}
        self._app: Callable[..., Iterable[bytes]] | None = None

    @property
    def framework(self) -> Framework:
        """What the site around us is."""
        raise NotImplementedError

    @overload
    def source(
        self, channel: ChannelDeclaration, *, every: float | None = None
    ) -> Callable[[Source], Source]: ...

    @overload
    def source(self, channel: ChannelDeclaration, *, every: float | None = None, view: str) -> None: ...

    def source(
        self, channel: ChannelDeclaration, *, every: float | None = None, view: str | None = None
    ) -> Callable[[Source], Source] | None:
        """Declare where a channel's values come from: a query that is run once for everybody.

        It runs every `every` seconds in one process of all, while anybody anywhere follows the channel or polls
        it, and what it returns is published if it is another value than the channel's newest. `function(**params)`
        gets the channel's parameters, and no context: nobody asks.

        Args:
            channel: a declared channel, or a family; of that, each channel that is watched has a run of its own.
            every: seconds between two runs; None for the channel's own `every`.
            view: in place of a function, the path of a view of the site that answers GET with JSON, such as
                "/api/photos" or "/api/groups/{group_id}/photos". It is called in this process, as nobody.

        Returns:
            A decorator; with `view`, nothing.

        Raises:
            DeclarationError: the channel has a source already, keeps nothing, or the parameters are not its own.
        """
        if not isinstance(channel, ChannelDeclaration):
            raise DeclarationError(f"a source belongs to a declared channel, unlike {channel!r}")
        seconds = channel.every if every is None else every

        def declare(function: Source) -> Source:
            self._declare_source(SourceDeclaration(channel, function, seconds))
            return function

        if view is None:
            return declare
        names = channel.pattern.names
        missing = [name for name in names if f"{{{name}}}" not in view]
        if not view.startswith("/") or missing:
            raise DeclarationError(
                f"source of {channel.what}: the view's path begins with / and has each parameter in it,"
                f" as {{name}}, unlike {view!r}"
            )
        asked = View(view, names, lambda: self._app, lambda: self.framework)
        self._declare_source(SourceDeclaration(channel, asked, seconds))
        return None

    def run_sources(
        self, registry: Registry, bus: Bus, fanout: Fanout, loop: Loop, limits: Limits, metrics: Metrics
    ) -> None:
        """Have this process run sources from now on, while channels are watched here."""
        sources = Sources(self.sources, registry, bus, fanout, loop, limits, metrics, lambda: self.framework)
        fanout.watching = sources.watched

    def _declare_source(self, declaration: SourceDeclaration) -> None:
        if declaration.channel in self.sources:
            raise DeclarationError(f"{declaration.channel.what} has a source already")
        self.sources[declaration.channel] = declaration
