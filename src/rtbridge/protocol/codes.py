"""Every code of the protocol, and what it asks of the client.

The ranges carry the meaning, so that a client that never heard of a code still does the right thing.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

NextStep = Literal["resume", "renew", "lower", "stop"]
Remedy = Literal["mend", "retry", "look"]


class ErrorCode(IntEnum):
    """Codes of `error` replies and of HTTP error bodies. Each has a `reason` and an `http_status`."""

    http_status: int

    def __new__(cls, value: int, http_status: int = 500) -> ErrorCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.http_status = http_status
        return member

    @property
    def reason(self) -> str:
        """The code in words, for example `no_such_channel`."""
        return self.name.lower()

    # 100 to 199, mend it: sent again unchanged it will fail again.
    BAD_MESSAGE = 100, 400
    UNKNOWN_COMMAND = 101, 400
    UNSUPPORTED_VERSION = 102, 400
    HELLO_EXPECTED = 103, 400
    NO_SUCH_CHANNEL = 104, 404
    NO_SUCH_CALL = 105, 404
    INVALID = 106, 422
    BAD_POSITION = 107, 400
    TOO_LARGE = 108, 413
    ALREADY_SUBSCRIBED = 109, 400
    NOT_SUBSCRIBED = 110, 400
    REFUSED = 111, 403
    FORBIDDEN_ORIGIN = 112, 403
    WRONG_CONTENT_TYPE = 113, 415
    NO_SUCH_RESOURCE = 114, 404
    WRONG_METHOD = 115, 405
    BAD_HANDSHAKE = 116, 400  # or 426: `HandshakeError.status` knows
    # 200 to 299, come again.
    UNAVAILABLE = 200, 503
    TOO_MANY = 201, 429
    FAILED = 202, 500
    TOO_SLOW = 203, 408
    TRANSPORT_UNAVAILABLE = 204, 501
    # 300 to 399, it may have happened.
    OUTCOME_UNKNOWN = 300, 409


class DisconnectCode(IntEnum):
    """Codes of WebSocket close frames and `disconnect` pushes. Each has a `reason`."""

    @property
    def reason(self) -> str:
        """The code in words, for example `ping_timeout`."""
        return self.name.lower()

    # 4000 to 4099, come back with the token.
    SHUTDOWN = 4000
    PING_TIMEOUT = 4001
    TOO_SLOW = 4002
    FAILED = 4003
    OVERLOADED = 4004
    REPLACED = 4005
    # 4100 to 4199, forget the token and come back.
    CREDENTIALS_CHANGED = 4100
    # 4200 to 4299, come back on the next lower transport.
    TRANSPORT_REFUSED = 4200
    # 4300 to 4399, do not come back.
    BAD_MESSAGE = 4300
    FLOOD = 4301
    ENDED = 4303
    FORBIDDEN_ORIGIN = 4304


def error_reason(code: int) -> str:
    """The reason of an error code, `unknown` for one of a later protocol."""
    try:
        return ErrorCode(code).reason
    except ValueError:
        return "unknown"


def disconnect_reason(code: int) -> str:
    """The reason of a disconnect code, `unknown` for one of a later protocol."""
    try:
        return DisconnectCode(code).reason
    except ValueError:
        return "unknown"


def next_step(close_code: int) -> NextStep:
    """What a client does after its connection ended with `close_code`.

    Returns:
        `resume`: come back with the token; `renew`: forget the token, come back; `lower`: come back on the
        next lower transport; `stop`: do not come back by itself. 1002, 1003, 1007 and 1009 (RFC 6455, section
        7.4.1) mean that this peer or a proxy does not carry our frames, hence a lower transport; all other
        codes resume.
    """
    if 4100 <= close_code <= 4199:
        return "renew"
    if 4200 <= close_code <= 4299 or close_code in (1002, 1003, 1007, 1009):
        return "lower"
    if 4300 <= close_code <= 4399:
        return "stop"
    return "resume"


def remedy(error_code: int) -> Remedy:
    """What to do about an error: `mend` it, `retry` later, or `look` whether it happened all the same."""
    if 200 <= error_code <= 299:
        return "retry"
    if 300 <= error_code <= 399:
        return "look"
    return "mend"
