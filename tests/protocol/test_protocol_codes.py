from __future__ import annotations

from protocol.vector_files import each, load
from rtbridge.protocol.codes import (
    DisconnectCode,
    ErrorCode,
    disconnect_reason,
    error_reason,
    next_step,
    remedy,
)


@each("codes.json", "errors")
def test_error_codes(case):
    code = ErrorCode(case["code"])
    assert code == case["code"]
    assert code.reason == case["reason"] == error_reason(case["code"])
    assert code.http_status == case["http"][0]
    assert remedy(code) == case["remedy"]


@each("codes.json", "disconnects")
def test_disconnect_codes(case):
    code = DisconnectCode(case["code"])
    assert code.reason == case["reason"] == disconnect_reason(case["code"])
    assert next_step(code) == case["next_step"]


@each("codes.json", "other_close_codes")
def test_the_range_decides_over_unknown_close_codes(case):
    assert next_step(case["code"]) == case["next_step"]


@each("codes.json", "other_error_codes")
def test_the_range_decides_over_unknown_errors(case):
    assert remedy(case["code"]) == case["remedy"]


def test_the_vectors_name_every_code():
    codes = load("codes.json")
    assert [case["code"] for case in codes["errors"]] == list(ErrorCode)
    assert [case["code"] for case in codes["disconnects"]] == list(DisconnectCode)


def test_a_code_of_a_later_protocol_has_no_known_reason():
    assert error_reason(199) == disconnect_reason(4099) == "unknown"
