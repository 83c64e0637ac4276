from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.vector_files import each
from rtbridge.errors import ProtocolError
from rtbridge.protocol.channels import check_channel
from rtbridge.protocol.codes import ErrorCode


@each("channels.json", "valid")
def test_a_channel_name_comes_back(case):
    assert check_channel(case) == case


@each("channels.json", "invalid")
def test_a_malformed_name_is_a_channel_that_does_not_exist(case):
    with pytest.raises(ProtocolError) as caught:
        check_channel(case)
    assert caught.value.code == ErrorCode.NO_SUCH_CHANNEL


@given(st.text(alphabet="ab./~_-%", max_size=12))
def test_the_form_is_what_the_page_says(name):
    segments = name.split("/")
    good = all(segment not in ("", ".", "..") and "%" not in segment for segment in segments)
    try:
        check_channel(name)
    except ProtocolError:
        assert not good
    else:
        assert good
