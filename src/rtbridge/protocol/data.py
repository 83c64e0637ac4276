"""Canonical data: any JSON value plus bytes, as compact UTF-8 JSON.

Think of two doors. `encode` is the way in for what the application publishes: whatever the wire could not
carry to every client is refused there, with the path to it. `loads` and `plain_loads` are the way in for what
strangers send: anything odd is one clean ProtocolError, whatever the bytes. Behind the doors, data is never
checked again.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from json.encoder import encode_basestring

from rtbridge.errors import DataError, ProtocolError
from rtbridge.protocol.codes import ErrorCode

MAX_DEPTH = 64
"""Nested maps and arrays in one message, its own included."""
MAX_DATA_DEPTH = 48
"""Nested maps and arrays in published data: a message (or a poll with messages) must still fit around it."""
MAX_INTEGER = 2**63 - 1
"""Integers lie between minus this and this."""

_TAG = re.compile(r"\$+bytes")
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), default=lambda _: None
)
_SCALARS = (str, int, float, bytes, bytearray, memoryview)
_WIRE_TYPES = (*_SCALARS, dict, list, tuple, type(None))

Default = Callable[[object], object]


# ---- out: what the application publishes


def encode(value: object, default: Default | None = None) -> bytes:
    """Canonical JSON of `value`: UTF-8, compact, bytes tagged as `{"$bytes": base64}`.

    Args:
        value: None, bool, int, float, str, bytes, and dicts, lists and tuples of these.
        default: turns any other object into one of these; may raise TypeError or ValueError.

    Raises:
        DataError: naming the path to what the wire cannot carry: NaN and infinities, integers beyond
            ±(2^63-1), keys that are no strings, lone surrogates, more than `MAX_DATA_DEPTH` levels, other
            types.
    """
    return encode_wire(value, default, MAX_DATA_DEPTH)


def encode_wire(value: object, default: Default | None, max_depth: int) -> bytes:
    """`encode` with another depth limit: a whole command is deeper than the data in it."""
    try:
        if type(value) is str:  # as the encoder would, without the time it takes to make one
            return encode_basestring(value).encode("utf-8")
        if value is None:
            return b"null"
        return _ENCODER.encode(_to_wire(value, default, max_depth)).encode("utf-8")
    except _Unfit as unfit:
        raise DataError(f"{unfit.where()}{unfit.why}") from None
    except UnicodeEncodeError:
        raise DataError("a string holds a lone surrogate, which UTF-8 cannot carry") from None


class _Unfit(Exception):
    """What is wrong with a value; its path grows while the error climbs, so that good values pay nothing."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path: list[str | int] = []

    def where(self) -> str:
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path[:-9:-1])
        steps += "…" if len(self.path) > 8 else ""
        return f"{steps.removeprefix('.')}: " if steps else ""


def _to_wire(value: object, default: Default | None, depth: int) -> object:
    """`value` as plain JSON types with tags, or `_Unfit`. `depth` is how many levels may still open."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, int):
        if -MAX_INTEGER <= value <= MAX_INTEGER:
            return value
        raise _Unfit("an integer beyond ±(2^63-1); publish it as a string")
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise _Unfit(f"{value} is not a JSON number")
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, dict):
        return _object_to_wire(value, default, depth)
    if isinstance(value, list | tuple):
        return _array_to_wire(value, default, depth)
    return _to_wire(_converted(value, default), default, depth)


def _object_to_wire(value: dict[object, object], default: Default | None, depth: int) -> dict[str, object]:
    if depth == 0:
        raise _Unfit("nested too deep, or a circle")
    wire: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _Unfit(f"the key {key!r} is not a string")
        try:
            wire[key] = _to_wire(item, default, depth - 1)
        except _Unfit as unfit:
            unfit.path.append(key)
            raise
    if len(wire) == 1 and _TAG.fullmatch(only := next(iter(wire))):
        return {"$" + only: wire[only]}  # or it would be read back as bytes
    return wire


def _array_to_wire(
    value: list[object] | tuple[object, ...], default: Default | None, depth: int
) -> list[object]:
    if depth == 0:
        raise _Unfit("nested too deep, or a circle")
    wire: list[object] = []
    for item in value:
        try:
            wire.append(_to_wire(item, default, depth - 1))
        except _Unfit as unfit:
            unfit.path.append(len(wire))
            raise
    return wire


def _converted(value: object, default: Default | None) -> object:
    """What `default` makes of `value`; one step only, so that a confused `default` cannot loop."""
    if default is not None:
        try:
            converted = default(value)
        except (TypeError, ValueError) as error:
            raise _Unfit(str(error)) from error
        if isinstance(converted, _WIRE_TYPES):
            return converted
    raise _Unfit(f"a {type(value).__name__} has no JSON form; declare the type, or publish plain values")


# ---- in: what strangers send


def decode(raw: bytes) -> object:
    """The value of canonical data: `decode(encode(value)) == value`, tuples as lists, buffers as bytes."""
    return loads(raw, MAX_DEPTH)


def loads(raw: bytes, max_depth: int = MAX_DEPTH) -> object:
    """The value of JSON from anybody, tagged bytes as `bytes`.

    Raises:
        ProtocolError: BAD_MESSAGE for anything that is not strict JSON within our bounds: invalid UTF-8, lone
            surrogates, NaN, infinities, numbers out of range, duplicate keys, malformed tags, more than
            `max_depth` levels.
    """
    return _load(_TAGGED_DECODER, raw, max_depth)


def plain_loads(raw: bytes, max_depth: int = MAX_DEPTH) -> object:
    """`loads` that leaves tags as they are."""
    return _load(_PLAIN_DECODER, raw, max_depth)


def bad_message(why: str) -> ProtocolError:
    """A BAD_MESSAGE error."""
    return ProtocolError(ErrorCode.BAD_MESSAGE, why)


def object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A dict of key-value pairs; ValueError when a key comes twice: readers could take different ones."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key comes twice")
    return value


def _load(decoder: json.JSONDecoder, raw: bytes, max_depth: int) -> object:
    try:
        # str, because json.loads(bytes) would guess UTF-16 and let surrogates pass.
        text = str(raw, "utf-8")
        value = _decode(decoder, text)
        # Only text with this many brackets can be too deep, only text with escapes can hold lone surrogates.
        if text.count("[") + text.count("{") > max_depth and _deeper_than(value, max_depth):
            raise ValueError("nested too deep")
        if "\\u" in text:
            _ENCODER.encode(value).encode("utf-8")
    except UnicodeError:
        raise bad_message("not UTF-8, or a string with a lone surrogate") from None
    except RecursionError:
        raise bad_message("nested too deep") from None
    except json.JSONDecodeError as error:
        raise bad_message(f"not JSON: {error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise bad_message(f"not JSON: {error}") from None
    return value


def _decode(decoder: json.JSONDecoder, text: str) -> object:
    """`decoder.decode(text)`, which looks for white space around it first: there is none, nearly always."""
    value: object = None
    try:
        value, end = decoder.scan_once(text, 0)  # type: ignore[attr-defined]  # the stubs leave it out
    except StopIteration:
        end = -1
    return value if end == len(text) else decoder.decode(text)


def _deeper_than(value: object, limit: int) -> bool:
    """Whether `value` has more than `limit` levels, found level by level: no depth can exhaust the stack."""
    level = [value]
    for _ in range(limit):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [
            child for item in containers for child in (item.values() if isinstance(item, dict) else item)
        ]
    return any(isinstance(item, dict | list) for item in level)


def _tagged_object(pairs: list[tuple[str, object]]) -> object:
    value = object_of(pairs)
    if len(value) == 1 and _TAG.fullmatch(only := next(iter(value))):
        if only == "$bytes":
            return _bytes(value[only])
        return {only[1:]: value[only]}
    return value


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("$bytes is not a string")
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise ValueError("$bytes is not base64") from None


def _integer(text: str) -> int:
    # The length first: making an integer of a million digits takes quadratic time.
    if len(text) > 20 or not -MAX_INTEGER <= (value := int(text)) <= MAX_INTEGER:
        raise ValueError("an integer out of range")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value


def _constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")


_TAGGED_DECODER = json.JSONDecoder(
    object_pairs_hook=_tagged_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
_PLAIN_DECODER = json.JSONDecoder(
    object_pairs_hook=object_of, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
