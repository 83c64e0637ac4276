"""Carrying a poll to its answer, and leaving nothing behind however it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode
from rtbridge.session.services import Services
from rtbridge.wsgi.carrier import Place, RequestCarrier
from rtbridge.wsgi.departure import Departure


class Poll(Protocol):
    """What carrying needs of a poll; both in the turn."""

    def hurry(self) -> None: ...

    def abort(self) -> None: ...


_NO_ANSWER = object()


def carry_poll(
    services: Services,
    environ: Mapping[str, Any],
    carrier: RequestCarrier,
    poll: Poll,
    start: Callable[[], None],
    place: Place | None,
) -> Any:
    """Start a poll and carry it to its answer.

    Args:
        place: where it may park. A parked poll whose client leaves is answered at once, which frees the place.

    Raises:
        ProtocolError: FAILED, where the poll gave up because of an error of ours.
    """
    loop = services.loop
    departure: Departure | None = None
    answer: object = _NO_ANSWER
    try:
        with loop.turn():
            start()
            if place is not None:
                departure = Departure(loop, environ, poll.hurry)
                services.parked.add(poll)
        answer = carrier.carry()
        if answer is None:
            raise ProtocolError(ErrorCode.FAILED, "the server failed; its log says why")
        return answer
    finally:
        with loop.turn():
            services.parked.discard(poll)
            if departure is not None:
                departure.close()
            if answer is _NO_ANSWER:
                poll.abort()
        if place is not None:
            place.leave()
