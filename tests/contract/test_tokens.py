"""Tokens: what we signed comes back, anything else is nothing, and nothing raises."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer, URLSafeTimedSerializer

from rtbridge.contract.signing import Signed
from rtbridge.contract.tokens import Claims, Tokens
from rtbridge.errors import ConfigError

NOW = 1_700_000_000.0
CLAIMS = Claims("c-1", "7", "f00d", NOW, NOW + 300, {"groups/7/photos": NOW + 120.5})


def tokens(*secrets: str, ttl: float = 300, now: float = NOW, **options: Any) -> Tokens:
    return Tokens(secrets or ("s3cret",), ttl, lambda: now, **options)


TIMES = st.integers(0, 300_000).map(lambda ms: NOW + ms / 1000)


@given(
    st.builds(
        Claims,
        st.text(max_size=20),
        st.none() | st.text(max_size=20),
        st.text(max_size=20),
        st.just(NOW),
        TIMES,
        st.dictionaries(st.from_regex(r"[a-z0-9/]{1,30}", fullmatch=True), TIMES, max_size=10),
    ).filter(lambda claims: claims == _encodable(claims))
)
def test_what_was_signed_comes_back(claims: Claims) -> None:
    read = tokens().read(tokens().issue(claims))
    assert read is not None
    assert (read.client_id, read.user_id, read.fingerprint) == (
        claims.client_id,
        claims.user_id,
        claims.fingerprint,
    )
    assert read.expires == pytest.approx(claims.expires, abs=0.002)
    assert read.channels == pytest.approx(dict(claims.channels), abs=0.002)


def _encodable(claims: Claims) -> Claims | None:
    try:
        repr(claims).encode()
    except UnicodeEncodeError:
        return None
    return claims


def test_times_are_never_rounded_up() -> None:
    claims = Claims("c", None, "", NOW, NOW + 1.0009, {"a": NOW + 2.0009})
    read = tokens().read(tokens().issue(claims))
    assert read is not None
    assert (read.expires, read.channels) == (NOW + 1.0, {"a": NOW + 2.0})


def test_rotation() -> None:
    old, both, new = tokens("old"), tokens("new", "old"), tokens("new")
    assert both.read(old.issue(CLAIMS)) == CLAIMS
    assert new.read(both.issue(CLAIMS)) == CLAIMS
    assert old.read(both.issue(CLAIMS)) is None
    assert new.read(old.issue(CLAIMS)) is None


def test_a_token_is_fit_for_a_header() -> None:
    token = tokens().issue(Claims("c", "üser\r\n", "f", NOW, NOW + 1, {f"c/{n}": NOW for n in range(128)}))
    assert token.isascii()
    assert token.isprintable()
    assert " " not in token


def test_expired_tokens_are_still_read() -> None:
    assert tokens(now=NOW + 86_400).read(tokens().issue(CLAIMS)) == CLAIMS


def test_nothing_reaches_further_than_ttl() -> None:
    read = tokens(ttl=60).read(tokens().issue(CLAIMS))
    assert read is not None
    assert (read.expires, read.channels) == (NOW + 60, {"groups/7/photos": NOW + 60})


def test_a_token_of_the_future_proves_nothing() -> None:
    assert tokens(now=NOW - 299).read(tokens().issue(CLAIMS)) == CLAIMS
    assert tokens(now=NOW - 301).read(tokens().issue(CLAIMS)) is None


@given(st.text() | st.binary() | st.none() | st.integers() | st.just("." * 20_000) | st.just("\ud800"))
def test_anything_else_is_nothing(garbage: Any) -> None:
    assert tokens().read(garbage) is None


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_a_changed_token_is_nothing(index: int, other: str) -> None:
    token = tokens().issue(CLAIMS)
    index %= len(token)
    changed = token[:index] + other + token[index + 1 :]
    assert changed == token or tokens().read(changed) is None
    assert tokens().read(token[:index]) is None
    assert tokens().read(token + other) is None


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        "c",
        [],
        ["c", None, "f", 1, 2],
        ["c", 7, "f", 1, 2, {}],
        ["c", None, "f", 1.5, 2, {}],
        ["c", None, "f", 1, 2, []],
        ["c", None, "f", 1, 2, {"a": "b"}],
        ["c", None, "f", 1, 2, {}, "more"],
    ],
)
def test_another_form_under_our_own_signature(payload: object) -> None:
    assert tokens().read(Signed(["s3cret"], "rtbridge.token.1").dumps(payload)) is None


def test_what_the_site_signs_elsewhere_with_the_same_secret() -> None:
    payload = ["c", None, "f", 1, 2, {}]
    for serializer in (URLSafeSerializer("s3cret"), URLSafeTimedSerializer("s3cret", salt="cookie-session")):
        assert tokens().read(serializer.dumps(payload)) is None  # type: ignore[arg-type]


def test_the_bound_on_length() -> None:
    token = tokens().issue(CLAIMS)
    assert tokens(max_token=len(token)).read(token) == CLAIMS
    assert tokens(max_token=len(token) - 1).read(token) is None


def test_garbage_is_refused_fast() -> None:
    reader = tokens()
    start = time.perf_counter()
    for _ in range(200):
        reader.read("." + "A" * 16_000 + ".AAAA")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("secrets", [[], [""], ["a", ""], "secret"])
def test_secrets_are_needed(secrets: Any) -> None:
    with pytest.raises(ConfigError, match="secret"):
        Tokens(secrets, 300, time.time)


def itsdangerous(*secrets: str) -> URLSafeSerializer[Any]:
    return URLSafeSerializer(
        list(reversed(secrets)),
        salt="rtbridge.token.1",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


@pytest.mark.parametrize("grants", [0, 3, 128])
def test_the_format_is_that_of_itsdangerous(grants: int) -> None:
    claims = Claims("c-1", "ü", "f00d", NOW, NOW + 300, {f"groups/{n}": NOW + n for n in range(grants)})
    payload = ["c-1", "ü", "f00d", int(NOW * 1000), int(NOW * 1000) + 300_000]
    payload.append({f"groups/{n}": int(NOW * 1000) + n * 1000 for n in range(grants)})
    theirs = itsdangerous("new", "old").dumps(payload)
    assert isinstance(theirs, str)
    assert tokens("new").read(theirs) == claims
    assert itsdangerous("new", "old").loads(tokens("new").issue(claims)) == payload
    assert itsdangerous("new", "old").loads(tokens("old").issue(claims)) == payload


def test_a_payload_that_swells_under_our_own_signature() -> None:
    bomb = itsdangerous("s3cret").dumps(["x" * 2_000_000])
    assert isinstance(bomb, str)
    assert len(bomb) < 8_192
    assert tokens().read(bomb) is None
