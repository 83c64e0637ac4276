"""The site's views as sources: called in this process, as nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import flask
import pytest

from rtbridge import Bridge, DataError, RealtimeMiddleware
from rtbridge.bridge.views import View
from support.inprocess import Client, close, settle
from support.redis_servers import until


class Site:
    """A WSGI application that answers what it was told to, and keeps what it was asked."""

    def __init__(self, status: str = "200 OK", body: bytes = b"[1]") -> None:
        self.status, self.body = status, body
        self.asked: list[dict[str, Any]] = []
        self.closed = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(environ)
        to = [("Location", "/login?next=/")] if self.status.startswith("302") else []
        start_response(self.status, [("Content-Type", "application/json"), *to])
        return Body(self)


class Body:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.pieces = iter([site.body[:1], site.body[1:]])

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        return next(self.pieces)

    def close(self) -> None:
        self.site.closed += 1


def view(site: Site, path: str = "/api/photos?newest=20", names: tuple[str, ...] = ()) -> View:
    return View(path, names, lambda: validator(site), lambda: Bridge().framework)


def test_it_is_asked_as_a_browser_would_ask_but_as_nobody() -> None:
    site = Site(body='[{"title": "äé"}]'.encode())
    assert view(site)() == [{"title": "äé"}]
    (environ,) = site.asked
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/api/photos", "newest=20")
    assert "HTTP_COOKIE" not in environ and environ["wsgi.url_scheme"] == "https"
    assert site.closed == 1


def test_parameters_stand_in_its_path() -> None:
    site = Site()
    view(site, "/api/groups/{group}/photos", ("group",))(group="a b/c")
    assert site.asked[0]["PATH_INFO"] == "/api/groups/a b/c/photos"


@pytest.mark.parametrize(
    ("site", "why"),
    [
        (Site(status="302 Found"), r"answered 302 Found \(to /login\?next=/\), not 200"),
        (Site(status="500 Oh no"), "answered 500 Oh no"),
        (Site(body=b"<html>"), "did not answer with JSON"),
        (Site(body=b"\xff"), "did not answer with JSON"),
    ],
)
def test_what_is_no_answer_says_so(site: Site, why: str) -> None:
    with pytest.raises(DataError, match=why):
        view(site)()
    assert site.closed == 1


def test_a_bridge_that_wraps_no_site() -> None:
    with pytest.raises(DataError, match="RealtimeMiddleware"):
        View("/x", (), lambda: None, lambda: Bridge().framework)()


def test_the_five_second_endpoint_of_a_flask_site(tmp_path: Path) -> None:
    """One line, and what every page polled for is asked for once."""
    app = flask.Flask(__name__)
    asked: list[str] = []

    @app.get("/api/photos")
    def photos() -> flask.Response:
        asked.append(flask.request.host)
        return flask.jsonify([{"id": len(asked)}])

    rt = Bridge(lock_file=tmp_path / "lock")
    app.wsgi_app = RealtimeMiddleware(app.wsgi_app, rt)  # type: ignore[method-assign]
    latest = rt.channel("photos/latest", list, keep="latest", public=True, transport="shortpoll", every=5)
    rt.source(latest, view="/api/photos")
    client = Client(app.wsgi_app)

    def newest() -> Any:
        settle(rt)
        return [each["data"] for each in client.get("/rt/channels/photos/latest").json()["publications"]]

    try:
        until(lambda: newest() == [[{"id": 1}]], "it was asked and published")
        for _ in range(20):
            newest()
        assert asked == ["localhost"]
    finally:
        close(rt)


@pytest.mark.parametrize(
    ("allowed", "host"),
    [([], "localhost"), (["*"], "localhost"), ([".shop.example"], "shop.example"), (["a.b", "c.d"], "a.b")],
)
def test_a_host_that_django_accepts(monkeypatch: pytest.MonkeyPatch, allowed: list[str], host: str) -> None:
    settings = type("conf", (), {"settings": type("settings", (), {"ALLOWED_HOSTS": allowed})})
    monkeypatch.setitem(sys.modules, "django.conf", settings)  # type: ignore[arg-type]
    site = Site()
    View("/x", (), lambda: site, lambda: type("site", (), {"name": "django"})())()
    assert site.asked[0]["HTTP_HOST"] == host
