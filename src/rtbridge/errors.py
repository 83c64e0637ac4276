"""The one error tree of rtbridge.

Every message says what happened, to what, and what to do. `ProtocolError` is for what a *client* did wrong and carries
the code it is answered with; all others are for the application's author or operator.
"""

from __future__ import annotations

from collections.abc import Sequence


class RtbridgeError(Exception):
    """Base of every error raised by rtbridge."""


class ConfigError(RtbridgeError):
    """The bridge cannot work as it was set up (no secret, unknown bus URL, a missing extra)."""


class DeclarationError(RtbridgeError):
    """A channel or call was declared in a way that cannot work (bad pattern, overlap, unusable type)."""


class DataError(RtbridgeError, ValueError):
    """A value cannot be published or returned: it does not fit its declaration or the wire."""


class BusError(RtbridgeError):
    """The bus could not do what was asked."""


class BusUnavailable(BusError):
    """The bus is out of reach. What was to be published was *not* confirmed; try again with the same key."""


class AskError(RtbridgeError):
    """A client that was asked something did not answer."""


class ClientGone(AskError):
    """It was not reached: it is not connected, and does not poll."""


class AskTimeout(AskError, TimeoutError):
    """It was reached and did not answer in time; it may still act on it."""


class AskFailed(AskError):
    """It answered with an error; `code` is an error code of the protocol page."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Refused(RtbridgeError):
    """Raise it in a call or an authorize function to say no; `message` and `data` reach the client.

    Args:
        message: why, in words for the person at the other end.
        data: any JSON value for the client code, for example the current price.
    """

    def __init__(self, message: str = "refused", *, data: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class Invalid(RtbridgeError):
    """Input from a client does not fit a declaration. `fields` are pairs of field path and reason."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {reason}" if field else reason for field, reason in fields))
        self.fields = tuple(fields)


class ProtocolError(RtbridgeError):
    """A client sent what the protocol does not allow.

    Attributes:
        code: an `ErrorCode` of `rtbridge.protocol.codes`.
        command_id: the `id` of the offending command, where one could be read.
        retry_after: seconds after which it may be sent again, where that is known.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        command_id: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.command_id = command_id
        self.retry_after = retry_after


class FrameError(RtbridgeError):
    """A WebSocket peer broke RFC 6455; `code` is the close code to answer with (1002, 1007 or 1009)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class HandshakeError(RtbridgeError):
    """A WebSocket opening handshake is not valid; `status` is the HTTP status to answer with (400 or 426)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
