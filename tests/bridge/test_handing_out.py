"""`Bridge.token_for`: whose token it is, what it is bound to, what it grants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, request

from rtbridge import Bridge, ConfigError, DeclarationError, RealtimeMiddleware
from rtbridge.contract.tokens import Claims

ANN = {"HTTP_COOKIE": "session=ann"}


def who(environ: Mapping[str, Any]) -> str | None:
    return environ.get("HTTP_COOKIE", "").removeprefix("session=") or None


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    bridge = Bridge(secret="of these tests", authenticate=who, lock_file=tmp_path / "lock")
    bridge.channel("inbox/{owner}", str)
    return bridge


def claims(bridge: Bridge, token: str) -> Claims:
    read = bridge._make_access().tokens.read(token)
    assert read is not None
    return read


def test_the_user_is_found_in_the_request_or_named(bridge: Bridge) -> None:
    assert claims(bridge, bridge.token_for(ANN)).user_id == "ann"
    assert claims(bridge, bridge.token_for(ANN, user="bob")).user_id == "bob"
    assert claims(bridge, bridge.token_for(ANN, user=None)).user_id is None
    assert claims(bridge, bridge.token_for({})).user_id is None


def test_it_is_bound_to_the_requests_credentials_or_to_none(bridge: Bridge) -> None:
    access = bridge._make_access()
    bound, unbound = bridge.token_for(ANN), bridge.token_for(user="ann")
    assert access.recall(bound, ANN) is not None
    assert access.recall(bound, {"HTTP_COOKIE": "session=eve"}) is None
    assert access.recall(unbound, {"HTTP_COOKIE": "session=eve"}) is not None


def test_it_grants_declared_channels_for_as_long_as_it_lives(bridge: Bridge) -> None:
    read = claims(bridge, bridge.token_for(ANN, channels=["inbox/ann"]))
    assert read.channels == {"inbox/ann": read.expires}
    assert read.expires - read.issued == pytest.approx(bridge.limits.token_ttl, abs=1)
    with pytest.raises(DeclarationError, match="no channel is declared for 'outbox/ann'"):
        bridge.token_for(ANN, channels=["outbox/ann"])


def test_without_anybody_it_says_what_to_give(bridge: Bridge) -> None:
    with pytest.raises(ConfigError, match="takes the request, or user="):
        bridge.token_for()
    with pytest.raises(ConfigError, match="not int"):
        bridge.token_for(3, user="ann")


def test_it_takes_requests_of_django_and_of_flask(bridge: Bridge) -> None:
    assert claims(bridge, bridge.token_for(SimpleNamespace(META=ANN))).user_id == "ann"
    with Flask("shop").test_request_context(headers={"Cookie": "session=ann"}):
        assert claims(bridge, bridge.token_for(request)).user_id == "ann"


def test_a_site_that_is_known_stays_known_when_the_endpoint_is_served_apart(tmp_path: Path) -> None:
    app = Flask("shop")
    app.secret_key = "the site's"
    bridge = Bridge(lock_file=tmp_path / "lock")
    bridge.attach(app)
    RealtimeMiddleware(lambda environ, start_response: [], bridge)
    assert (bridge.framework.name, bridge.framework.secret()) == ("flask", ["the site's"])
