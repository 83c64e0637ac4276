"""One process that serves a whole site: pywsgi for its pages, the reactor for what waits.

gevent is imported when a server is started and not before.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from rtbridge.bridge import find_bridge
from rtbridge.config import Limits
from rtbridge.errors import ConfigError
from rtbridge.runtime import Loop
from rtbridge.runtime.garbage import spare_what_stays
from rtbridge.server.mount import Mount, mount_of
from rtbridge.server.reactor import Reactor
from rtbridge.wsgi.middleware import RealtimeMiddleware

_BACKLOG = 4096  # gevent's default of 256 makes thousands of simultaneous connects crawl
_LOOK = 0.02  # seconds between looks whether everything has ended


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
        ConfigError: gevent is not installed, or the bridge cannot serve.
    """
    try:
        import gevent
        from gevent.event import Event
        from gevent.socket import socket as gevent_socket
    except ImportError as error:
        raise ConfigError("the server needs gevent: pip install 'rtbridge[gevent]'") from error
    from rtbridge.server.site import Site

    middleware, bridge = mount_of(app), find_bridge(app)
    # In a greenlet, because where nothing was patched only there one sees that gevent is what serves.
    loop: Loop = gevent.spawn(_loop_of, middleware).get()
    limits = Limits() if bridge is None else bridge.limits
    ours = gevent_socket(listener.family, listener.type, fileno=os.dup(listener.fileno()))
    site = Site(ours, app, loop, limits)
    mount = Mount(middleware, loop, site.get_environ()) if middleware is not None else None
    with loop.turn():
        reactor = Reactor(loop, limits, site.carry, mount)
        if middleware is not None:
            middleware.bridge.services().parked.add(reactor)  # a drain answers what waits here, too
    site.accept = reactor.add
    told = Event()
    spare_what_stays()
    site.start()
    if on_ready is not None:
        on_ready(told.set)
    told.wait()
    site.close()
    site.ending = True
    gevent.sleep(0)  # who was accepted in this turn is the reactor's in the next
    if bridge is not None:
        bridge.drain()
    with loop.turn():
        reactor.close()
    deadline = loop.now() + limits.stop_timeout
    while (len(reactor) or site.under_way) and loop.now() < deadline:
        gevent.sleep(_LOOK)


def _loop_of(middleware: RealtimeMiddleware | None) -> Loop:
    """The loop of the bridge, so that there is one; or one of our own.

    Raises:
        ConfigError: the bridge already serves from threads in this process.
    """
    if middleware is None:
        from rtbridge.runtime.gevent_loop import GeventLoop

        return GeventLoop()
    loop = middleware.bridge.services().loop
    if loop.name != "gevent":
        raise ConfigError("this bridge was used with threads before; serve it from a process of its own")
    return loop
