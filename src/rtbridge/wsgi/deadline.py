"""A time limit for reading a request's body, whatever the server reads it with.

A slow sender must not hold a thread or greenlet for ever. Under gevent a timeout interrupts the read; under
threads the socket's own timeout is lowered while we read; servers that read bodies before they call the
application (waitress) need neither.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode
from rtbridge.runtime import in_gevent
from rtbridge.wsgi.sockets import find_socket


@contextlib.contextmanager
def read_deadline(environ: Mapping[str, Any], seconds: float) -> Iterator[None]:
    """Within it, reading the body that takes longer than `seconds` raises ProtocolError TOO_SLOW."""
    slow = ProtocolError(
        ErrorCode.TOO_SLOW, f"the body did not arrive within {seconds:g} s (limits.body_timeout)"
    )
    if in_gevent():
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
        return
    sock = find_socket(environ)
    before = sock.gettimeout() if sock is not None else None
    if sock is not None:
        sock.settimeout(seconds)
    try:
        yield
    except TimeoutError:
        raise slow from None
    except OSError:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "the body could not be read to its end") from None
    finally:
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.settimeout(before)
