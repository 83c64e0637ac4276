"""The socket under a WSGI request, where the server lets us find it.

WSGI has no way to ask for it, so each server's own place is looked up: a documented key in the environ
(gunicorn, werkzeug, gevent-websocket), or the reader behind `wsgi.input` (wsgiref, Django's runserver,
gevent's pywsgi). Where there is none, or TLS ends in this process, WebSockets are simply not offered.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import DisconnectCode, ErrorCode
from rtbridge.protocol.frames import close_frame

_DEPTH = 6  # how many readers may be wrapped around each other
_INNER = ("_stream", "stream", "rfile", "raw", "_raw", "buffer")


def find_socket(environ: Mapping[str, Any]) -> Any | None:
    """The server's own socket object of this request, or None."""
    websocket = environ.get("wsgi.websocket")
    for candidate in (
        environ.get("gunicorn.socket"),
        environ.get("werkzeug.socket"),
        getattr(getattr(websocket, "handler", None), "socket", None),
        *_behind(environ.get("wsgi.input")),
    ):
        if callable(getattr(candidate, "fileno", None)) and callable(getattr(candidate, "settimeout", None)):
            return candidate
    return None


def can_take(environ: Mapping[str, Any]) -> bool:
    """Whether this server's sockets can be taken over for a WebSocket."""
    if DETACH in environ:
        return True
    sock = find_socket(environ)
    if (
        sock is None
        or isinstance(sock, ssl.SSLSocket)
        or hasattr(sock, "_sslobj")
        or hasattr(sock, "selected_alpn_protocol")
    ):
        return False
    try:
        return bool(sock.fileno() >= 0)
    except OSError:
        return False


DETACH = "rtbridge.detach"
"""Key in the environ under which our own server gives a connection away: `detach() -> descriptor`."""


def take(environ: Mapping[str, Any]) -> tuple[socket.socket, bytes]:
    """Our own non-blocking handle on the connection, and what was read of it beyond the request's head."""
    theirs = find_socket(environ)
    assert theirs is not None, "ask can_take first"
    early = _read_ahead(environ, theirs)
    detach = environ.get(DETACH)
    handle = os.dup(theirs.fileno()) if detach is None else detach()
    try:
        ours = _plain_socket(handle)
    except OSError:
        os.close(handle)
        raise
    return ours, early


def shut_reading(environ: Mapping[str, Any]) -> None:
    """End what the server can still read from this connection; what it answers is still sent."""
    theirs, reader = find_socket(environ), environ.get("wsgi.input")
    if reader is not None and hasattr(reader, "_chunked_input_error"):
        reader._chunked_input_error = True  # pywsgi's own mark, or it would read what is left of the body
    with contextlib.suppress(OSError):
        # On a handle of our own: an SSLSocket's shutdown would go on in plain text.
        handle = os.dup(theirs.fileno()) if theirs is not None else -1
        if handle >= 0:
            with contextlib.closing(_plain_socket(handle)) as ours:
                ours.shutdown(socket.SHUT_RD)


def connection_is_ours() -> ConnectionResetError:
    """What to raise when a taken socket is done with.

    Every server takes this one error for "the client is gone" and drops the request quietly.
    """
    return ConnectionResetError(errno.ECONNRESET, "the connection was taken over by rtbridge and is closed")


def _plain_socket(handle: int) -> socket.socket:
    # Not gevent's class, even where socket.socket was patched: the loop's watchers do the waiting.
    import _socket

    base = _socket.socket(fileno=handle)
    base.settimeout(0.0)
    return base  # type: ignore[return-value]


def _behind(reader: Any) -> list[Any]:
    """Socket candidates behind a body reader: what it wraps, down to its raw socket."""
    found: list[Any] = []
    seen = 0
    while reader is not None and seen < _DEPTH:
        seen += 1
        for name in ("_sock", "socket"):
            candidate = getattr(reader, name, None)
            if candidate is not None:
                found.append(candidate)
        reader = _inside(reader)
    return found


def _inside(reader: Any) -> Any | None:
    """The reader that this one wraps, if it wraps one."""
    for name in _INNER:
        inner = None
        with contextlib.suppress(Exception):
            inner = getattr(reader, name, None)
        if inner is not None and inner is not reader:
            return inner
    return getattr(
        getattr(reader, "_read", None), "__self__", None
    )  # Django's LimitedStream keeps a bound method


def _read_ahead(environ: Mapping[str, Any], sock: Any) -> bytes:
    """Bytes the server buffered behind the head (a client that did not wait for the 101)."""
    reader = environ.get("wsgi.input")
    websocket = environ.get("wsgi.websocket")
    if websocket is not None:
        reader = getattr(websocket.handler, "rfile", reader)
    unreader = getattr(getattr(reader, "reader", None), "unreader", None)  # gunicorn
    if unreader is not None:
        buffer: Any = getattr(unreader, "buf", None)
        return bytes(buffer.getvalue()) if hasattr(buffer, "getvalue") else b""
    for _ in range(_DEPTH):
        if reader is None or hasattr(reader, "peek"):
            break
        reader = _inside(reader)
    if reader is None:
        return b""
    before = sock.gettimeout()
    try:
        sock.settimeout(0.0)
        return bytes(reader.peek())
    except (OSError, ValueError):
        return b""
    finally:
        sock.settimeout(before)


def send_now(sock: socket.socket, data: bytes) -> None:
    """Send a few bytes on a fresh non-blocking socket, whose buffer is empty; the peer being gone is no error here."""
    with contextlib.suppress(OSError):
        sock.send(data)


def refuse(environ: Mapping[str, Any], error: ProtocolError) -> None:
    """Close an already upgraded connection with the disconnect code that says what the error would have said."""
    sock, _ = take(environ)
    code = _AS_DISCONNECT.get(ErrorCode(error.code), DisconnectCode.BAD_MESSAGE)
    send_now(sock, close_frame(code, error.message))
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


_AS_DISCONNECT = MappingProxyType(
    {
        ErrorCode.FORBIDDEN_ORIGIN: DisconnectCode.FORBIDDEN_ORIGIN,
        ErrorCode.TRANSPORT_UNAVAILABLE: DisconnectCode.TRANSPORT_REFUSED,
        ErrorCode.UNAVAILABLE: DisconnectCode.OVERLOADED,
        ErrorCode.FAILED: DisconnectCode.FAILED,
    }
)
