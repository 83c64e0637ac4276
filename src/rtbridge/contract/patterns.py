"""Patterns of channel names: `groups/{group_id:int}/photos`.

A pattern is a row of segments, each either a literal or one parameter with a converter. Think of a pattern as
the set of names it matches: `match` and `fill` are inverse to each other on that set (so `07` is not `7`: one
thing has one name), and two declared patterns never share a name, so that the order of declarations means
nothing.
"""

from __future__ import annotations

import keyword
import operator
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, SupportsIndex, cast

from rtbridge.errors import DataError, DeclarationError, ProtocolError
from rtbridge.protocol.channels import MAX_CHANNEL, check_channel
from rtbridge.protocol.data import MAX_INTEGER
from rtbridge.protocol.private import RESERVED

_PARAMETER = re.compile(r"\{([^{}:]*)(?::([^{}:]*))?\}")


class Converter(ABC):
    """How one parameter stands in a name. `read` and `write` are inverse to each other.

    Attributes:
        name: as written behind the colon in a pattern.
        shortest: fewest characters a value takes in a name.
    """

    name: ClassVar[str]
    shortest: ClassVar[int] = 1

    @abstractmethod
    def read(self, segment: str) -> object | None:
        """The value of a segment, or None when the segment is not the one way to write a value."""

    @abstractmethod
    def write(self, value: object) -> str:
        """The segment for a value. Raises ValueError saying what was expected."""


class TextConverter(Converter):
    """Any segment, as str."""

    name = "str"

    def read(self, segment: str) -> str | None:
        return segment if _is_segment(segment) else None

    def write(self, value: object) -> str:
        if isinstance(value, str) and _is_segment(value):
            return value
        raise DataError("expected a str of A-Z a-z 0-9 _ . ~ -, not empty and neither '.' nor '..'")


class IntConverter(Converter):
    """Integers from 0 to 2^63-1 without leading zeros: what a database key can be."""

    name = "int"

    def read(self, segment: str) -> int | None:
        # The length first: making an integer of many digits takes quadratic time.
        if len(segment) > 19 or not (segment.isascii() and segment.isdecimal()):
            return None
        if segment[0] == "0" and segment != "0":
            return None
        value = int(segment)
        return value if value <= MAX_INTEGER else None

    def write(self, value: object) -> str:
        try:
            number = -1 if isinstance(value, bool) else operator.index(cast(SupportsIndex, value))
        except TypeError:
            number = -1
        if 0 <= number <= MAX_INTEGER:
            return str(number)
        raise DataError("expected an int from 0 to 2^63-1")


class UuidConverter(Converter):
    """UUIDs in lower case with hyphens, as `uuid.UUID`."""

    name = "uuid"
    shortest = 36

    def read(self, segment: str) -> uuid.UUID | None:
        if len(segment) != 36:
            return None
        try:
            value = uuid.UUID(segment)
        except ValueError:
            return None
        return value if str(value) == segment else None

    def write(self, value: object) -> str:
        if isinstance(value, uuid.UUID):
            return str(value)
        raise DataError("expected a uuid.UUID")


_CONVERTERS: Mapping[str, Converter] = {
    converter.name: converter for converter in (TextConverter(), IntConverter(), UuidConverter())
}


class Pattern:
    """A set of channel names with parameters.

    Args:
        reserved: a pattern of rtbridge's own, whose names begin with `~`.
        text: segments joined by `/`; each a literal or `{name}`, `{name:str}`, `{name:int}`, `{name:uuid}`.

    Raises:
        DeclarationError: the text is no such pattern.
    """

    __slots__ = ("_segments", "names", "text")

    def __init__(self, text: str, *, reserved: bool = False) -> None:
        if not isinstance(text, str):
            raise DeclarationError(f"a channel pattern is a str, not {text!r}")
        if text.startswith(RESERVED) and not reserved:
            raise DeclarationError(
                f"channel pattern {text!r}: names that begin with {RESERVED!r} are reserved for rtbridge itself"
            )
        self.text = text
        # Each segment is a literal, or the name and the converter of a parameter.
        self._segments = tuple(_parse(text, segment) for segment in text.split("/"))
        self.names: tuple[str, ...] = tuple(part[0] for part in self._segments if not isinstance(part, str))
        for name in self.names:
            if self.names.count(name) > 1:
                raise DeclarationError(f"channel pattern {text!r} has the parameter {name!r} twice")
        shortest = len(self._segments) - 1
        shortest += sum(len(part) if isinstance(part, str) else part[1].shortest for part in self._segments)
        if shortest > MAX_CHANNEL:
            raise DeclarationError(f"channel pattern {text!r} only has names longer than {MAX_CHANNEL} bytes")

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    @property
    def literal(self) -> bool:
        """Whether the pattern has no parameters and so is the one name it matches."""
        return not self.names

    @property
    def key(self) -> tuple[int, str | None]:
        """The number of segments, and the first if it is a literal: where a registry files the pattern."""
        first = self._segments[0]
        return len(self._segments), first if isinstance(first, str) else None

    def match(self, channel: str) -> dict[str, object] | None:
        """The parameters of a channel name, or None if the name is not of this pattern."""
        segments = channel.split("/")
        if len(channel) > MAX_CHANNEL or len(segments) != len(self._segments) or self._is_out(channel):
            return None
        params: dict[str, object] = {}
        for part, segment in zip(self._segments, segments, strict=True):
            if isinstance(part, str):
                if part != segment:
                    return None
                continue
            name, converter = part
            value = converter.read(segment)
            if value is None:
                return None
            params[name] = value
        return params

    def _is_out(self, name: str) -> bool:
        """Whether a name is reserved, and these are not."""
        return name.startswith(RESERVED) and not self.text.startswith(RESERVED)

    def fill(self, /, **params: object) -> str:
        """The channel name with these parameters.

        Raises:
            DataError: naming the parameter that is missing, unknown, or cannot stand in a name.
        """
        if params.keys() != set(self.names):
            raise DataError(
                f"channel {self.text!r} needs {_listed(self.names)}, but was given {_listed(params)}"
            )
        segments = [part if isinstance(part, str) else self._write(*part, params) for part in self._segments]
        name = "/".join(segments)
        if len(name) > MAX_CHANNEL:
            raise DataError(f"channel {self.text!r}: the name would be longer than {MAX_CHANNEL} bytes")
        if self._is_out(name):
            raise DataError(
                f"channel {self.text!r}: {name!r} would begin with {RESERVED!r}, which is reserved"
            )
        return name

    def _write(self, name: str, converter: Converter, params: Mapping[str, object]) -> str:
        try:
            return converter.write(params[name])
        except ValueError as error:
            raise DataError(f"channel {self.text!r}: {name}={params[name]!r}: {error}") from None

    def overlaps(self, other: Pattern) -> bool:
        """Whether some name may match both patterns."""
        if len(self._segments) != len(other._segments):
            return False
        return all(_share(mine, theirs) for mine, theirs in zip(self._segments, other._segments, strict=True))


def _parse(text: str, segment: str) -> str | tuple[str, Converter]:
    if "{" not in segment and "}" not in segment:
        if not _is_segment(segment):
            raise DeclarationError(
                f"channel pattern {text!r}: the segment {segment!r} cannot be part of a name; segments are of"
                " A-Z a-z 0-9 _ . ~ -, not empty and neither '.' nor '..'"
            )
        return segment
    found = _PARAMETER.fullmatch(segment)
    if found is None:
        raise DeclarationError(
            f"channel pattern {text!r}: {segment!r} must be a literal or one parameter like {{group_id:int}}"
        )
    name, kind = found[1], found[2] if found[2] is not None else "str"
    if not name.isidentifier() or keyword.iskeyword(name):
        raise DeclarationError(f"channel pattern {text!r}: {name!r} cannot be the name of a parameter")
    if kind not in _CONVERTERS:
        raise DeclarationError(
            f"channel pattern {text!r}: no converter {kind!r}; there are {_listed(_CONVERTERS)}"
        )
    return name, _CONVERTERS[kind]


def _share(one: str | tuple[str, Converter], two: str | tuple[str, Converter]) -> bool:
    """Whether some segment fits both."""
    if isinstance(one, str):
        return one == two if isinstance(two, str) else two[1].read(one) is not None
    if isinstance(two, str):
        return one[1].read(two) is not None
    # Every int and every uuid is also a str; no int is a uuid, because a uuid has hyphens.
    return one[1] is two[1] or "str" in (one[1].name, two[1].name)


def _is_segment(text: str) -> bool:
    try:
        return "/" not in text and bool(check_channel(text))
    except ProtocolError:
        return False


def _listed(names: Mapping[str, object] | tuple[str, ...]) -> str:
    return ", ".join(names) or "no parameters"
