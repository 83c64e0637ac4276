"""The site's own views, called in this process without HTTP: what a page used to poll becomes a source by its URL.

The view is called as nobody: without cookies, so that it gives what anybody may see.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from rtbridge.errors import DataError
from rtbridge.frameworks import Framework

WSGIApp = Callable[..., Iterable[bytes]]


class View:
    """A view that gives JSON to a GET.

    Args:
        path: its URL on the site, from the slash; `{name}` stands for a parameter.
        names: the parameters.
        app: the site's WSGI application, without us around it; None where it is not known.
        framework: what it is.
    """

    def __init__(
        self,
        path: str,
        names: tuple[str, ...],
        app: Callable[[], WSGIApp | None],
        framework: Callable[[], Framework],
    ) -> None:
        self.path = path
        self.names = names
        self._app = app
        self._framework = framework

    def __call__(self, **params: object) -> object:
        """Ask it.

        Raises:
            DataError: it did not answer 200 with JSON; the message says what it did.
        """
        path = self.path
        for name, value in params.items():
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        app = self._app()
        if app is None:
            raise DataError(f"view {path}: no site is known; wrap it in RealtimeMiddleware(app, bridge)")
        status, location, body = _get(app, path, _host_of(self._framework()))
        if not status.startswith("200"):
            to = f" (to {location})" if location else ""
            raise DataError(
                f"view {path} answered {status}{to}, not 200; a source asks as nobody, over https, without cookies,"
                " and in its own process: where only the realtime endpoint is served, there are no views"
            )
        try:
            return json.loads(body)
        except ValueError as error:
            raise DataError(f"view {path} did not answer with JSON: {error}") from None


def _get(app: WSGIApp, url: str, host: str) -> tuple[str, str, bytes]:
    """Status line, where it redirects to, and body."""
    split = urlsplit(url)
    answered = "nothing"
    location = ""
    pieces: list[bytes] = []

    def start_response(
        status: str, headers: Iterable[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        nonlocal answered, location
        answered = status
        location = next((value for name, value in headers if name.lower() == "location"), "")
        return pieces.append

    result = app(_environ(unquote(split.path, "latin-1"), split.query, host), start_response)
    try:
        pieces.extend(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    return answered, location, b"".join(pieces)


def _environ(path: str, query: str, host: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": host,
        "HTTP_ACCEPT": "application/json",
        "HTTP_USER_AGENT": "rtbridge source",
        "wsgi.version": (1, 0),
        # Sites that insist on https would redirect anything else, and nothing leaves this process.
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def _host_of(framework: Framework) -> str:
    """A host that the site accepts: Django refuses those that are not in ALLOWED_HOSTS."""
    if framework.name == "django":
        for pattern in sys.modules["django.conf"].settings.ALLOWED_HOSTS:
            host = str(pattern).removeprefix(".")
            if host and host != "*":
                return host
    return "localhost"
