"""Event stream: one response that stays open; messages leave as server-sent events as they arise.

The carrier comes for each next piece (`ready`) when the server took the one before. While it does not come,
nothing is gathered for it: a slow reader is a position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rtbridge.protocol import messages as m
from rtbridge.protocol.codecs import Codec
from rtbridge.protocol.codes import DisconnectCode
from rtbridge.runtime import Spoke
from rtbridge.session.outlet import Wire
from rtbridge.session.services import Services
from rtbridge.session.session import Session
from rtbridge.transports.carrier import Carrier, safely, stream_wire


class EventStream:
    """One streaming response. The carrier is finished with each next piece of it, and with None at its end."""

    transport = "eventstream"
    __slots__ = (
        "_carrier",
        "_ended",
        "_last_words",
        "_scheduled",
        "_session",
        "_spoke",
        "_waiting",
        "wire",
    )

    def __init__(
        self, services: Services, environ: Mapping[str, Any], codec: Codec, carrier: Carrier
    ) -> None:
        self.wire: Wire = stream_wire(codec)
        self._carrier = carrier
        self._last_words: list[bytes] | None = None
        self._waiting = False
        self._scheduled = False
        self._ended = False
        self._spoke: Spoke | None = None
        self._session = Session(services, self, environ)

    def start(self, commands: Iterable[object]) -> None:
        """Begin to carry out the decoded commands. In the turn."""
        self._spoke = self._session.services.wheel.add(self._session.services.limits.ping_interval, self)
        self._session.services.metrics.add("connections_eventstream")
        self._session.receive(commands)

    def ready(self) -> None:
        """The carrier can take the next piece. In the turn."""
        self._waiting = True
        self.due()

    def hang_up(self) -> None:
        """The client is gone: end the response. In the turn."""
        self.close()
        if self._waiting:
            self._waiting = False
            self._carrier.finish(None)

    def close(self) -> None:
        """The response is over, whoever ended it. In the turn; idempotent."""
        self._ended = True
        self._session.close()
        if self._spoke is not None:
            self._spoke.discard(self)
            self._spoke = None
            self._session.services.metrics.add("connections_eventstream", -1)

    def due(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._session.services.loop.call_soon(safely, self.hang_up, self._look)

    def run(self, job: Callable[[], None]) -> None:
        self._carrier.run(job)

    def finish(self, code: int, message: str, retry_after: float | None) -> None:
        goodbye = self._encode(m.DisconnectPush(DisconnectCode(code), message, retry_after))
        collected = self._session.collect(self._session.services.limits.page_bytes)
        self._last_words = [*(self._last_words or ()), *collected, goodbye]
        self._ended = True
        self.due()

    def _encode(self, message: m.ServerMessage) -> bytes:
        return self.wire.wrap(self.wire.codec.encode(message))

    def _look(self) -> None:
        self._scheduled = False
        if not self._waiting:
            return
        pieces = self._last_words or self._session.collect(self._session.services.limits.page_bytes)
        self._last_words = None
        if pieces:
            self._waiting = False
            self._carrier.finish(b"".join(pieces))
        elif self._ended or self._is_idle():
            self._waiting = False
            self._carrier.finish(None)

    def _is_idle(self) -> bool:
        """Whether nothing can ever come: hello failed, and no other command can follow on a stream."""
        return self._session.at_rest and self._session.identity is None

    def tick(self) -> None:
        """(The wheel's callback.) Say that we are here."""
        self._spoke = self._session.services.wheel.add(self._session.services.limits.ping_interval, self)
        if self._waiting:
            self._last_words = [*(self._last_words or ()), self._encode(m.PingPush())]
            self.due()
