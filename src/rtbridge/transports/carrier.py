"""What a transport needs of whoever carries its request (declared here, implemented on floor 7)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from rtbridge.protocol.codecs import Codec
from rtbridge.protocol.frames import Opcode, frame, text_frame
from rtbridge.session.outlet import Wire

_log = logging.getLogger("rtbridge")


class Carrier(Protocol):
    """A thread, a greenlet, or a small object without a stack. Both methods are called in the turn."""

    def run(self, job: Callable[[], None]) -> None:
        """Run `job`, which may block, outside the turn."""

    def finish(self, answer: object) -> None:
        """Hand over what the request is answered with, or the next piece of it."""


def safely(give_up: Callable[[], object], callback: Callable[..., object], *args: object) -> None:
    """Run a loop's callback for one connection: what it raises ends that connection, and no other.

    Without it the error would be logged and whoever carries the request would wait for ever.
    """
    try:
        callback(*args)
    except Exception:
        _log.exception("a connection failed")
        give_up()


@lru_cache(maxsize=4)  # one for each codec: connections share it
def poll_wire(codec: Codec) -> Wire:
    """Messages as they are; the answer joins them."""
    return Wire(f"poll/{codec.name}", codec, _as_is)


@lru_cache(maxsize=4)
def stream_wire(codec: Codec) -> Wire:
    """One server-sent event for each message."""
    return Wire(f"stream/{codec.name}", codec, _as_event)


@lru_cache(maxsize=4)
def socket_wire(codec: Codec) -> Wire:
    """One WebSocket frame for each message."""
    return Wire(f"socket/{codec.name}", codec, text_frame if codec.name == "json" else _binary_frame)


def _binary_frame(message: bytes) -> bytes:
    return frame(Opcode.BINARY, message)


def _as_is(message: bytes) -> bytes:
    return message


def _as_event(message: bytes) -> bytes:
    # JSON text has no raw line breaks, so that one `data:` line always holds it.
    return b"data: " + message + b"\n\n"
