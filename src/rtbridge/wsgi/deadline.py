"""A time limit for reading a request's body, whatever the server reads it with.

A slow sender must not hold a thread or greenlet for ever. Under gevent a timeout interrupts the read; under
threads the reading half of the socket is shut when the time is up, so that the read ends there; servers that
read bodies before they call the application (waitress) need neither.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode
from rtbridge.runtime import Loop, in_gevent
from rtbridge.wsgi.sockets import find_socket, shut_reading


class UnreadBody(ProtocolError):
    """The body was not read to its end: what comes behind it on this connection is no request."""


@contextlib.contextmanager
def read_deadline(environ: Mapping[str, Any], seconds: float, loop: Loop) -> Iterator[None]:
    """Read the body within it.

    Raises:
        UnreadBody: TOO_SLOW if that takes longer than `seconds`, however little is missing each time;
            BAD_MESSAGE for whatever the server's reader raises (each has its own errors for broken chunks and
            for a sender who is gone).
    """
    slow = UnreadBody(
        ErrorCode.TOO_SLOW, f"the body did not arrive within {seconds:g} s (limits.body_timeout)"
    )
    with _interrupted(slow, seconds) if in_gevent() else _shut_off(environ, slow, seconds, loop):
        try:
            yield
        except ProtocolError:
            raise
        except Exception:
            raise UnreadBody(ErrorCode.BAD_MESSAGE, "the body could not be read to its end") from None


@contextlib.contextmanager
def _interrupted(slow: UnreadBody, seconds: float) -> Iterator[None]:
    timeout = sys.modules["gevent"].Timeout(seconds)
    timeout.start()
    try:
        yield
    except type(timeout) as error:
        if error is not timeout:
            raise
        raise slow from None
    finally:
        timeout.close()


@contextlib.contextmanager
def _shut_off(environ: Mapping[str, Any], slow: UnreadBody, seconds: float, loop: Loop) -> Iterator[None]:
    # Not the socket's own timeout: that begins anew with every byte.
    if find_socket(environ) is None:
        yield
        return
    late = False

    def shut() -> None:
        nonlocal late
        late = True
        shut_reading(environ)

    with loop.turn():
        timer = loop.call_later(seconds, shut)
    try:
        yield
    except ProtocolError:
        if late:
            raise slow from None
        raise
    finally:
        with loop.turn():
            timer.cancel()
