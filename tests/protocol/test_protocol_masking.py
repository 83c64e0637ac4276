from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtbridge.protocol import masking

KEYS = st.binary(min_size=4, max_size=4)


def by_the_rfc(payload: bytes, key: bytes) -> bytes:
    """RFC 6455, section 5.3, to the letter."""
    return bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))


WAYS = [masking.unmask, masking.unmask_by_xor, masking.unmask_by_table, masking.unmask_in_python]


@pytest.mark.parametrize("way", WAYS)
@given(payload=st.binary(max_size=300), key=KEYS)
def test_all_ways_do_as_the_rfc_says(way, payload, key):
    assert way(payload, key) == by_the_rfc(payload, key)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [8_191, 8_192, 8_193, 16_384, 16_387, 40_001])
def test_long_payloads(way, size):
    payload, key = bytes(range(256)) * (size // 256) + bytes(size % 256), b"\x01\x00\xfe\x80"
    assert way(payload, key) == by_the_rfc(payload, key)


def test_the_helper_is_used_where_there_is_one(monkeypatch):
    assert masking.fastest() is not masking.unmask_in_python
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    assert masking.fastest() is masking.unmask_in_python
