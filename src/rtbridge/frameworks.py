"""The site around us: its secret, its users, and the surroundings that its code expects.

Think of an adapter with seven questions. Nothing here imports a framework that the site has not loaded itself:
what is in `sys.modules` is what there is. The environ handed in may be long past its request (a handler on a WebSocket
runs hours later), so the body is never offered to the site's code: it was ours, and it is gone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from json.encoder import encode_basestring_ascii
from typing import Any, Protocol, cast

from itsdangerous import BadData

Environ = Mapping[str, Any]

_WRAPPED = ("wsgi_app", "application", "app", "__wrapped__", "__self__", "func")
_LOOKED_THROUGH = 32


class Framework(Protocol):
    """What a bridge asks of the site around it."""

    name: str
    """"django", "flask" or "plain", for logs."""

    def secret(self) -> list[str]:
        """The site's secrets, the newest first; empty if it has none."""

    def authenticate(self, environ: Environ) -> Any:
        """The user behind a request, None for somebody unknown. May ask the database. Call it within `around`."""

    def user_id(self, user: Any) -> str | None:
        """A user's id as text; None if it has none."""

    def credentials(self, environ: Environ) -> str:
        """What a request proves its user by, as one text: where that differs, it may be somebody else. Never blocks."""

    def around(self, environ: Environ) -> AbstractContextManager[object]:
        """The surroundings in which the site's code runs: database connections cared for, `flask.request` there."""

    def after_commit(self, function: Callable[[], object]) -> None:
        """Call `function` when the transaction around us commits, never if it does not; at once if there is none."""


def find_framework(app: object) -> Framework:
    """The framework of a site, looking through middleware at its WSGI application.

    Args:
        app: the WSGI application, or None where there is none at hand (a shell, a worker).
    """
    flask = sys.modules.get("flask")
    if flask is not None:
        for part in parts_of(app):
            if isinstance(part, flask.Flask):
                return FlaskSite(part)
    django = sys.modules.get("django.conf")
    if django is not None and django.settings.configured:
        return DjangoSite()
    return PlainSite()


class PlainSite:
    """A site of which we know nothing: no users, and any of its cookies may be what proves one."""

    name = "plain"

    def secret(self) -> list[str]:
        return []

    def authenticate(self, environ: Environ) -> None:
        return None

    def user_id(self, user: Any) -> str | None:
        return _identity(user)

    def credentials(self, environ: Environ) -> str:
        cookies = sorted(each.strip() for each in environ.get("HTTP_COOKIE", "").split(";"))
        return _proof(environ, filter(None, cookies))

    def around(self, environ: Environ) -> AbstractContextManager[object]:
        return contextlib.nullcontext()

    def after_commit(self, function: Callable[[], object]) -> None:
        function()


class DjangoSite:
    """A Django project, by its settings."""

    name = "django"

    def secret(self) -> list[str]:
        from django.core.exceptions import ImproperlyConfigured

        settings = _settings()
        try:
            first = settings.SECRET_KEY
        except ImproperlyConfigured:  # it is empty
            first = None
        return _secrets(first, settings.SECRET_KEY_FALLBACKS)

    def authenticate(self, environ: Environ) -> Any:
        from django.contrib import auth
        from django.http import HttpRequest

        key = self._session_cookie(environ)
        if not key or not self._has_users():
            return None
        request = HttpRequest()
        request.META = dict(environ)
        request.session = cast(Any, _ReadOnlySession(self._session(key)))
        user = auth.get_user(request)
        return user if user.is_authenticated else None

    def user_id(self, user: Any) -> str | None:
        return _identity(user)

    def credentials(self, environ: Environ) -> str:
        key = self._session_cookie(environ)
        if key and _settings().SESSION_ENGINE == "django.contrib.sessions.backends.signed_cookies":
            return _proof(environ, [_contents(self._session(key))])  # as with Flask, see there
        return _proof(environ, [key])

    @contextlib.contextmanager
    def around(self, environ: Environ) -> Iterator[None]:
        # What Django does at request_started and request_finished; the signals themselves are about requests.
        from django.db import reset_queries

        reset_queries()
        self._close_old_connections()
        try:
            yield
        finally:
            self._close_old_connections()

    def after_commit(self, function: Callable[[], object]) -> None:
        from django.db import connections

        # Not transaction.on_commit: outside a transaction it would connect to the database just to find that out.
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                # Robust: the data is committed, so a bus that is away must not turn the answer into an error any more.
                # Django logs it.
                connection.on_commit(function, robust=True)
                return
        function()

    def _close_old_connections(self) -> None:
        from django.db import connections

        for connection in connections.all(initialized_only=True):
            if not connection.in_atomic_block:  # as in a TestCase, whose transaction must live on
                connection.close_if_unusable_or_obsolete()

    def _session_cookie(self, environ: Environ) -> str:
        from django.http.cookie import parse_cookie

        cookies: dict[str, str] = parse_cookie(environ.get("HTTP_COOKIE", ""))
        return cookies.get(_settings().SESSION_COOKIE_NAME, "")

    def _session(self, key: str) -> dict[str, Any]:
        engine = importlib.import_module(_settings().SESSION_ENGINE)
        return dict(engine.SessionStore(key).items())

    def _has_users(self) -> bool:
        from django.apps import apps

        if not (apps.apps_ready and apps.is_installed("django.contrib.auth")):
            return False
        in_database = _settings().SESSION_ENGINE in (
            "django.contrib.sessions.backends.db",
            "django.contrib.sessions.backends.cached_db",
        )
        return not in_database or apps.is_installed("django.contrib.sessions")


class _ReadOnlySession(dict[str, Any]):
    """A session as `auth.get_user` wants it, from which nothing is ended and nothing renewed.

    The browser would have to be told by a cookie, and only a response of the site itself can do that.
    """

    def flush(self) -> None:
        self.clear()

    def cycle_key(self) -> None:
        pass


class FlaskSite:
    """A Flask application."""

    name = "flask"

    def __init__(self, app: Any) -> None:
        self.app = app

    def secret(self) -> list[str]:
        config = self.app.config
        return _secrets(config.get("SECRET_KEY"), config.get("SECRET_KEY_FALLBACKS"))

    def authenticate(self, environ: Environ) -> Any:
        flask, flask_login = sys.modules["flask"], sys.modules.get("flask_login")
        if flask_login is None or not hasattr(self.app, "login_manager"):
            return None
        with contextlib.ExitStack() as stack:
            if not flask.has_request_context():
                stack.enter_context(self.around(environ))
            user = flask_login.current_user._get_current_object()
            return user if user is not None and user.is_authenticated else None

    def user_id(self, user: Any) -> str | None:
        return _identity(user)

    def credentials(self, environ: Environ) -> str:
        from werkzeug.http import parse_cookie

        cookies = parse_cookie(environ.get("HTTP_COOKIE"))
        config = self.app.config
        session = self._session_proof(cookies.get(config.get("SESSION_COOKIE_NAME", "session"), ""))
        remembered = cookies.get(config.get("REMEMBER_COOKIE_NAME", "remember_token"), "")
        return _proof(environ, [session, remembered])

    def around(self, environ: Environ) -> AbstractContextManager[object]:
        context: AbstractContextManager[object] = self.app.request_context(_without_body(environ))
        return context

    def after_commit(self, function: Callable[[], object]) -> None:
        function()

    def _session_proof(self, cookie: str) -> str:
        """A session cookie's contents where it holds them itself, else the cookie.

        Flask signs its cookie anew with many a response, with the time in it. The cookie's text would therefore be
        another one after each page that the user opens, and each time a session of ours would end.
        """
        interface = self.app.session_interface
        if not cookie or not hasattr(interface, "get_signing_serializer"):
            return cookie
        serializer = interface.get_signing_serializer(self.app)
        if serializer is None:
            return ""
        try:
            age = int(self.app.permanent_session_lifetime.total_seconds())
            contents = dict(serializer.loads(cookie, max_age=age))
        except BadData:  # forged or expired: no session, as Flask has it
            return ""
        return _contents(contents)


def parts_of(app: object) -> Iterator[object]:
    """The application and what it wraps, as middleware is used to call it; bounded, circles or not."""
    found: list[object] = [app]
    seen: set[int] = set()
    while found and len(seen) < _LOOKED_THROUGH:
        part = found.pop(0)
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        for name in _WRAPPED:
            # Middleware may compute its attributes, and fail in ways of its own.
            with contextlib.suppress(Exception):
                found.append(getattr(part, name, None))


def _settings() -> Any:
    return sys.modules["django.conf"].settings


def _contents(session: Mapping[str, Any]) -> str:
    """A session as one text, without the messages that come and go in it."""
    kept = {key: value for key, value in session.items() if key not in ("_flashes", "_messages")}
    return json.dumps(kept, sort_keys=True, default=repr)


def _secrets(first: object, fallbacks: object) -> list[str]:
    every = (
        [first, *fallbacks] if isinstance(fallbacks, Iterable) and not isinstance(fallbacks, str) else [first]
    )
    return [each.decode("latin-1") if isinstance(each, bytes) else str(each) for each in every if each]


def _identity(user: Any) -> str | None:
    """The id of a user of any make: Flask-Login's `get_id()`, Django's `pk`, an `id`, or the user is an id itself.

    Raises:
        TypeError: it has none of these. (Without an id, one user could not be told from another.)
    """
    if user is None:
        return None
    if isinstance(user, str | int) and not isinstance(user, bool):
        return str(user)
    if callable(getattr(user, "get_id", None)):
        found = user.get_id()
    elif isinstance(user, Mapping) and "id" in user:
        found = user["id"]
    elif hasattr(user, "pk") or hasattr(user, "id"):
        found = user.pk if hasattr(user, "pk") else user.id
    else:
        raise TypeError(
            f"authenticate gave a {type(user).__name__} that has no id, pk or get_id(); return its id"
        )
    return None if found is None else str(found)


def _proof(environ: Environ, cookies: Iterable[str]) -> str:
    """Cookies and what else a user can be known by. As JSON, so that none can be written to look like another."""
    rest = _as_json(environ.get("HTTP_AUTHORIZATION", "")), _as_json(environ.get("REMOTE_USER") or "")
    return f"[[{', '.join(map(_as_json, cookies))}], {', '.join(rest)}]"


def _as_json(value: object) -> str:
    """As `json.dumps` writes it, which takes ten times as long to begin."""
    return encode_basestring_ascii(value) if type(value) is str else json.dumps(value)


def _without_body(environ: Environ) -> dict[str, Any]:
    """A whole environ again: with what PEP 3333 asks for and an empty body in place of the one that was ours."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **environ,
        "CONTENT_LENGTH": "0",
        "wsgi.input": io.BytesIO(),
    }
