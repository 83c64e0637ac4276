"""Terms that are remembered are those that would be found anew, for whoever asks and whoever asked before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.origins import OriginRules
from rtbridge.wsgi import terms as terms_module
from rtbridge.wsgi.terms import Terms, TermsBook

RULES = OriginRules(["https://app.example.com", "https://*.example.org"], proxies=1)
HOSTS = ["shop.example.com", "app.example.com", "a.example.org", "evil.test"]
ORIGINS = [f"{scheme}://{host}" for scheme in ("http", "https") for host in HOSTS] + ["null", "?"]

ENVIRONS = st.fixed_dictionaries(
    {"REQUEST_METHOD": st.sampled_from(["GET", "POST", "OPTIONS"])},
    optional={
        "wsgi.url_scheme": st.sampled_from(["http", "https"]),
        "SERVER_NAME": st.sampled_from(HOSTS),
        "SERVER_PORT": st.sampled_from(["80", "443"]),
        "HTTP_HOST": st.sampled_from(HOSTS),
        "HTTP_ORIGIN": st.sampled_from(ORIGINS),
        "HTTP_SEC_FETCH_SITE": st.sampled_from(["same-origin", "same-site", "cross-site", "none"]),
        "HTTP_X_FORWARDED_HOST": st.sampled_from([*HOSTS, f"{HOSTS[3]}, {HOSTS[0]}"]),
        "HTTP_X_FORWARDED_PROTO": st.sampled_from(["http", "https"]),
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": st.just("POST"),
        "HTTP_UPGRADE": st.sampled_from(["websocket", "h2c"]),
        "HTTP_CONNECTION": st.sampled_from(["keep-alive", "Close", "Upgrade, close"]),
        "HTTP_COOKIE": st.sampled_from(["", "session=ada", "session=bob"]),
        "HTTP_ACCEPT": st.sampled_from(
            ["*/*", "text/event-stream", "application/json", "Application/MsgPack;q=1"]
        ),
        "CONTENT_TYPE": st.sampled_from(["application/json", "application/msgpack", "text/plain"]),
        "wsgi.websocket": st.just(object()),
        "HTTP_AUTHORIZATION": st.sampled_from(["Bearer a", "Bearer b"]),
    },
)


def said(terms: Terms) -> dict[str, object]:
    return {name: getattr(terms, name) for name in Terms.__slots__}


BOOK = TermsBook(RULES)


@given(ENVIRONS)
def test_what_is_remembered_is_what_would_be_found_anew(environ: dict[str, Any]) -> None:
    assert said(BOOK.of(environ)) == said(Terms(RULES, environ))


@given(ENVIRONS)
def test_nothing_decides_that_it_is_not_looked_up_by(environ: dict[str, Any]) -> None:
    class Spied(dict[str, Any]):
        seen: set[str] = set()

        def get(self, key: str, default: Any = None) -> Any:
            self.seen.add(key)
            return super().get(key, default)

        def __contains__(self, key: object) -> bool:
            self.seen.add(str(key))
            return super().__contains__(key)

    spied = Spied(environ)
    Terms(RULES, spied)
    assert spied.seen <= {*terms_module._DECIDE, "HTTP_COOKIE", "wsgi.websocket"}


@pytest.mark.parametrize("backwards", [False, True])
def test_one_page_is_not_let_in_for_another(backwards: bool) -> None:
    environs = [
        {"REQUEST_METHOD": "POST", "HTTP_HOST": "shop.example.com", "HTTP_ORIGIN": o} for o in ORIGINS
    ]
    if backwards:
        environs.reverse()
    book = TermsBook(RULES)
    for environ in [*environs, *environs]:
        may = environ["HTTP_ORIGIN"] in (
            "http://shop.example.com", "https://shop.example.com", "https://app.example.com", "https://a.example.org",
        )  # fmt: skip
        assert (book.of(environ).refused is None) == may, environ
        for _, value in book.of(environ).cors:
            assert "://" not in value or value == environ["HTTP_ORIGIN"]


def test_who_asks_is_not_remembered() -> None:
    book = TermsBook(RULES)
    asked = {"REQUEST_METHOD": "GET", "HTTP_HOST": "shop.example.com", "HTTP_UPGRADE": "websocket"}
    ada, bob = (book.of({**asked, "HTTP_COOKIE": f"session={name}"}) for name in ("ada", "bob"))
    assert ada is bob
    assert ada.refused is not None  # cookies, and no Origin
    assert book.of(asked).refused is None
    assert "ada" not in repr(vars(book))


def test_it_is_bounded() -> None:
    book = TermsBook(RULES)
    for number in range(3 * terms_module._REMEMBERED):
        assert book.of({"REQUEST_METHOD": "POST", "HTTP_HOST": f"host-{number}"}).refused is None
    assert len(book) <= terms_module._REMEMBERED
    before = len(book)
    long = {"REQUEST_METHOD": "POST", "HTTP_ACCEPT": "x" * 2_000, "HTTP_SEC_FETCH_SITE": "cross-site"}
    assert book.of(long).refused is not None
    assert len(book) == before
