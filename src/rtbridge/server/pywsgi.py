"""A thin start on gevent's pywsgi: the site's pages and the realtime endpoint in one process.

pywsgi parses HTTP; a WebSocket's socket is taken from it at the upgrade. gevent is imported when a server is
started and not before.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from rtbridge.bridge import find_bridge
from rtbridge.errors import ConfigError
from rtbridge.wsgi.sockets import DETACH

_log = logging.getLogger("rtbridge")
_STOP = 1.0  # seconds that pages and parked polls get to end
_BACKLOG = 1024  # gevent's default of 256 makes thousands of simultaneous connects crawl


def serve(
    app: Callable[..., Any],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[str, int], object] | None = None,
) -> None:
    """Serve a WSGI application until SIGTERM or SIGINT.

    Patch the standard library before the application is imported (`from gevent import monkey;
    monkey.patch_all()`), as `rtbridge serve` does: otherwise one slow view stops everybody.

    Args:
        app: the application, wrapped in `RealtimeMiddleware`.
        port: 0 takes any free one.
        on_ready: called with host and port once the socket listens.

    Raises:
        ConfigError: gevent is not installed.
        OSError: the address is in use or not ours.
    """
    listener = listen(host, port)

    def ready(stop: Callable[[], None]) -> None:
        import gevent

        for name in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(name, stop)
        if on_ready is not None:
            address = listener.getsockname()
            on_ready(address[0], address[1])

    serve_on(listener, app, on_ready=ready)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens for connections; forked children may all accept from it.

    Args:
        port: 0 takes any free one.

    Raises:
        OSError: the address is in use or not ours.
    """
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it: pywsgi writes head and body apart, and Nagle would wait 40 ms for an ACK
        # in between.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def serve_on(
    listener: socket.socket,
    app: Callable[..., Any],
    *,
    on_ready: Callable[[Callable[[], None]], object] | None = None,
) -> None:
    """Serve a WSGI application on a listening socket until told to stop: one worker's whole life.

    Args:
        listener: from `listen`. Accepted from through a descriptor of our own, so that it stays open for others.
        on_ready: called, once connections are accepted, with the function that stops the worker: it accepts
            nothing more, sends the clients away, lets requests in flight end, and `serve_on` returns. Call it
            in a greenlet of this process; twice is as good as once.

    Raises:
        ConfigError: gevent is not installed.
    """
    try:
        from gevent.event import Event
        from gevent.pool import Pool
        from gevent.pywsgi import WSGIServer
        from gevent.socket import socket as gevent_socket
    except ImportError as error:
        raise ConfigError("the server needs gevent: pip install 'rtbridge[gevent]'") from error

    ours = gevent_socket(listener.family, listener.type, fileno=os.dup(listener.fileno()))
    server = WSGIServer(ours, app, spawn=Pool(), log=None, error_log=_log, handler_class=_handler())
    told = Event()
    server.start()
    if on_ready is not None:
        on_ready(told.set)
    told.wait()
    server.close()
    bridge = find_bridge(app)
    if bridge is not None:
        bridge.drain()
    server.stop(_STOP)


def _handler() -> type:
    from gevent import pywsgi

    base: Any = pywsgi.WSGIHandler  # its type stubs leave out what is overridden here

    class Handler(base):  # type: ignore[misc]
        """pywsgi's handler, except that head and first piece of a response leave together, and that it gives a
        connection away when asked to: a WebSocket then needs no greenlet."""

        def get_environ(self) -> Any:
            environ = super().get_environ()
            environ[DETACH] = self._detach
            return environ

        def _detach(self) -> int:
            connection: Any = vars(self)["socket"]
            self.socket: Any = None  # `handle` leaves alone what is not there
            return int(connection.detach())

        def read_request(self, raw_requestline: str) -> Any:
            try:
                return super().read_request(raw_requestline)
            except (
                HTTPException
            ) as error:  # too many headers; for anything but a ValueError it logs a traceback
                raise ValueError(str(error)) from None

        def _write_with_headers(self, data: bytes) -> None:
            held: list[bytes] = []
            self._sendall = held.append  # hides the method for a moment
            try:
                super()._write_with_headers(data)
            finally:
                del self._sendall
            self._sendall(b"".join(held))

    return Handler
