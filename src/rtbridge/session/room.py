"""What presence knows of one channel: the tabs that this process carries there, and which of them have names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rtbridge.contract.context import Context
from rtbridge.protocol.presence import Tab
from rtbridge.runtime import Timer

if TYPE_CHECKING:
    from rtbridge.contract.presence import PresenceOf


class Here:
    """A tab in a room. `sessions`: how many carry it now; `until`: when it is gone, if none does."""

    __slots__ = ("sessions", "tab", "until")

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.sessions = 0
        self.until = 0.0


class Room:
    """A channel as far as our own tabs are on it.

    Attributes:
        changed: tabs that the others have not been told of.
        unnamed: tabs of whose users the application was not asked yet.
        counted: there are too many to be named.
        of_user: how many tabs each user has. Only the first `limits.presence_tabs` of them are named, so that one who
            opens hundreds takes nobody's name away.
        whole: tell all of it, and not what changed.
    """

    __slots__ = (
        "about",
        "changed",
        "counted",
        "flushing",
        "named",
        "of_user",
        "params",
        "tabs",
        "timer",
        "unnamed",
        "whole",
        "written",
    )

    def __init__(self, about: PresenceOf, params: Mapping[str, object]) -> None:
        self.about = about
        self.params = params
        self.tabs: dict[str, Here] = {}
        self.of_user: dict[str, int] = {}
        self.named = 0
        self.changed: dict[str, None] = {}
        self.unnamed: dict[str, Context] = {}
        self.counted = False
        self.whole = False
        self.flushing = False
        self.timer: Timer | None = None
        self.written = 0.0

    def add(self, name: str, tab: Tab, most: int) -> Here:
        """Another tab; `most` of one user are named."""
        here = self.tabs[name] = Here(tab)
        had = 0
        if tab.user is not None:
            had = self.of_user.get(tab.user, 0)
            self.of_user[tab.user] = had + 1
        self.named += had < most
        return here

    def remove(self, name: str, most: int) -> None:
        """A tab is gone. Where its user has more than are named, all is told anew: another of them may be named now."""
        user = self.tabs.pop(name).tab.user
        had = 1
        if user is not None:
            had = self.of_user.pop(user)
            if had > 1:
                self.of_user[user] = had - 1
        if had > most:
            self.whole = True
        else:
            self.named -= 1

    def to_name(self, most: int) -> dict[str, Tab]:
        """The tabs that are named."""
        if self.named == len(self.tabs):
            return {name: here.tab for name, here in self.tabs.items()}
        chosen: dict[str, Tab] = {}
        seen: Counter[str] = Counter()
        for name, here in self.tabs.items():
            user = here.tab.user
            if user is not None:
                seen[user] += 1
                if seen[user] > most:
                    continue
            chosen[name] = here.tab
        return chosen
