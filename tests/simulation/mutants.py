"""Faults put into our own code, each of which the oracle must catch: what a promise stands on is taken away.

Named in the plan and applied in the processes of the simulation; never in the package.
"""

from __future__ import annotations

from typing import Any

NAMES = ("sweep", "fence", "idempotency", "dedupe", "repair")
"""`fence` is none of our code, but an option of the URL."""


def apply(name: str | None) -> None:
    if name == "idempotency":
        _forget_receipts()
    elif name == "dedupe":
        _deliver_all()
    elif name == "repair":
        _leave_holes()


def sweep_interval(name: str | None, seconds: float) -> float:
    """Seconds between comparisons of positions: without the sweep, an hour."""
    return 3600.0 if name == "sweep" else seconds


def _forget_receipts() -> None:
    """A publish that is repeated is carried out again."""
    import hashlib

    from rtbridge.bus.redis import client, publishing
    from rtbridge.bus.redis.lua import Script, script

    source = script("publish").source
    careless = source.replace(b"if receipt and ", b"if false and ")
    assert careless != source
    mutant = Script(careless, hashlib.sha1(careless).hexdigest().encode())

    def mutated(name: str) -> Script:
        return mutant if name == "publish" else script(name)

    client.script = publishing.script = mutated  # type: ignore[assignment]


def _deliver_all() -> None:
    """The client takes all that comes, whether it has it or not."""
    from rtbridge.client import core
    from rtbridge.protocol.merge import Cursor, Merged

    careful = core.merge

    def merge(cursor: Cursor, message: Any) -> Merged:
        publications = getattr(message, "publications", ())
        if publications and cursor.position is not None and cursor.position.epoch == message.position.epoch:
            return Merged(publications, Cursor(message.position, cursor.keep))
        return careful(cursor, message)

    core.merge = merge


def _leave_holes() -> None:
    """The fanout finds out that something is missing, and does nothing about it."""
    from rtbridge.fanout import fanout
    from rtbridge.fanout.watched import State

    def leave(self: Any, watched: Any, tail: Any) -> None:
        watched.state = State.READY

    fanout.Fanout._repair = leave  # type: ignore[method-assign]
