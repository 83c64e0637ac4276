"""Short and long polls: the same POST again and again, with the cursor in it. Calls travel beside it, see `lane`."""

from __future__ import annotations

from rtbridge.client import events as e
from rtbridge.client.core import Core
from rtbridge.client.http import Answer, Exchange, Http, Lost, ending_of
from rtbridge.client.lane import Lane
from rtbridge.client.link import Link, Owner
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codecs import Codec
from rtbridge.protocol.polls import parse_poll_answer
from rtbridge.runtime import Timer

HURRY = 1.0
"""Seconds: a long poll that comes back sooner and without news was not parked."""


class PollLink(Link):
    """See `Link`.

    Args:
        transport: `longpoll` or `shortpoll`.
    """

    def __init__(
        self, transport: str, owner: Owner, core: Core, codec: Codec, timeout: float, http: Http
    ) -> None:
        super().__init__(transport, owner, core, http.loop, codec, timeout)
        self._http = http
        self._exchange: Exchange | None = None
        self._timer: Timer | None = None
        self._asked = 0.0
        self._lane = Lane(self, http)

    def start(self) -> None:
        self._ask()

    def stir(self) -> None:
        if self.over or not self.is_open:
            return
        if self.core.missing(self.conversation, self.loop.now()) or self.core.untold(self.conversation):
            self._ask()
        self._lane.stir()

    def disconnect(self) -> None:
        self._rest()
        self._lane.close()

    def say_goodbye(self) -> None:
        self._lane.say_goodbye()

    def _ask(self) -> None:
        """Send a poll; one that is still parked is given up, because it asks for too little."""
        self._rest()
        now = self.loop.now()
        commands = [self.codec.encode_command(command) for command in self.core.poll(self.conversation, now)]
        # The first one is answered at once, so that we know soon whether this transport works.
        wait = self._terms_wait if self.transport == "longpoll" and self.is_open else 0.0
        self._asked = now
        self._exchange = self._http.request(
            "POST",
            "poll",
            {"Content-Type": self.codec.content_type, "Accept": self.codec.content_type},
            self.codec.join_commands(commands, wait),
            timeout=wait + self.timeout,
            on_answer=self._answered,
        )

    def _answered(self, answer: Answer) -> None:
        self._exchange = None
        if isinstance(answer, Lost) or answer.status != 200:
            self.end(ending_of(answer))
            return
        try:
            poll = parse_poll_answer(answer.decoded(self.codec))
        except ProtocolError as error:
            self.refuse_garbage(error)
            return
        first = not self.is_open
        news = self.take(poll.messages)
        if self.over:
            return
        if not self.is_open:
            self.end(e.Ending("resume", "the poll's hello was not answered"))
            return
        if self._exchange is None:  # else what was heard made us ask again already
            more = any(getattr(message, "more", False) for message in poll.messages)
            more = more or bool(self.core.missing(self.conversation, self.loop.now()))
            self._again_in(0.0 if more else self._pause(poll.interval, bool(news), first))
        self._lane.stir()

    def _pause(self, interval: float | None, news: bool, first: bool) -> float:
        if interval is not None:
            return interval
        advised = self.core.terms.interval if self.core.terms is not None else 5.0
        if self.transport == "shortpoll":
            return advised
        parked = news or first or self.loop.now() - self._asked >= HURRY
        return 0.0 if parked else min(HURRY, advised)

    def _again_in(self, seconds: float) -> None:
        if seconds > 0:
            self._timer = self.loop.call_later(seconds, self._ask)
        else:
            self._ask()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None

    @property
    def _terms_wait(self) -> float:
        return self.core.terms.wait if self.core.terms is not None else 25.0
