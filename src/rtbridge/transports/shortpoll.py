"""Short poll: a batch of commands, and at once a batch of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rtbridge.protocol import messages as m
from rtbridge.protocol.codecs import Codec
from rtbridge.protocol.codes import DisconnectCode
from rtbridge.session.outlet import Wire
from rtbridge.session.private import parting_word
from rtbridge.session.services import Services
from rtbridge.session.session import Session
from rtbridge.transports.carrier import Carrier, poll_wire, safely


class Poll:
    """One POST: answered as soon as its commands are. The carrier is finished with the answer's body, or with
    None.

    Attributes:
        interval: seconds the client is advised to wait before its next poll, or None for no advice beyond the
            hello's.
    """

    transport = "shortpoll"
    interval: float | None = None
    __slots__ = ("_carrier", "_done", "_messages", "_scheduled", "_session", "wire")

    def __init__(
        self, services: Services, environ: Mapping[str, Any], codec: Codec, carrier: Carrier
    ) -> None:
        self.wire: Wire = poll_wire(codec)
        self._carrier = carrier
        self._messages: list[bytes] | None = None  # none is no list: a parked poll has none
        self._scheduled = False
        self._done = False
        self._session = Session(services, self, environ)

    def start(self, commands: Iterable[object]) -> None:
        """Begin to carry out the decoded commands. In the turn."""
        self._session.receive(commands)

    def hurry(self) -> None:
        """A short poll hurries anyway."""

    def abort(self) -> None:
        """Nobody waits for the answer any more. In the turn."""
        if not self._done:
            self._end()
            self._carrier.finish(None)

    def due(self) -> None:
        if not self._scheduled and not self._done:
            self._scheduled = True
            self._session.services.loop.call_soon(safely, self.abort, self._look)

    def run(self, job: Callable[[], None]) -> None:
        self._carrier.run(job)

    def finish(self, code: int, message: str, retry_after: float | None) -> None:
        push = m.DisconnectPush(DisconnectCode(code), message, retry_after)
        self._gather(self._session.services.limits.page_bytes)
        self._messages = [*(self._messages or ()), self.wire.wrap(self.wire.codec.encode(push))]
        self._answer()

    def _gather(self, room: int) -> None:
        collected = self._session.collect(room)
        if collected:
            self._messages = collected if self._messages is None else self._messages + collected

    def _look(self) -> None:
        self._scheduled = False
        if self._done or not self._session.at_rest:
            return
        session = self._session
        room = session.services.limits.page_bytes - sum(map(len, self._messages or ()))
        self._gather(max(room, 1))
        if session.at_rest and self._answerable():
            self._answer()
        elif session.at_rest:
            session.park()

    def _answerable(self) -> bool:
        return True

    def _answer(self) -> None:
        if self._done:
            return
        session = self._session
        messages = [*session.take_greeting(), *(self._messages or ()), *parting_word(session)]
        interval = 0.0 if session.more else self.interval
        self._end()
        self._carrier.finish(self.wire.codec.join_poll(messages, interval))

    def _end(self) -> None:
        self._done = True
        self._session.close()
        del self._session  # it refers to us: so both go now, and not when the collector comes to them


class ShortPoll(Poll):
    """A poll that does not wait. Args: see `Poll`."""

    __slots__ = ("interval",)

    def __init__(
        self,
        services: Services,
        environ: Mapping[str, Any],
        codec: Codec,
        carrier: Carrier,
        interval: float | None = None,
    ) -> None:
        super().__init__(services, environ, codec, carrier)
        self.interval = interval
