"""The site around us. Django runs in a process of its own, because its settings are one per process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
import types
from typing import Any

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import create_environ

from rtbridge import frameworks
from rtbridge.frameworks import FlaskSite, PlainSite, find_framework


def texts(environ: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an environ after its request: no body, no objects of the server."""
    return {key: value for key, value in environ.items() if isinstance(value, str | bool)}


class Whitenoise:
    def __init__(self, application: object) -> None:
        self.application = application

    @property
    def app(self) -> object:
        raise RuntimeError("not now")


# ---- finding it


def test_flask_is_found_through_middleware() -> None:
    app = flask.Flask("site")
    bound = app.wsgi_app
    for wrapped in (app, bound, ProxyFix(bound), Whitenoise(ProxyFix(Whitenoise(bound)))):
        found = find_framework(wrapped)
        assert isinstance(found, FlaskSite)
        assert found.app is app
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    assert isinstance(find_framework(Whitenoise(app)), FlaskSite)


def test_middleware_without_end() -> None:
    class Circle:
        @property
        def app(self) -> object:
            return self

        @property
        def application(self) -> object:
            return Circle()

    assert find_framework(Circle()).name == "plain"
    deep: object = flask.Flask("site")
    for _ in range(10):
        deep = Whitenoise(deep)
    assert find_framework(deep).name == "flask"


def test_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flask", "django.conf"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert find_framework(flask.Flask("site")).name == "plain"
    assert find_framework(None).name == "plain"
    script = "import sys, rtbridge.frameworks as f; f.find_framework(1); print({'flask', 'django'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


# ---- a site of which we know nothing


def test_plain() -> None:
    plain = PlainSite()
    assert (plain.secret(), plain.authenticate({})) == ([], None)
    with plain.around({}):
        pass
    done: list[int] = []
    plain.after_commit(lambda: done.append(1))
    assert done == [1]


def test_plain_credentials_are_all_cookies() -> None:
    proof = PlainSite().credentials
    assert proof({}) == proof({"HTTP_COOKIE": ""}) == proof({"HTTP_COOKIE": " ; "})
    assert proof({"HTTP_COOKIE": "a=1; b=2"}) == proof({"HTTP_COOKIE": "b=2;a=1"})
    others = [
        {},
        {"HTTP_COOKIE": "a=1"},
        {"HTTP_COOKIE": "a=1; b=2"},
        {"HTTP_COOKIE": "a=2"},
        {"HTTP_AUTHORIZATION": "a=1"},
        {"REMOTE_USER": "a=1"},
        {"HTTP_COOKIE": "a=1", "HTTP_AUTHORIZATION": "Basic x"},
    ]
    assert len({proof(environ) for environ in others}) == len(others)


@pytest.mark.parametrize(
    ("user", "user_id"),
    [
        (None, None),
        ("ann", "ann"),
        (7, "7"),
        ({"id": 7}, "7"),
        (types.SimpleNamespace(id=7), "7"),
        (types.SimpleNamespace(pk=0, id=7), "0"),
        (types.SimpleNamespace(pk=None), None),
        (types.SimpleNamespace(get_id=lambda: "x", id=7), "x"),
    ],
)
def test_user_id(user: object, user_id: str | None) -> None:
    assert PlainSite().user_id(user) == user_id


@pytest.mark.parametrize("user", [True, object(), {}, ["ann"]])
def test_a_user_without_an_id_is_an_error(user: object) -> None:
    with pytest.raises(TypeError, match="id"):
        PlainSite().user_id(user)


# ---- Flask


@pytest.fixture
def app() -> flask.Flask:
    made = flask.Flask("site")
    made.config.update(SECRET_KEY="newest", SECRET_KEY_FALLBACKS=["older", b"oldest"])

    @made.route("/login/<name>")
    def login(name: str) -> str:
        flask.session["_user_id"] = name
        return "in"

    @made.route("/flash")
    def flash() -> str:
        flask.flash("hello")
        return "flashed"

    return made


def cookie_of(app: flask.Flask, *paths: str) -> str:
    client = app.test_client()
    for path in paths:
        client.get(path)
    cookie = client.get_cookie("session")
    assert cookie is not None
    return f"session={cookie.value}"


def test_flask_secrets(app: flask.Flask) -> None:
    assert FlaskSite(app).secret() == ["newest", "older", "oldest"]
    assert FlaskSite(flask.Flask("bare")).secret() == []


def test_flask_surroundings(app: flask.Flask) -> None:
    torn_down: list[object] = []
    app.teardown_request(torn_down.append)
    asked = create_environ(
        "/rt/poll", method="POST", data="the bridge's own body", headers={"X-Mark": "here"}
    )
    for environ in (asked, texts(asked), {}):
        with FlaskSite(app).around(environ):
            assert flask.current_app._get_current_object() is app  # type: ignore[attr-defined]
            assert flask.request.get_data() == b""
            assert flask.request.headers.get("X-Mark") == environ.get("HTTP_X_MARK")
    assert torn_down == [None, None, None]
    assert asked["wsgi.input"].read() == b"the bridge's own body"
    with pytest.raises(ZeroDivisionError), FlaskSite(app).around({}):
        1 / 0
    assert isinstance(torn_down[3], ZeroDivisionError)
    assert not flask.has_request_context()


def test_flask_users_are_flask_login_s(app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    site = FlaskSite(app)
    environ = {"HTTP_COOKIE": cookie_of(app, "/login/ann")}
    assert site.authenticate(environ) is None

    class User:
        def __init__(self, name: str | None) -> None:
            self.name = name
            self.is_authenticated = name is not None

        def get_id(self) -> str | None:
            return self.name

    class CurrentUser:
        def _get_current_object(self) -> User:
            return User(flask.session.get("_user_id"))

    monkeypatch.setitem(sys.modules, "flask_login", types.SimpleNamespace(current_user=CurrentUser()))  # type: ignore[misc]
    assert site.authenticate(environ) is None
    app.login_manager = object()  # type: ignore[attr-defined]
    assert site.user_id(site.authenticate(environ)) == "ann"
    assert site.authenticate({}) is None
    with site.around(environ):
        assert site.user_id(site.authenticate(environ)) == "ann"
        assert flask.has_request_context()


def test_flask_credentials_outlive_a_cookie_signed_anew(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def proof(cookie: str) -> str:
        return FlaskSite(app).credentials({"HTTP_COOKIE": cookie})

    ann = cookie_of(app, "/login/ann")
    later = cookie_of(app, "/login/ann", "/flash")
    assert ann != later
    assert proof(ann) == proof(later) == proof("other=1; " + ann)
    assert proof(ann) != proof(cookie_of(app, "/login/bob"))
    assert proof(ann) != proof("")
    assert proof(ann[:-2]) == proof("session=") == proof("")
    assert proof("remember_token=7|x") != proof("")
    assert proof("remember_token=7|x") != proof("session=7|x")
    app.permanent_session_lifetime = -10  # type: ignore[assignment]
    assert proof(ann) == proof("")


def test_flask_credentials_with_other_sessions(app: flask.Flask) -> None:
    def proof(cookie: str) -> str:
        return FlaskSite(app).credentials({"HTTP_COOKIE": cookie})

    app.session_interface = object()  # type: ignore[assignment]
    assert proof("session=sid-1") != proof("session=sid-2")
    assert proof("session=sid-1") != proof("remember_token=sid-1")
    del app.session_interface
    app.secret_key = None
    assert proof("session=sid-1") == proof("")


# ---- Django

DJANGO = """
import os, sys
from django.conf import settings
settings.configure(
    SECRET_KEY="newest", SECRET_KEY_FALLBACKS=["older"], USE_TZ=True, DEBUG=True, **{options},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {database!r}}}}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
import django
django.setup()
from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY
from django.core.management import call_command
from django.db import connection, transaction
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from importlib import import_module
from rtbridge.frameworks import find_framework

call_command("migrate", verbosity=0)
site = find_framework(None)
assert site.name == "django", site
Store = import_module(settings.SESSION_ENGINE).SessionStore
ann = User.objects.create_user("ann", password="x")

def log_in(user, proof=None):
    store = Store()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = proof or user.get_session_auth_hash()
    store.save()
    return {{"HTTP_COOKIE": "other=1; sessionid=" + store.session_key}}
"""


def run_django(tmp_path: Any, code: str, **options: object) -> None:
    script = DJANGO.format(database=str(tmp_path / "db.sqlite3"), options=options) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", script + "\nprint('ok')"], capture_output=True, text=True, timeout=110
    )
    assert done.stdout.endswith("ok\n"), done.stdout + done.stderr


def test_django_users(tmp_path: Any) -> None:
    run_django(
        tmp_path,
        """
        assert site.secret() == ["newest", "older"]
        environ = log_in(ann)
        user = site.authenticate(environ)
        assert user == ann and site.user_id(user) == str(ann.pk)
        assert site.authenticate({}) is None
        for garbage in ("x", "x" * 32, "", "../../etc", "\\x00", "\\xff" * 40):
            assert site.authenticate({"HTTP_COOKIE": "sessionid=" + garbage}) is None

        # A rotated secret: the browser cannot be told of a new session key here, so the old one has to live on.
        (fallback,) = ann.get_session_auth_fallback_hash()
        old = log_in(ann, fallback)
        before = set(Session.objects.values_list("session_key", "session_data"))
        assert site.authenticate(old) == ann
        assert site.authenticate(log_in(ann, "forged")) is None
        assert before <= set(Session.objects.values_list("session_key", "session_data"))

        ann.set_password("another")
        ann.save()
        assert site.authenticate(environ) is None
        environ = log_in(ann)
        ann.is_active = False
        ann.save()
        assert site.authenticate(environ) is None

        one, two = log_in(ann), log_in(ann)
        assert site.credentials(one) == site.credentials({"HTTP_COOKIE": one["HTTP_COOKIE"].partition("; ")[2]})
        assert len({site.credentials(e) for e in (one, two, {}, {"HTTP_AUTHORIZATION": "x"})}) == 4
        """,
    )


def test_django_surroundings(tmp_path: Any) -> None:
    run_django(
        tmp_path,
        """
        from django.core.wsgi import get_wsgi_application
        assert find_framework(get_wsgi_application()).name == "django"
        seen = []
        connection.close()
        site.after_commit(lambda: seen.append("at once"))
        assert connection.connection is None, "publishing must not connect to the database"
        assert seen == ["at once"]

        with site.around({}):
            User.objects.count()
            assert connection.connection is not None
        assert connection.connection is None, "CONN_MAX_AGE is 0"
        with site.around({}):
            assert connection.queries == []

        with transaction.atomic():
            with transaction.atomic():
                site.after_commit(lambda: seen.append("committed"))
            assert seen == ["at once"]
        assert seen == ["at once", "committed"]
        try:
            with transaction.atomic():
                site.after_commit(lambda: seen.append("never"))
                1 / 0
        except ZeroDivisionError:
            pass
        assert seen == ["at once", "committed"]
        with transaction.atomic(), site.around({}):
            User.objects.count()
        """,
    )


def test_django_sessions_in_cookies(tmp_path: Any) -> None:
    run_django(
        tmp_path,
        """
        import time
        one = log_in(ann)
        time.sleep(1.1)
        two = log_in(ann)
        assert one != two, "the time is in the cookie"
        assert site.authenticate(one) == ann
        assert site.credentials(one) == site.credentials(two) != site.credentials({})
        forged = {"HTTP_COOKIE": one["HTTP_COOKIE"][:-1]}
        assert site.credentials(forged) == site.credentials({"HTTP_COOKIE": "sessionid=x"}) != site.credentials(one)
        """,
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    )


def test_django_without_users_or_secret() -> None:
    script = """
    from django.conf import settings
    from rtbridge.frameworks import find_framework
    assert find_framework(None).name == "plain"
    settings.configure()
    site = find_framework(None)
    assert (site.name, site.secret()) == ("django", [])
    assert site.authenticate({"HTTP_COOKIE": "sessionid=x"}) is None
    import django
    django.setup()
    assert site.authenticate({"HTTP_COOKIE": "sessionid=x"}) is None
    with site.around({}):
        site.after_commit(lambda: print("ok"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=110
    )
    assert done.stdout == "ok\n", done.stderr


def test_a_whole_environ_is_made_of_what_is_left() -> None:
    made = frameworks._without_body(
        {"HTTP_HOST": "h", "CONTENT_LENGTH": "5", "wsgi.input": io.BytesIO(b"mine")}
    )
    assert made["wsgi.input"].read() == b""
    assert (made["HTTP_HOST"], made["CONTENT_LENGTH"], made["REQUEST_METHOD"]) == ("h", "0", "GET")


@given(st.lists(st.text()), st.text(), st.text() | st.none() | st.integers())
def test_a_proof_is_written_as_json(cookies: list[str], authorization: str, user: Any) -> None:
    """As it ever was: another text would be other credentials, and end every session at an upgrade."""
    environ = {"HTTP_AUTHORIZATION": authorization, "REMOTE_USER": user}
    assert frameworks._proof(environ, iter(cookies)) == json.dumps([cookies, authorization, user or ""])
