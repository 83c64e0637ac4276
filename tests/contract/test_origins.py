"""Who may ask, as a table: what the browser says, what the site is called, and whether they agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.errors import ConfigError
from rtbridge.origins import Origin, OriginRules


def environ(**given_: Any) -> dict[str, Any]:
    """`origin=...` as HTTP_ORIGIN and so on; `scheme=` for wsgi.url_scheme."""
    made = {"SERVER_NAME": "testserver", "SERVER_PORT": "80", "wsgi.url_scheme": given_.pop("scheme", "http")}
    return made | {f"HTTP_{key.upper()}": value for key, value in given_.items() if value is not None}


OWN = [
    # Origin, Host, may
    ("https://example.com", "example.com", True),
    ("http://example.com", "example.com", True),
    ("https://example.com", "example.com:443", True),
    ("http://example.com", "example.com:80", True),
    ("https://example.com:443", "example.com", True),
    ("https://example.com", "example.com:80", False),
    ("http://example.com", "example.com:443", False),
    ("https://example.com:8443", "example.com:8443", True),
    ("https://example.com:8443", "example.com", False),
    ("https://example.com", "example.com:8443", False),
    ("http://localhost:8000", "localhost:8000", True),
    ("http://localhost:8000", "127.0.0.1:8000", False),
    ("http://localhost:8000", "localhost:8001", False),
    ("https://EXAMPLE.com", "example.COM", True),
    ("HTTPS://example.com", "example.com", True),
    ("https://example.com.", "example.com", False),
    ("https://example.com", "example.com.", False),
    ("https://example.com.", "example.com.", True),
    ("https://example.com..", "example.com..", False),
    ("http://[::1]:8000", "[::1]:8000", True),
    ("http://[::1]", "[0:0:0:0:0:0:0:1]:80", True),
    ("http://[::1]:8000", "[::2]:8000", False),
    ("http://[::1%25eth0]", "[::1%25eth0]", False),
    ("http://[:::]", "[:::]", False),
    ("https://example.com.evil.com", "example.com", False),
    ("https://evilexample.com", "example.com", False),
    ("https://sub.example.com", "example.com", False),
    ("https://example.com", "sub.example.com", False),
    ("https://example.com@evil.com", "example.com", False),
    ("https://evil.com@example.com", "example.com", False),
    ("https://example.com:x@evil.com", "example.com", False),
    ("https://example.com:443@evil.com", "example.com", False),
    ("https://evil.com/example.com", "example.com", False),
    ("https://evil.com#example.com", "example.com", False),
    ("https://evil.com?example.com", "example.com", False),
    ("https://evil.com\\example.com", "example.com", False),
    ("https://example.com/", "example.com", False),
    ("https://example.com/path", "example.com", False),
    ("https://example.com, https://evil.com", "example.com", False),
    ("https://example.com https://evil.com", "example.com", False),
    ("https://example.com\n", "example.com", False),
    ("https:example.com", "example.com", False),
    ("//example.com", "example.com", False),
    ("example.com", "example.com", False),
    ("ftp://example.com", "example.com", False),
    ("chrome-extension://example.com", "example.com", False),
    ("https://example.com:", "example.com", False),
    ("https://example.com:0", "example.com:0", False),
    ("https://example.com:65536", "example.com:65536", False),
    ("https://example.com:٤٤٣", "example.com", False),
    ("https://exаmple.com", "exаmple.com", False),
    ("null", "example.com", False),
    ("null", "null", False),
    ("", "example.com", False),
    ("https://", "", False),
    ("https://example.com", "example.com, evil.com", False),
    ("https://example.com", "evil.com@example.com", False),
]


@pytest.mark.parametrize(("origin", "host", "may"), OWN)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_the_own_origin(method: str, origin: str, host: str, may: bool) -> None:
    assert (OriginRules().check(method, environ(origin=origin, host=host)) is None) is may


def test_where_tls_is_known_a_page_without_it_is_another_site() -> None:
    rules = OriginRules()
    secure = environ(origin="https://example.com", host="example.com", scheme="https")
    assert rules.check("GET", secure) is None
    assert rules.check("GET", secure | {"HTTP_ORIGIN": "http://example.com"}) is not None
    assert rules.check("GET", secure | {"HTTP_ORIGIN": "http://example.com:443"}) is not None


def test_without_a_host_header_the_server_s_name_counts() -> None:
    assert OriginRules().check("GET", environ(origin="http://testserver")) is None
    assert OriginRules().check("GET", environ(origin="http://testserver:81")) is not None
    assert OriginRules().check("GET", {"HTTP_ORIGIN": "http://testserver"}) is not None


def test_the_sentence_names_both_and_both_remedies() -> None:
    sentence = OriginRules().check(
        "POST", environ(origin="https://evil.com\n\x1b" + "x" * 999, host="example.com")
    )
    assert sentence is not None
    assert "'https://evil.com\\n\\x1bxxx" in sentence
    assert "'example.com'" in sentence
    assert "allowed_origins" in sentence
    assert "proxies=1" in sentence
    assert len(sentence) < 600


@pytest.mark.parametrize(
    ("proxies", "forwarded", "origin", "may"),
    [
        (0, "example.com", "https://example.com", False),
        (0, "example.com", "https://backend:8000", True),
        (1, "example.com", "https://example.com", True),
        (1, "example.com", "https://backend:8000", False),
        (1, None, "https://backend:8000", True),
        (1, "", "https://backend:8000", True),
        (1, "evil.com, example.com", "https://example.com", True),
        (1, "evil.com, example.com", "https://evil.com", False),
        (2, "example.com, inner", "https://example.com", True),
        (2, "evil.com,example.com ,inner", "https://example.com", True),
        (2, "evil.com,example.com,inner", "https://evil.com", False),
        (2, "evil.com", "https://evil.com", False),
        (1, '"example.com"', "https://example.com", True),
        (1, "example.com:8443", "https://example.com:8443", True),
    ],
)
def test_proxies(proxies: int, forwarded: str | None, origin: str, may: bool) -> None:
    asked = environ(origin=origin, host="backend:8000", x_forwarded_host=forwarded)
    assert (OriginRules((), proxies).check("GET", asked) is None) is may


def test_the_proxy_s_word_on_tls() -> None:
    asked = environ(origin="http://example.com", host="example.com", x_forwarded_proto="https")
    assert OriginRules((), 1).check("GET", asked) is not None
    assert OriginRules((), 0).check("GET", asked) is None


ALLOWED = [
    "https://app.example.com",
    "http://localhost:3000",
    "https://*.example.org",
    "capacitor://localhost",
]


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("https://app.example.com", True),
        ("https://app.example.com:443", True),
        ("https://APP.example.com", True),
        ("http://app.example.com", False),
        ("https://app.example.com:8443", False),
        ("https://other.example.com", False),
        ("https://app.example.com.evil.com", False),
        ("http://localhost:3000", True),
        ("http://localhost", False),
        ("https://a.example.org", True),
        ("https://a.b.example.org", True),
        ("https://example.org", False),
        ("https://evilexample.org", False),
        ("https://a.example.org.", False),
        ("https://a.example.org:8443", False),
        ("http://a.example.org", False),
        ("https://.example.org", False),
        ("capacitor://localhost", True),
        ("capacitor://elsewhere", False),
        ("null", False),
    ],
)
def test_allowed_origins(origin: str, may: bool) -> None:
    rules = OriginRules(ALLOWED)
    asked = environ(origin=origin, host="example.com")
    assert (rules.check("GET", asked) is None) is may
    headers = dict(rules.cors_headers(asked))
    assert headers["Vary"] == "Origin"
    assert headers.get("Access-Control-Allow-Origin") == (origin if may else None)
    assert headers.get("Access-Control-Allow-Credentials") == ("true" if may else None)


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "https://*",
        "https://*.com",
        "https://*.com.",
        "https://a.*.com",
        "https://*.*.com",
        "https://*example.com",
        "*.example.com",
        "https://*.10.0",
        "https://*.[::1]",
        "null",
        "example.com",
        "https://example.com/",
        "https://example.com/app",
        "https://user@example.com",
        "https://example.com:99999",
        "",
    ],
)
def test_entries_that_are_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match="allowed_origins") as caught:
        OriginRules([entry])
    assert repr(entry) in str(caught.value)


def test_other_arguments_that_are_refused() -> None:
    with pytest.raises(ConfigError, match="list"):
        OriginRules("https://example.com")
    with pytest.raises(ConfigError, match="proxies"):
        OriginRules((), -1)


@pytest.mark.parametrize(
    ("method", "headers", "may"),
    [
        ("GET", {}, True),
        ("POST", {}, True),
        ("GET", {"sec_fetch_site": "same-origin"}, True),
        ("GET", {"sec_fetch_site": "none"}, True),
        ("GET", {"sec_fetch_site": "same-site"}, False),
        ("GET", {"sec_fetch_site": "cross-site"}, False),
        ("GET", {"sec_fetch_site": "Cross-Site"}, False),
        ("GET", {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, False),
        ("POST", {"sec_fetch_site": "cross-site"}, False),
        ("GET", {"upgrade": "websocket"}, True),
        ("GET", {"upgrade": "websocket", "cookie": "a=b"}, False),
        ("GET", {"upgrade": "WebSocket", "cookie": "a=b"}, False),
        ("GET", {"upgrade": "h2c, websocket", "cookie": "a=b"}, False),
        ("GET", {"upgrade": "websocket/13", "cookie": "a=b"}, False),
        ("GET", {"upgrade": "websocket", "cookie": "a=b", "sec_fetch_site": "same-origin"}, False),
        ("GET", {"cookie": "a=b"}, True),
        ("POST", {"cookie": "a=b"}, True),
    ],
)
def test_without_an_origin(method: str, headers: dict[str, str], may: bool) -> None:
    assert (OriginRules(ALLOWED).check(method, environ(host="example.com", **headers)) is None) is may


def test_a_socket_that_the_server_took_already() -> None:
    asked = environ(host="example.com", cookie="a=b") | {"wsgi.websocket": object()}
    assert OriginRules().check("GET", asked) is not None
    assert OriginRules().check("GET", asked | {"HTTP_ORIGIN": "https://example.com"}) is None


def test_a_site_may_say_more_than_sec_fetch_site() -> None:
    asked = environ(host="example.com", origin="https://app.example.com", sec_fetch_site="same-site")
    assert OriginRules(ALLOWED).check("POST", asked) is None


def test_cors_without_allowed_origins_is_silent() -> None:
    assert OriginRules().cors_headers(environ(origin="https://example.com", host="example.com")) == []


def test_cors_for_the_own_pages_and_for_no_browser_is_only_vary() -> None:
    rules = OriginRules(ALLOWED)
    assert rules.cors_headers(environ(origin="https://example.com", host="example.com")) == [
        ("Vary", "Origin")
    ]
    assert rules.cors_headers(environ(host="example.com")) == [("Vary", "Origin")]


def test_preflight() -> None:
    rules = OriginRules(ALLOWED)
    asked = environ(
        origin="https://app.example.com", host="example.com", access_control_request_method="POST"
    )
    headers = dict(rules.cors_headers(asked | {"REQUEST_METHOD": "OPTIONS"}))
    assert headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert "Content-Type" in headers["Access-Control-Allow-Headers"]
    assert "Rtbridge-Token" in headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Methods" not in dict(rules.cors_headers(asked | {"REQUEST_METHOD": "POST"}))
    strange = asked | {"REQUEST_METHOD": "OPTIONS", "HTTP_ORIGIN": "https://evil.com"}
    assert rules.cors_headers(strange) == [("Vary", "Origin")]


@given(st.text(alphabet=":/.@[]\\#? aex*0189-\n", max_size=30), st.text(alphabet=":.@[]ax1", max_size=12))
def test_no_text_is_an_error(origin: str, host: str) -> None:
    OriginRules(ALLOWED, 1).check("GET", environ(origin=origin, host=host, x_forwarded_host=origin))


@given(st.from_regex(r"https?://[a-z]{1,5}(\.[a-z]{1,3})?(:[0-9]{1,5})?", fullmatch=True))
def test_an_origin_is_its_own_and_nobody_else_s(text: str) -> None:
    origin = Origin.parse(text)
    if origin is None:
        return
    host = text.partition("//")[2]
    assert OriginRules().check("GET", environ(origin=text, host=host)) is None
    assert OriginRules().check("GET", environ(origin=text, host="x" + host)) is not None
    assert OriginRules([text]).check("GET", environ(origin=text, host="elsewhere")) is None


@pytest.mark.parametrize(
    ("proxies", "remote", "forwarded", "counted"),
    [
        (0, "8.8.8.8", "1.1.1.1", "8.8.8.8"),
        (0, "8.8.8.8:4711", "", "8.8.8.8"),
        (0, "127.0.0.1", "1.1.1.1", ""),
        (0, "10.1.2.3", "", ""),
        (0, "", "", ""),
        (0, "unix:", "", ""),
        (0, "2001:4860:4860::8888", "", "2001:4860:4860::/64"),
        (0, "[2001:4860:4860::8888]:443", "", "2001:4860:4860::/64"),
        (0, "::ffff:8.8.8.8", "", "8.8.8.8"),
        (1, "127.0.0.1", "6.6.6.6, 8.8.8.8", "8.8.8.8"),
        (2, "127.0.0.1", "6.6.6.6, 8.8.8.8, 10.0.0.1", "8.8.8.8"),
        (1, "127.0.0.1", "192.168.1.7", "192.168.1.7"),
        (1, "127.0.0.1", "", ""),
        (3, "127.0.0.1", "8.8.8.8", ""),
        (1, "127.0.0.1", "nonsense", ""),
    ],
)
def test_the_address_that_is_counted(proxies: int, remote: str, forwarded: str, counted: str) -> None:
    rules = OriginRules((), proxies)
    environ = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded}
    assert rules.address(environ) == counted == rules.address(environ)


def test_addresses_are_not_remembered_without_bound() -> None:
    rules = OriginRules()
    for number in range(25_000):
        rules.address({"REMOTE_ADDR": f"8.8.{number // 256}.{number % 256}"})
    assert len(rules._addresses) <= 10_000
