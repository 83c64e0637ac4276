"""The list of what was taken back, against the plain rule: what was found out before does not count after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.contract.revocations import SKEW, Revocation, RevocationList
from rtbridge.contract.tokens import Claims

TTL = 100.0


def claims(found_out: float, client: str = "c-1", user: str | None = "7") -> Claims:
    return Claims(client, user, "print", found_out, found_out + TTL)


def made(*revocations: Revocation) -> RevocationList:
    listed = RevocationList(TTL, lambda channel: "rooms/{name}" if channel.startswith("rooms/") else None)
    for revocation in revocations:
        listed.add(revocation, revocation.at)
    return listed


def test_it_travels():
    revocation = Revocation(1000.5, user="7", channel="rooms/blue")
    assert Revocation.load(revocation.dump()) == revocation
    for bad in (b"", b"{}", b"[]", b"[1,2]"):
        with pytest.raises((ValueError, TypeError)):
            Revocation.load(bad)


@pytest.mark.parametrize(
    ("channel", "covered"),
    [
        (None, {"rooms/blue", "rooms/red", "news", "~presence/rooms/blue"}),
        ("rooms/blue", {"rooms/blue", "~presence/rooms/blue"}),
        ("rooms/{name}", {"rooms/blue", "rooms/red", "~presence/rooms/blue"}),
    ],
)
def test_what_it_covers(channel: str | None, covered: set[str]):
    listed = made()
    names = ["rooms/blue", "rooms/red", "news", "~presence/rooms/blue"]
    assert {
        name for name in names if listed.covers(Revocation(1, user="7", channel=channel), name)
    } == covered


def test_a_session_that_was_ended():
    listed = made(Revocation(1000.0, user="7", code=4303))
    assert listed.ended(claims(999.0)) == 4303 and listed.is_stale(claims(999.0))
    # A clock that differs a little asks once more, but ends nobody's new session.
    assert listed.ended(claims(1000.5)) is None and listed.is_stale(claims(1000.5))
    assert not listed.is_stale(claims(1000.0 + SKEW))
    assert listed.ended(claims(999.0, user="8")) is None and not listed.is_stale(claims(999.0, user="8"))


def test_what_was_found_out_while_it_came():
    listed = made()
    before = listed.heard
    listed.add(Revocation(900.0, client="c-1", channel="news"), now=1000.0)
    between = listed.heard
    listed.add(Revocation(900.0, client="c-1", code=4303), now=1000.0)
    assert listed.heard_since("c-1", None, "news", before)
    assert not listed.heard_since("c-2", None, "news", before)
    assert not listed.heard_since("c-1", None, "news", listed.heard)
    assert listed.ended_since("c-1", "7", between) == 4303
    assert listed.ended_since("c-2", "7", between) is None
    assert listed.ended_since("c-1", "7", listed.heard) is None


def test_distrust():
    listed = made()
    listed.distrusted = 1000.0
    assert listed.is_stale(claims(999.0)) and listed.is_void(claims(999.0), "news", 999.0 + TTL)
    assert not listed.is_stale(claims(1000.0))
    listed.forget_old(1000.0 + TTL + 1)
    assert not listed.distrusted


TIMES = st.integers(0, 400).map(float)
REVOCATIONS = st.builds(
    Revocation,
    at=TIMES,
    user=st.sampled_from(["7", "8"]),
    channel=st.sampled_from([None, "news", "rooms/blue", "rooms/{name}"]),
) | st.builds(Revocation, at=TIMES, client=st.sampled_from(["c-1", "c-2"]), code=st.just(4303))


@given(st.lists(REVOCATIONS), TIMES, TIMES, st.sampled_from(["news", "rooms/blue"]))
def test_no_grant_from_before_outlives_a_revocation(revocations, given_at, now, channel):
    """However old entries are forgotten: a token that still lives is judged as by the whole list."""
    listed = made()
    for revocation in sorted(revocations, key=lambda each: each.at):
        listed.forget_old(revocation.at)
        listed.add(revocation, revocation.at)
    now = max([now, given_at, *(each.at for each in revocations)])
    listed.forget_old(now)
    token = claims(given_at)
    if token.expires <= now:
        return
    concerning = [each for each in revocations if each.concerns("c-1", "7")]
    void = any(given_at < each.at + SKEW and listed.covers(each, channel) for each in concerning)
    assert listed.is_void(token, channel, token.expires) == void
    assert listed.is_stale(token) == any(
        each.code is not None and given_at < each.at + SKEW for each in concerning
    )
