"""Which link carries the client now, and what happens when one ends. Retry is owned here, above all transports.

There is at most one `live` link, whose hello was answered, and one `trying`, which is to replace it. The old one goes
only when the new one is open, and both may deliver meanwhile: the cursor makes overlap harmless. When there is nothing
live and the attempt takes long, a poll runs `beside` it, and whichever works delivers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rtbridge.client import events as e
from rtbridge.client.core import Core
from rtbridge.client.ladder import Ladder
from rtbridge.client.link import Link
from rtbridge.runtime import Loop, Timer

BESIDE = 0.3
"""Seconds until an attempt that is not open gets a poll beside it."""


@dataclass(frozen=True, slots=True)
class Status:
    """How the client is connected.

    Attributes:
        state: `connecting`, `open`, `waiting` (between two attempts), `stopped` (the server said not to come back) or
            `closed` (by the application).
        transport: what carries us, where the state is `open`.
        error: why the last connection ended.
    """

    state: str
    transport: str | None = None
    error: str | None = None


class Audience(Protocol):
    """Whoever listens to a switch; called in the turn."""

    def heard(self, event: e.Event) -> None:
        """Something for the application."""

    def changed(self, status: Status) -> None:
        """The status is another one."""

    def stopped(self, ending: e.Ending) -> None:
        """The server does not want us back."""


class Switch:
    """See above. Everything is called in the turn.

    Args:
        make_link: makes a link of a transport, for us as its owner.
        fetch_token: asks the site for a token, given the one we had; may block, and raise. Needed where the core wants
            one.
    """

    def __init__(
        self,
        loop: Loop,
        core: Core,
        ladder: Ladder,
        audience: Audience,
        make_link: Callable[[str, Switch], Link],
        fetch_token: Callable[[str | None], str] | None = None,
    ) -> None:
        self._loop = loop
        self._core = core
        self._ladder = ladder
        self._audience = audience
        self._make_link = make_link
        self._fetch_token = fetch_token
        self._fetching = False
        self._live: Link | None = None
        self._trying: Link | None = None
        self._beside: Link | None = None
        self._retry: Timer | None = None
        self._race: Timer | None = None
        self._climb: Timer | None = None
        self._over: str | None = None
        self._gone: Callable[[], None] | None = None
        self._error: str | None = None
        self.status = Status("connecting")

    def start(self) -> None:
        """Begin to connect."""
        self._look()

    def use(self, choice: str) -> None:
        """Change to another transport, or to `auto`."""
        self._ladder.choose(choice)
        for timer in (self._retry, self._climb):
            if timer is not None:
                timer.cancel()
        self._retry = self._climb = None
        if self._trying is not None and self._trying.transport != self._ladder.best(self._loop.now()):
            self._trying.close()
            self._trying = None
        self._look()

    def stir(self) -> None:
        """The core may have something new to say."""
        for link in self._links():
            link.stir()

    def close(self, gone: Callable[[], None]) -> None:
        """End the session; `gone` is called when the server heard it. Call `shut` then, or when that takes too long."""
        live = self._live
        self._gone = gone
        self.shut("closed", keep=live)
        if live is None:
            gone()
        else:
            live.say_goodbye()

    def shut(self, state: str, keep: Link | None = None) -> None:
        """Close everything at once, but for the link to `keep`. May be repeated."""
        self._over = self._over or state
        self._stop_timers()
        for link in self._links():
            if link is not keep:
                link.close()
        self._live, self._trying, self._beside = keep, None, None
        self._show()

    # -- what the links call ------------------------------------------------------------------------------

    def heard(self, event: e.Event) -> None:
        """See `Owner`."""
        if isinstance(event, e.Greeted):
            self._ladder.offer(event.terms.offers)
        elif isinstance(event, e.Later):
            # A moment later than due, so that by the clock it is due then.
            self._loop.call_later(event.seconds + 0.001, self.stir)
        else:
            self._audience.heard(event)

    def opened(self, link: Link) -> None:
        """See `Owner`."""
        self._ladder.opened(link.transport)
        replaced = [self._live]
        if link is self._beside:
            self._beside = None
        elif link is self._trying:
            self._trying = None
            replaced.append(self._beside)
            self._beside = None
        self._live = link
        self._error = None
        for other in replaced:
            if other is not None:
                other.close()
        self._look()

    def outdated(self, link: Link) -> None:
        """See `Owner`."""
        if link is not self._live or self._over:
            return
        if self._trying is not None:
            if self._trying.transport == link.transport:
                return  # under way
            self._trying.close()
        self._try(link.transport)

    def ended(self, link: Link, ending: e.Ending) -> None:
        """See `Owner`."""
        if self._over:
            self._live = None
            if self._gone is not None:
                self._gone()
            return
        self._forget(link)
        if ending.step == "stop" and (link.is_open or self._live is None):
            self._stop(ending)
            return
        if ending.step == "renew":
            self._core.forget_token()
        self._error = ending.message
        now = self._loop.now()
        self._ladder.failed(link.transport, ending, link.is_open, now)
        if self._trying is None and self._retry is None:
            pause = self._ladder.pause(link.transport, ending, now)
            self._retry = self._loop.call_later(pause, self._try_again)
        elif self._trying is not None and self._live is None and self._race is None:
            self._race = self._loop.call_later(BESIDE, self._run_beside)
        self._show()

    # -- deciding -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Be on the best rung, or try to."""
        self._show()
        if self._over or self._trying is not None or self._retry is not None:
            return
        now = self._loop.now()
        best = self._ladder.best(now)
        if self._live is None or self._live.transport != best:
            if self._core.token_wanted:
                self._ask_for_token()
            else:
                self._try(best)
        elif self._climb is None and (seconds := self._ladder.next_climb(now)) is not None:
            self._climb = self._loop.call_later(seconds, self._climb_on)

    def _try(self, transport: str) -> None:
        link = self._trying = self._make_link(transport, self)
        if self._live is None and self._race is None:
            self._race = self._loop.call_later(BESIDE, self._run_beside)
        link.start()
        self._show()

    def _ask_for_token(self) -> None:
        if not self._fetching:
            self._fetching = True
            self._loop.spawn(self._fetch, self._core.token)

    def _fetch(self, previous: str | None) -> None:
        """Outside the turn."""
        assert self._fetch_token is not None
        try:
            token, failure = self._fetch_token(previous), None
        except Exception as error:
            token, failure = "", error
        self._loop.call_soon(self._fetched, token, failure)

    def _fetched(self, token: str, failure: Exception | None) -> None:
        self._fetching = False
        if self._over:
            return
        if failure is None:
            self._core.take_token(token)
            self._look()
            return
        self._error = f"the site gave no token: {failure!r}"
        now = self._loop.now()
        pause = self._ladder.pause(self._ladder.best(now), e.Ending("resume", self._error), now)
        self._retry = self._loop.call_later(pause, self._try_again)
        self._show()

    def _run_beside(self) -> None:
        self._race = None
        if self._live is None and self._beside is None and self._trying is not None:
            transport = self._ladder.below(self._trying.transport, self._loop.now())
            if transport is not None:
                self._beside = self._make_link(transport, self)
                self._beside.start()

    def _try_again(self) -> None:
        self._retry = None
        self._look()
        self.stir()  # what failed may have been the replacement of an outdated stream

    def _climb_on(self) -> None:
        self._climb = None
        self._look()

    def _stop(self, ending: e.Ending) -> None:
        self._error = ending.message
        self.shut("stopped")
        self._audience.stopped(ending)

    def _forget(self, link: Link) -> None:
        if link is self._live:
            self._live = None
        elif link is self._trying:
            self._trying = None
        elif link is self._beside:
            self._beside = None

    def _links(self) -> list[Link]:
        return [link for link in (self._live, self._trying, self._beside) if link is not None]

    def _stop_timers(self) -> None:
        for timer in (self._retry, self._race, self._climb):
            if timer is not None:
                timer.cancel()
        self._retry = self._race = self._climb = None

    def _show(self) -> None:
        if self._over:
            status = Status(self._over, None, self._error)
        elif self._live is not None:
            status = Status("open", self._live.transport, self._error)
        else:
            status = Status("waiting" if self._retry is not None else "connecting", None, self._error)
        if status != self.status:
            self.status = status
            self._audience.changed(status)
