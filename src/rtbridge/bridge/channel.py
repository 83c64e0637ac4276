"""A channel as its author holds it: the declaration, and what can be published to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.errors import DeclarationError
from rtbridge.protocol.positions import Position
from rtbridge.protocol.presence import Person


class Publisher(Protocol):
    """What a channel needs of its bridge."""

    def publish_to(
        self, declaration: ChannelDeclaration, channel: str, value: object, key: str | None
    ) -> Published: ...

    def publish_many_to(
        self, declaration: ChannelDeclaration, channel: str, values: Sequence[object], keys: Sequence[str] | None
    ) -> list[Published]: ...

    def position(self, name: str) -> Position: ...

    def presence_of(self, name: str) -> Present: ...


class Published:
    """What `publish` returns.

    Attributes:
        channel: where it was published.
        position: its position; None while the surrounding database transaction has not been committed (the
            publication leaves with the commit, and never if it is rolled back).
    """

    __slots__ = ("channel", "position")

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.position: Position | None = None

    def __repr__(self) -> str:
        return f"<Published {self.channel} {self.position or 'waiting for the commit'}>"


@dataclass(frozen=True, slots=True)
class Present:
    """Who is on a channel.

    Attributes:
        people: everybody who is named, each user once.
        count: how many there are. Where some are only counted, their tabs.
        complete: whether everybody is named.
    """

    people: tuple[Person, ...]
    count: int
    complete: bool


class OneChannel:
    """One channel, its parameters filled in: `photos(group_id=7)`."""

    __slots__ = ("_declaration", "_publisher", "name", "params")

    def __init__(
        self, publisher: Publisher, declaration: ChannelDeclaration, name: str, params: Mapping[str, object]
    ) -> None:
        self._publisher = publisher
        self._declaration = declaration
        self.name = name
        self.params = params

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<channel {self.name!r}>"

    def publish(self, value: object, *, key: str | None = None) -> Published:
        """Publish a value, from anywhere: a view, a task, a thread, a shell.

        Inside a Django transaction it leaves with the commit.

        Args:
            value: what the channel was declared to carry (an instance, or what validates as one).
            key: an idempotency key; publishing again with the same key within `limits.idempotency_ttl`
                seconds publishes nothing and returns the first position.

        Raises:
            DataError: the value does not fit the declaration, or is over `limits.max_publication`.
            BusUnavailable: the bus is out of reach.
        """
        return self._publisher.publish_to(self._declaration, self.name, value, key)

    def publish_many(self, values: Sequence[object], *, keys: Sequence[str] | None = None) -> list[Published]:
        """Publish several values in their order, in one exchange with the bus. None leaves if one does not fit.

        Args:
            values: as for `publish`.
            keys: an idempotency key for each.

        Raises:
            DataError: as for `publish`.
            BusUnavailable: the bus is out of reach; the first few may have been published.
        """
        return self._publisher.publish_many_to(self._declaration, self.name, values, keys)

    def position(self) -> Position:
        """The channel's position now. Read it *before* the data a page is rendered from, and subscribe from
        it: then there is no hole between the page and its live updates.

        Raises:
            BusUnavailable: the bus is out of reach.
        """
        return self._publisher.position(self.name)

    def presence(self) -> Present:
        """Who is on the channel now, on all workers. From anywhere.

        Raises:
            DeclarationError: the channel was declared without presence.
            BusUnavailable: the bus is out of reach.
        """
        if self._declaration.presence_told is None:
            raise DeclarationError(f"{self._declaration.what} has no presence; declare it with presence=True")
        return self._publisher.presence_of(self.name)


class Channel(ChannelDeclaration):
    """A declared channel or family of channels; made by `Bridge.channel`."""

    def __init__(self, publisher: Publisher, pattern: str, type_: Any = Any, **options: Any) -> None:
        super().__init__(pattern, type_, **options)
        self._publisher = publisher
        self._only = OneChannel(publisher, self, self.pattern.fill(), {}) if self.pattern.literal else None

    def __call__(self, /, **params: object) -> OneChannel:
        """The channel with these parameters.

        Raises:
            ValueError: a parameter is missing, unknown, or cannot be part of a name.
        """
        return OneChannel(self._publisher, self, self.pattern.fill(**params), params)

    def publish(self, value: object, *, key: str | None = None) -> Published:
        """Publish to a channel without parameters; see `OneChannel.publish`."""
        return (self._only or self()).publish(value, key=key)

    def publish_many(self, values: Sequence[object], *, keys: Sequence[str] | None = None) -> list[Published]:
        """Publish to a channel without parameters; see `OneChannel.publish_many`."""
        return (self._only or self()).publish_many(values, keys=keys)

    def position(self) -> Position:
        """The position of a channel without parameters; see `OneChannel.position`."""
        return (self._only or self()).position()

    def presence(self) -> Present:
        """Who is on a channel without parameters; see `OneChannel.presence`."""
        return self().presence()
