"""Patterns as sets of names: match and fill are inverse, and patterns that do not overlap share no name."""

from __future__ import annotations

import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.contract.patterns import Pattern
from rtbridge.errors import DeclarationError, ProtocolError
from rtbridge.protocol.channels import check_channel

SEGMENTS = st.text(string.ascii_letters + string.digits + "_.~-", min_size=1, max_size=12).filter(
    lambda s: s not in (".", "..") and s[0] != "~"
)
VALUES = {
    "str": SEGMENTS,
    "int": st.integers(0, 2**63 - 1),
    "uuid": st.uuids(),
}
KINDS = st.sampled_from(sorted(VALUES))
# A narrow alphabet, so that patterns and names meet often.
NARROW = st.sampled_from(["a", "b", "7", "07", "-1", "0", "6f1f7f4e-3a3c-4d0c-9d57-0f2b8f0f9a11", "A" * 36])


@st.composite
def filled(draw: st.DrawFn) -> tuple[Pattern, dict[str, object]]:
    text, params = [], {}
    for index in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            text.append(draw(SEGMENTS))
        else:
            kind = draw(KINDS)
            text.append(f"{{p{index}:{kind}}}")
            params[f"p{index}"] = draw(VALUES[kind])
    return Pattern("/".join(text)), params


@st.composite
def narrow_patterns(draw: st.DrawFn) -> Pattern:
    parts = draw(st.lists(NARROW | st.sampled_from(["{:str}", "{:int}", "{:uuid}"]), min_size=1, max_size=3))
    return Pattern("/".join(p.replace("{", f"{{p{i}") for i, p in enumerate(parts)))


@given(filled())
def test_match_gives_back_what_was_filled_in(case: tuple[Pattern, dict[str, object]]) -> None:
    pattern, params = case
    name = pattern.fill(**params)
    assert check_channel(name) == name
    assert pattern.match(name) == params


@given(narrow_patterns(), st.lists(NARROW, min_size=1, max_size=3).map("/".join) | st.text())
def test_fill_gives_back_what_was_matched(pattern: Pattern, name: str) -> None:
    params = pattern.match(name)
    if params is not None:
        assert pattern.fill(**params) == name


@given(narrow_patterns(), narrow_patterns(), st.lists(NARROW, min_size=1, max_size=3).map("/".join))
def test_patterns_that_do_not_overlap_share_no_name(one: Pattern, two: Pattern, name: str) -> None:
    assert one.overlaps(two) == two.overlaps(one)
    if one.match(name) is not None and two.match(name) is not None:
        assert one.overlaps(two)


@given(filled())
def test_a_pattern_overlaps_itself(case: tuple[Pattern, dict[str, object]]) -> None:
    assert case[0].overlaps(case[0])


@given(st.text(alphabet="ab{}:/.int", max_size=12))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        Pattern(text)
    except DeclarationError as error:
        assert repr(text) in str(error)


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("photos", "photos", {}),
        ("photos", "Photos", None),
        ("photos", "photos/", None),
        ("{x}", "a.b", {"x": "a.b"}),
        ("{x}", "..", None),
        ("{x}", "", None),
        ("{x}", "a/b", None),
        ("g/{n:int}", "g/0", {"n": 0}),
        ("g/{n:int}", "g/07", None),
        ("g/{n:int}", "g/00", None),
        ("g/{n:int}", "g/-1", None),
        ("g/{n:int}", "g/+1", None),
        ("g/{n:int}", "g/1_0", None),
        ("g/{n:int}", "g/٧", None),
        ("g/{n:int}", "g/9223372036854775807", {"n": 2**63 - 1}),
        ("g/{n:int}", "g/9223372036854775808", None),
        ("{u:uuid}", "6F1F7F4E-3A3C-4D0C-9D57-0F2B8F0F9A11", None),
        ("{u:uuid}", "6f1f7f4e3a3c4d0c9d570f2b8f0f9a11", None),
        (
            "{u:uuid}",
            "6f1f7f4e-3a3c-4d0c-9d57-0f2b8f0f9a11",
            {"u": uuid.UUID("6f1f7f4e-3a3c-4d0c-9d57-0f2b8f0f9a11")},
        ),
        ("{x}", "x" * 201, None),
    ],
)
def test_match(text: str, name: str, params: dict[str, object] | None) -> None:
    assert Pattern(text).match(name) == params


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/a",
        "a//b",
        "a/..",
        "a b",
        "ä",
        "a/{}",
        "{x",
        "x}",
        "a-{x}",
        "{x:float}",
        "{x:}",
        "{1}",
        "{class}",
        "{x}/{x}",
        "a" * 201,
    ],
)
def test_bad_patterns(text: str) -> None:
    with pytest.raises(DeclarationError):
        Pattern(text)


def test_a_pattern_that_is_no_text() -> None:
    with pytest.raises(DeclarationError):
        Pattern(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({}, "group_id"),
        ({"group_id": 1, "other": 2}, "other"),
        ({"group_id": "7"}, "group_id='7'"),
        ({"group_id": True}, "group_id=True"),
        ({"group_id": -1}, "group_id=-1"),
        ({"group_id": 2**63}, "2^63"),
        ({"group_id": None}, "group_id=None"),
    ],
)
def test_fill_names_the_wrong_parameter(params: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match="groups") as caught:
        Pattern("groups/{group_id:int}").fill(**params)
    assert named in str(caught.value)


def test_fill_refuses_what_would_leave_its_segment() -> None:
    for value in ("a/b", "..", "", "a b", 7):
        with pytest.raises(ValueError, match="expected a str"):
            Pattern("{x}").fill(x=value)
    with pytest.raises(ValueError, match="UUID"):
        Pattern("{x:uuid}").fill(x="6f1f7f4e-3a3c-4d0c-9d57-0f2b8f0f9a11")
    with pytest.raises(ValueError, match="longer"):
        Pattern("{x}/{y}").fill(x="a" * 150, y="b" * 150)


@pytest.mark.parametrize(
    ("one", "two", "overlap"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a/{x}", "a/b", True),
        ("a/{x:int}", "a/b", False),
        ("a/{x:int}", "a/7", True),
        ("a/{x:int}", "a/07", False),
        ("a/{x:int}", "a/{y}", True),
        ("a/{x:int}", "a/{y:uuid}", False),
        ("a/{x}", "{y}/b", True),
        ("a/{x}", "b/{x}", False),
        ("a/{x}", "a", False),
    ],
)
def test_overlaps(one: str, two: str, overlap: bool) -> None:
    assert Pattern(one).overlaps(Pattern(two)) is overlap


def test_names_and_key() -> None:
    pattern = Pattern("g/{a:int}/{b}")
    assert (pattern.names, pattern.key, pattern.literal) == (("a", "b"), (3, "g"), False)
    assert Pattern("{a}/b").key == (2, None)
    assert Pattern("g").literal
    assert repr(Pattern("g")) == "Pattern('g')"


def test_the_form_of_names_is_the_protocol_s() -> None:
    with pytest.raises(ProtocolError):
        check_channel("a/..")
