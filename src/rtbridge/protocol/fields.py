"""Reading the fields of a message that may hold anything.

Each check takes a decoded value and returns it with its type, or raises ValueError with the reason in words.
`Fields` turns that into the one ProtocolError that the sender gets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeVar

from rtbridge.errors import DataError, ProtocolError
from rtbridge.protocol import data as _data
from rtbridge.protocol.channels import check_channel
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.positions import MAX_OFFSET, Position

T = TypeVar("T")

RANDOM_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""See `random_id`."""


class Fields:
    """The fields of one message; unknown ones are never looked at.

    A field left out is absent: null is a wrong value.

    Args:
        obj: what was decoded.
        command_id: the id that errors will carry, where one could be read.
    """

    __slots__ = ("_map", "command_id")

    def __init__(self, obj: object, command_id: int | None = None) -> None:
        if not isinstance(obj, dict):
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "a message is a map")
        self._map = obj
        self.command_id = command_id

    def __contains__(self, name: str) -> bool:
        return name in self._map

    def required(self, name: str, check: Callable[[object], T]) -> T:
        """The checked value of `name`; ProtocolError when it is absent or wrong."""
        if name not in self._map:
            raise self.error(f"the field {name} is missing")
        return self._checked(name, check)

    def optional(self, name: str, check: Callable[[object], T]) -> T | None:
        """The checked value of `name`, None when it is absent."""
        return self._checked(name, check) if name in self._map else None

    def error(self, why: str, code: ErrorCode = ErrorCode.BAD_MESSAGE) -> ProtocolError:
        """An error about this message."""
        return ProtocolError(code, why, command_id=self.command_id)

    def _checked(self, name: str, check: Callable[[object], T]) -> T:
        try:
            return check(self._map[name])
        except ValueError as error:
            raise self.error(f"{name}: {error}") from None
        except ProtocolError as error:
            error.command_id = self.command_id
            raise


def command_id(value: object) -> int:
    """1 to 9007199254740991."""
    return _integer(value, 1)


def count(value: object) -> int:
    """An integer from 0."""
    return _integer(value, 0)


def integer(value: object) -> int:
    """Any integer."""
    return _integer(value, -MAX_OFFSET)


def number(value: object) -> float:
    """A finite number, as it was written (25 stays 25)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a number")
    return value


def boolean(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def text(value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value


def short_text(value: object) -> str:
    """A string of at most 64 characters."""
    if len(text(value)) > 64:
        raise ValueError("longer than 64 characters")
    return text(value)


def name(value: object) -> str:
    """A string of 1 to 200 bytes."""
    if not 1 <= len(text(value).encode()) <= 200:
        raise ValueError("not 1 to 200 bytes")
    return text(value)


def random_id(value: object) -> str:
    """8 to 64 of `A-Z a-z 0-9 _ -`."""
    if RANDOM_ID.fullmatch(text(value)) is None:
        raise ValueError("not 8 to 64 of A-Z a-z 0-9 _ -")
    return text(value)


def mapping(value: object) -> dict[str, object]:
    """A map (its keys are strings: both decoders see to that)."""
    if not isinstance(value, dict):
        raise ValueError("not a map")
    return value


def array(value: object) -> list[object]:
    """An array."""
    if not isinstance(value, list):
        raise ValueError("not an array")
    return value


def texts(value: object) -> tuple[str, ...]:
    """An array of strings."""
    return tuple(text(item) for item in array(value))


def canonical(value: object) -> bytes:
    """Any value that can travel, as canonical JSON."""
    try:
        return _data.encode_wire(value, None, _data.MAX_DEPTH)
    except DataError as error:
        raise ValueError(str(error)) from None


def channel(value: object) -> str:
    """A channel name; ProtocolError NO_SUCH_CHANNEL for a string that is none."""
    return check_channel(text(value))


def position(value: object) -> Position:
    """A position; ProtocolError BAD_POSITION for a string that is none."""
    return Position.parse(text(value))


def _integer(value: object, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= MAX_OFFSET:
        raise ValueError(f"not an integer from {low} to {MAX_OFFSET}")
    return value
