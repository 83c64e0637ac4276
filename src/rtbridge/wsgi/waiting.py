"""Carrying a poll to its answer on the request's own stack, and leaving nothing behind however it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtbridge.session.services import Services
from rtbridge.wsgi.carrier import RequestCarrier
from rtbridge.wsgi.departure import Departure
from rtbridge.wsgi.later import Parked, Poll


def carry_poll(services: Services, environ: Mapping[str, Any], parked: Parked) -> object:
    """Start a poll and wait for what it is answered with; None where it gave up because of an error of ours.

    A poll in a place whose client leaves is answered at once, which frees the place.
    """
    loop, place = services.loop, parked.place
    carrier = RequestCarrier(loop)
    departure: Departure | None = None
    poll: Poll | None = None
    answered = False
    try:
        with loop.turn():
            poll = parked.start(carrier)
            if place is not None:
                departure = Departure(loop, environ, poll.hurry)
                services.parked.add(poll)
        answer: object = carrier.carry()
        answered = True
        return answer
    finally:
        with loop.turn():
            if departure is not None:
                departure.close()
            if poll is not None:
                services.parked.discard(poll)
                if not answered:
                    poll.abort()
        if place is not None:
            place.leave()
