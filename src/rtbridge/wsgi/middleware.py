"""One line to mount: everything below the mount is ours, everything else reaches the application untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rtbridge.bridge import Bridge
from rtbridge.errors import ConfigError
from rtbridge.wsgi.endpoints import Endpoints
from rtbridge.wsgi.http import Request, Response
from rtbridge.wsgi.sockets import connection_is_ours, find_socket, shut_reading

StartResponse = Callable[..., Any]
WSGIApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class RealtimeMiddleware:
    """Wrap a WSGI application so that `bridge` answers below `mount`.

    Example:
        ``application = RealtimeMiddleware(application, rt)`` in Django's wsgi.py, or
        ``app.wsgi_app = RealtimeMiddleware(app.wsgi_app, rt)`` with Flask.

    Args:
        app: any WSGI application. Django's and Flask's secret, users and request context are found through
            it.
        bridge: the `Bridge` whose channels and calls are served.
        mount: where, below the application's own root (`SCRIPT_NAME`). Begins and ends with a slash.

    Raises:
        ConfigError: the mount is not of that form.
    """

    def __init__(self, app: WSGIApp, bridge: Bridge, mount: str = "/rt/") -> None:
        if not isinstance(bridge, Bridge) or not callable(app):
            raise ConfigError("it is RealtimeMiddleware(app, bridge): a WSGI application, then the Bridge")
        if not (mount.startswith("/") and mount.endswith("/") and len(mount) > 2):
            raise ConfigError(f"mount must begin and end with a slash, like '/rt/': {mount!r}")
        self.app = app
        self.bridge = bridge
        self.mount = mount
        bridge.attach(app)
        self.endpoints = Endpoints(bridge)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        if not path.startswith(self.mount):
            return self.app(environ, start_response)
        response = self.endpoints.answer(Request(environ, path[len(self.mount) :]))
        return _send(response, environ, start_response)


def _send(response: Response, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """The one place that calls start_response."""
    if response.taken:
        if environ.get("wsgi.websocket") is not None:
            return []
        raise connection_is_ours()
    headers, body = response.headers, response.body
    if response.status in (204, 304):
        headers = [(name, value) for name, value in headers if name != "Content-Type"]
    elif isinstance(body, bytes):
        headers = [*headers, ("Content-Length", str(len(body)))]
    start_response(response.status_line, headers)
    if isinstance(body, bytes):
        if response.last and find_socket(environ) is not None:
            shut_reading(environ)
            return _last_words(body)
        return [body] if body and environ.get("REQUEST_METHOD") != "HEAD" else []
    if environ.get("REQUEST_METHOD") == "HEAD":
        close = getattr(body, "close", None)  # of a stream that nobody will read
        if close is not None:
            close()
        return []
    return body


def _last_words(body: bytes) -> Iterator[bytes]:
    """A body behind which the connection ends: there is no way to tell a WSGI server so, except to lose the client."""
    yield body
    raise connection_is_ours()
