"""Presence as a log: who is on a channel, told in the channel `~presence/` + its name.

Each *holder* (a worker process) tells of the tabs that it holds, and of no others; who listens puts the holders' tabs
together. So no two processes ever have to agree about anything, and when a process dies all of its tabs leave in one
publication. A snapshot is a list of such tellings, to be applied to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rtbridge.protocol import fields as _fields
from rtbridge.protocol.fields import Fields
from rtbridge.protocol.private import RESERVED

PREFIX = RESERVED + "presence/"
"""Before the channel's own name: where its presence is told."""


def presence_channel(channel: str) -> str:
    """The channel in which the presence of `channel` is told."""
    return PREFIX + channel


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab (or process) of somebody.

    Attributes:
        user: the user's id; None for somebody unknown, who is then told apart by tab only.
        info: what the application says of the user.
        data: what the tab says of itself.
        at: unix seconds of its last change.
    """

    user: str | None
    info: dict[str, object] = field(default_factory=dict)
    data: dict[str, object] = field(default_factory=dict)
    at: float = 0

    def to_value(self) -> dict[str, object]:
        """The tab as plain values; what is empty is left out."""
        value: dict[str, object] = {} if self.user is None else {"user": self.user}
        if self.info:
            value["info"] = self.info
        if self.data:
            value["data"] = self.data
        return {**value, "at": self.at}


@dataclass(frozen=True, slots=True)
class Telling:
    """What one holder tells. Exactly one of `all`, `count`, `change` and `ended` is meant.

    Attributes:
        holder: a random id of the process.
        all: these are all of its tabs, by their names.
        count: so many tabs, too many to name them.
        set: tabs that came or changed.
        gone: tabs that went.
        ended: the holder is no more, and so are its tabs.
    """

    holder: str
    all: Mapping[str, Tab] | None = None
    count: int | None = None
    set: Mapping[str, Tab] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    ended: bool = False

    def to_value(self) -> dict[str, object]:
        """The telling as plain values."""
        value: dict[str, object] = {"holder": self.holder}
        if self.ended:
            return {**value, "ended": True}
        if self.count is not None:
            return {**value, "count": self.count}
        if self.all is not None:
            return {**value, "all": {name: tab.to_value() for name, tab in self.all.items()}}
        if self.set:
            value["set"] = {name: tab.to_value() for name, tab in self.set.items()}
        if self.gone:
            value["gone"] = list(self.gone)
        return value


@dataclass(frozen=True, slots=True)
class Person:
    """One user on the channel, or one unknown tab: what all their tabs say, merged, the latest word last.

    Attributes:
        key: tells people apart: `user:` and the id, or `tab:` and the tab's name.
        tabs: how many.
    """

    key: str
    user: str | None
    info: Mapping[str, object]
    data: Mapping[str, object]
    tabs: int


@dataclass(slots=True)
class _Held:
    tabs: dict[str, Tab] = field(default_factory=dict)
    count: int | None = None


class Roster:
    """Everybody on one channel, as told so far."""

    __slots__ = ("_holders",)

    def __init__(self, tellings: Iterable[Telling] = ()) -> None:
        self._holders: dict[str, _Held] = {}
        for telling in tellings:
            self.apply(telling)

    def apply(self, telling: Telling) -> None:
        """Take one telling. Taking it twice is as good as once."""
        if telling.ended:
            self._holders.pop(telling.holder, None)
        elif telling.count is not None:
            self._holders[telling.holder] = _Held(count=telling.count)
        elif telling.all is not None:
            self._holders[telling.holder] = _Held(dict(telling.all))
        else:
            held = self._holders.setdefault(telling.holder, _Held())
            for name in telling.gone:
                held.tabs.pop(name, None)
            held.tabs.update(telling.set)

    @property
    def count(self) -> int:
        """How many people there are. Where some are only counted, it counts their tabs."""
        return len(self.people()) + sum(held.count or 0 for held in self._holders.values())

    @property
    def complete(self) -> bool:
        """Whether `people` names everybody."""
        return not any(held.count for held in self._holders.values())

    def people(self) -> dict[str, Person]:
        """Everybody who is named, by key."""
        tabs: dict[str, dict[str, Tab]] = {}
        for held in self._holders.values():
            for name, tab in held.tabs.items():
                own = tabs.setdefault(f"tab:{name}" if tab.user is None else f"user:{tab.user}", {})
                # Two holders have it while it moves from one to the other.
                if name not in own or own[name].at <= tab.at:
                    own[name] = tab
        return {key: _person(key, own) for key, own in tabs.items()}


def _person(key: str, tabs: Mapping[str, Tab]) -> Person:
    info: dict[str, object] = {}
    data: dict[str, object] = {}
    for _, tab in sorted(tabs.items(), key=lambda item: (item[1].at, item[0])):
        info |= tab.info
        data |= tab.data
    return Person(key, next(iter(tabs.values())).user, info, data, len(tabs))


def parse_telling(value: object) -> Telling:
    """Read the decoded data of a publication in a presence channel; ProtocolError when it is none."""
    fields = Fields(value)
    holder = fields.required("holder", _fields.text)
    if fields.optional("ended", _fields.boolean):
        return Telling(holder, ended=True)
    if "count" in fields:
        return Telling(holder, count=fields.required("count", _fields.count))
    if "all" in fields:
        return Telling(holder, all=fields.required("all", _tabs))
    return Telling(
        holder, set=fields.optional("set", _tabs) or {}, gone=fields.optional("gone", _fields.texts) or ()
    )


def parse_snapshot(value: object) -> list[Telling]:
    """Read the decoded snapshot of a presence channel; ProtocolError when it is none."""
    try:
        return [parse_telling(item) for item in _fields.array(value)]
    except ValueError as error:
        raise Fields({}).error(f"snapshot: {error}") from None


def _tabs(value: object) -> dict[str, Tab]:
    return {name: _tab(Fields(item)) for name, item in _fields.mapping(value).items()}


def _tab(fields: Fields) -> Tab:
    return Tab(
        fields.optional("user", _fields.text),
        fields.optional("info", _fields.mapping) or {},
        fields.optional("data", _fields.mapping) or {},
        fields.required("at", _fields.number),
    )
