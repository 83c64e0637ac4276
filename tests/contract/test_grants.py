"""Grants are a mapping that never changes; against a dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.contract.grants import NONE, Grants

CHANNELS = st.sampled_from(["a", "b", "c", "groups/7/photos"])
STEPS = st.lists(st.tuples(st.booleans(), CHANNELS, st.floats(0, 2e9)), max_size=12)


@given(STEPS)
def test_they_are_what_a_dictionary_would_be(steps: list[tuple[bool, str, float]]) -> None:
    model: dict[str, float] = {}
    grants = NONE
    for granting, channel, until in steps:
        before = dict(grants)
        changed = grants.plus(channel, until) if granting else grants.minus(channel)
        assert dict(grants) == before, "it never changes"
        grants = changed
        model.pop(channel, None)
        if granting:
            model[channel] = until
        assert list(grants.items()) == list(model.items())
        assert (grants, len(grants)) == (model, len(model))
        assert hash(grants) == hash(Grants(reversed(model.items())))
        for name in ("a", "b", "c", "groups/7/photos", "d"):
            assert grants.until(name) == grants.get(name, 0.0) == model.get(name, 0.0)


def test_what_is_not_granted_is_no_key() -> None:
    with pytest.raises(KeyError):
        NONE["a"]
    assert NONE.minus("a") is NONE
    assert repr(Grants([("a", 1.0)])) == "Grants([('a', 1.0)])"
