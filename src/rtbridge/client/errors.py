"""What the client raises; all of it is part of the one error tree."""

from __future__ import annotations

from collections.abc import Sequence

from rtbridge.errors import RtbridgeError
from rtbridge.protocol.codes import ErrorCode, error_reason


class ClientError(RtbridgeError):
    """Base of what the client raises."""


class CallError(ClientError):
    """A call has no result; `code` says what to do, as the protocol page lists it.

    Attributes:
        code: 100 to 199: mend the call; 200 to 299: call again later; 300 to 399: it may have happened, look first.
        reason: the code in words, for example `invalid`.
        message: what the server said.
        fields: pairs of field path and reason, for `invalid`.
        data: the application's own value, for `refused`.
        retry_after: seconds, where the server gave them.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        fields: Sequence[tuple[str, str]] = (),
        data: object = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{message} ({int(code)} {error_reason(code)})")
        self.code = int(code)
        self.reason = error_reason(code)
        self.message = message
        self.fields = tuple(fields)
        self.data = data
        self.retry_after = retry_after


class FeedError(ClientError):
    """The server ended a subscription, or refused it; `code` and `reason` are those of the protocol page."""

    def __init__(self, channel: str, code: int, message: str) -> None:
        super().__init__(f"{channel}: {message} ({int(code)} {error_reason(code)})")
        self.channel = channel
        self.code = int(code)
        self.reason = error_reason(code)
        self.message = message


class FeedClosed(ClientError):
    """The application itself closed the feed or the client."""


class ConnectionStopped(ClientError):
    """The server said not to come back; `code` is a disconnect code or an error code."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def outcome_unknown(name: str, why: str) -> CallError:
    """A call was sent and may have run; nobody can tell."""
    return CallError(ErrorCode.OUTCOME_UNKNOWN, f"{name}: {why}; it was sent and may have run")


def not_sent(name: str, why: str) -> CallError:
    """A call never left."""
    return CallError(ErrorCode.UNAVAILABLE, f"{name}: {why}; it was not sent")
