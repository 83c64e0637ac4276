"""Channel declarations and the registry: closed until opened, and one name belongs to one declaration."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.bus.contract import LATEST, VOLATILE, History
from rtbridge.config import Limits
from rtbridge.contract.calls import CallDeclaration
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.context import Context
from rtbridge.contract.registry import Registry
from rtbridge.errors import DeclarationError, Refused

CTX = Context(client_id="c-1", user_id="7", environ={}, transport="longpoll", load_user=lambda: "ann")


@dataclass
class Photo:
    id: int


def photos(**options: Any) -> ChannelDeclaration:
    return ChannelDeclaration("groups/{group_id:int}/photos", Photo, **options)


def test_defaults() -> None:
    channel = photos()
    assert (channel.keep, channel.public, channel.transport, channel.every) == (History(), False, None, 5.0)
    assert photos(limits=Limits(poll_interval=9)).every == 9.0
    assert channel.schema.dump(Photo(3)) == b'{"id":3}'
    assert repr(channel) == "<channel 'groups/{group_id:int}/photos'>"


def test_keep() -> None:
    assert photos(keep="latest").keep == LATEST
    assert photos(keep="volatile").keep == VOLATILE
    assert photos(keep=History(5, ttl=60)).keep == History(5, 60.0)
    for wrong in ("forever", 200, True):
        with pytest.raises(DeclarationError, match="keep must be"):
            photos(keep=wrong)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"transport": "carrier pigeon"}, "shortpoll, longpoll"),
        ({"every": 0}, "every"),
        ({"every": float("nan")}, "every"),
        ({"transport": "shortpoll", "keep": "volatile"}, "never waits"),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(DeclarationError, match=reason):
        photos(**options)


def test_a_channel_is_closed_until_opened(caplog: pytest.LogCaptureFixture) -> None:
    channel = photos()
    with caplog.at_level(logging.WARNING, "rtbridge"):
        assert channel.may_follow(CTX, {"group_id": 7}) is False
        assert channel.may_follow(CTX, {"group_id": 8}) is False
    (record,) = caplog.records
    assert "groups/{group_id:int}/photos" in record.getMessage()
    assert "public=True" in record.getMessage()


def test_public() -> None:
    channel = photos(public=True)
    assert channel.may_follow(CTX, {"group_id": 7}) is True
    with pytest.raises(DeclarationError, match="public"):
        channel.authorize(lambda ctx, group_id: True)


@pytest.mark.parametrize(
    ("answer", "may"), [(True, True), (1, True), ([], False), (None, False), ("x", True)]
)
def test_authorize(answer: object, may: bool) -> None:
    channel = photos()
    seen: list[object] = []

    @channel.authorize
    def members_only(ctx: Context, group_id: int) -> object:
        seen.append((ctx.user, group_id))
        return answer

    assert channel.may_follow(CTX, {"group_id": 7}) is may
    assert seen == [("ann", 7)]
    assert members_only(CTX, 7) == answer


def test_authorize_may_raise() -> None:
    channel = photos()

    @channel.authorize
    def refuse(ctx: Context, group_id: int) -> bool:
        raise Refused("members only")

    with pytest.raises(Refused, match="members only"):
        channel.may_follow(CTX, {"group_id": 7})
    with pytest.raises(DeclarationError, match="already"):
        channel.authorize(refuse)


async def _later(ctx: Any, group_id: int) -> bool:
    return False


@pytest.mark.parametrize(
    "function",
    [
        lambda ctx: True,
        lambda ctx, id: True,
        lambda ctx, group_id, other: True,
        lambda ctx, group_id, *args: True,
        lambda ctx, group_id, /: True,
        lambda group_id: True,
        lambda: True,
        _later,
        "nobody",
    ],
)
def test_hooks_take_the_pattern_s_parameters(function: Any) -> None:
    with pytest.raises(DeclarationError, match="authorize of channel"):
        photos().authorize(function)


@pytest.mark.parametrize(
    "function",
    [
        lambda whoever, group_id: True,
        lambda ctx, *, group_id: True,
        lambda ctx, **params: True,
        lambda ctx, group_id, strict=True: True,
    ],
)
def test_hooks_may_take_them_as_they_like(function: Any) -> None:
    channel = photos()
    channel.authorize(function)
    assert channel.may_follow(CTX, {"group_id": 7}) is True


def registry_of(*patterns: str) -> Registry:
    registry = Registry()
    for pattern in patterns:
        registry.add_channel(ChannelDeclaration(pattern))
    return registry


@pytest.mark.parametrize(
    ("name", "pattern", "params"),
    [
        ("photos", "photos", {}),
        ("photos/latest", "photos/latest", {}),
        ("photos/7", "photos/{id:int}", {"id": 7}),
        ("photos/07", None, None),
        ("photos/7/comments", "{kind}/{id:int}/comments", {"kind": "photos", "id": 7}),
        ("groups/7/comments", "{kind}/{id:int}/comments", {"kind": "groups", "id": 7}),
        ("groups/7/photos", "groups/{id:int}/photos", {"id": 7}),
        ("groups/x/photos", None, None),
        ("", None, None),
        ("photos/", None, None),
        ("/" * 10_000, None, None),
        ("photos/\ud800", None, None),
    ],
)
def test_look_up(name: str, pattern: str | None, params: dict[str, object] | None) -> None:
    registry = registry_of(
        "photos", "photos/latest", "photos/{id:int}", "{kind}/{id:int}/comments", "groups/{id:int}/photos"
    )
    found = registry.channel_for(name)
    assert (found and (found[0].pattern.text, found[1])) == (pattern and (pattern, params))
    assert len(list(registry.channels())) == 5


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("a", "a", "declared twice"),
        ("a/{x}", "a/b", "overlaps"),
        ("a/b", "{x}/b", "overlaps"),
        ("a/{x}", "{y}/b", "overlaps"),
        ("a/{x:int}", "a/{y}", "overlaps"),
    ],
)
def test_overlaps_are_refused_at_declaration(first: str, second: str, reason: str) -> None:
    with pytest.raises(DeclarationError, match=reason) as caught:
        registry_of(first, second)
    assert repr(second) in str(caught.value)


PARTS = st.lists(st.sampled_from(["a", "b", "7", "{:int}", "{:str}"]), min_size=1, max_size=3)


@given(
    st.lists(PARTS, max_size=6),
    st.lists(st.sampled_from(["a", "b", "7"]), min_size=1, max_size=3).map("/".join),
)
def test_look_up_finds_what_matches(patterns: list[list[str]], name: str) -> None:
    registry = Registry()
    for parts in patterns:
        try:
            text = "/".join(part.replace("{", f"{{p{i}") for i, part in enumerate(parts))
            registry.add_channel(ChannelDeclaration(text))
        except DeclarationError:
            continue
    matching = [each for each in registry.channels() if each.pattern.match(name) is not None]
    found = registry.channel_for(name)
    assert [found[0]] == matching if found else matching == []


def test_calls() -> None:
    registry = Registry()
    call = CallDeclaration("photos.comment", lambda ctx: None)
    registry.add_call(call)
    assert registry.call("photos.comment") is call
    assert registry.call("photos.like") is None
    assert list(registry.calls()) == [call]
    with pytest.raises(DeclarationError, match="twice"):
        registry.add_call(CallDeclaration("photos.comment", lambda ctx: None))
