"""What is kept of an environ: all that is text, small, and nothing of one client in what others share."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.session import environ as module
from rtbridge.session.environ import Kept, packed, unpacked

BROWSER: dict[str, Any] = {
    "REQUEST_METHOD": "GET", "PATH_INFO": "/rt/ws", "QUERY_STRING": "version=1", "SERVER_NAME": "localhost",
    "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "wsgi.multithread": False,
    "HTTP_HOST": "shop.example.com", "HTTP_ORIGIN": "https://shop.example.com", "HTTP_UPGRADE": "websocket",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0",
}  # fmt: skip
ADA = {
    "HTTP_COOKIE": "sessionid=9dpq2k3j4h5g6f7d8s9a",
    "REMOTE_ADDR": "192.0.2.1",
    "HTTP_AUTHORIZATION": "Bearer ada",
}
BOB = {
    "HTTP_COOKIE": "sessionid=zzzzzzzzzzzzzzzzzzzz",
    "REMOTE_ADDR": "192.0.2.2",
    "HTTP_AUTHORIZATION": "Bearer bob",
}

KEYS = st.sampled_from([*module._SHARED, "HTTP_COOKIE", "REMOTE_ADDR", "REMOTE_USER", "HTTP_X_ANYTHING", "x"])


@given(st.dictionaries(KEYS, st.text(max_size=400) | st.booleans()))
def test_all_texts_come_back(environ: dict[str, Any]) -> None:
    assert unpacked(packed(environ)) == environ
    assert dict(Kept(packed(environ))) == environ


def test_what_is_no_text_and_the_key_of_a_handshake_are_left_out() -> None:
    kept = Kept(packed({"wsgi.input": io.BytesIO(), "a": 1, "HTTP_SEC_WEBSOCKET_KEY": "x", "HTTP_HOST": "h"}))
    assert dict(kept) == {"HTTP_HOST": "h"}
    assert (kept["HTTP_HOST"], kept.get("HTTP_COOKIE"), len(kept)) == ("h", None, 1)


def test_browsers_of_one_make_share_what_is_not_their_own() -> None:
    ada, bob = packed({**BROWSER, **ADA}), packed({**BROWSER, **BOB})
    assert ada[0] is bob[0]
    assert unpacked(ada) == {**BROWSER, **ADA}
    assert unpacked(bob) == {**BROWSER, **BOB}
    assert unpacked((ada[0], b"{}")) == BROWSER
    assert not {*ADA, "REMOTE_USER", "HTTP_X_FORWARDED_FOR", "HTTP_RTBRIDGE_TOKEN"} & set(module._SHARED)


@pytest.mark.parametrize("cookie", ["", "sessionid=" + "0123456789abcdefghijklmnopqrstuvwxyz" * 3])
def test_it_is_small(cookie: str) -> None:
    _, own = packed({**BROWSER, "HTTP_COOKIE": cookie, "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "51234"})
    assert sys.getsizeof(own) < 150


def test_what_strangers_make_long_is_not_remembered() -> None:
    before = module._packed_once.cache_info().currsize
    long = {**BROWSER, "HTTP_USER_AGENT": "x" * 60_000}
    assert unpacked(packed(long)) == long
    assert sum(map(sys.getsizeof, packed(long))) < 700
    assert module._packed_once.cache_info().currsize == before
