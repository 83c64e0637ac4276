"""Long poll: a short poll that waits, when it has nothing to say, until there is something or its time is up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rtbridge.protocol.codecs import Codec
from rtbridge.runtime import Spoke
from rtbridge.session.services import Services
from rtbridge.transports.carrier import Carrier
from rtbridge.transports.shortpoll import Poll


class LongPoll(Poll):
    """One parked POST.

    Args:
        wait: seconds to wait for a reply or push besides the hello, more than 0.
    """

    transport = "longpoll"
    __slots__ = ("_spoke", "_wait")

    def __init__(
        self, services: Services, environ: Mapping[str, Any], codec: Codec, carrier: Carrier, wait: float
    ) -> None:
        super().__init__(services, environ, codec, carrier)
        self._wait = wait
        self._spoke: Spoke | None = None

    def start(self, commands: Iterable[object]) -> None:
        self._spoke = self._session.services.wheel.add(self._wait, self, early=True)
        super().start(commands)

    def tick(self) -> None:
        """(The wheel's callback.)"""
        self._spoke = None
        self.hurry()

    def hurry(self) -> None:
        """Answer now, with what there is. In the turn."""
        self._wait = 0
        self.due()

    def _answerable(self) -> bool:
        # The hello's own reply is not news; without an identity the hello failed, and that is.
        messages, session = self._messages or (), self._session
        no_news = 0 if session.greeting is not None else 1
        return not self._wait or len(messages) > no_news or session.identity is None

    def _answer(self) -> None:
        self._stop_waiting()
        super()._answer()

    def abort(self) -> None:
        self._stop_waiting()
        super().abort()

    def _stop_waiting(self) -> None:
        if self._spoke is not None:
            self._spoke.discard(self)
            self._spoke = None
