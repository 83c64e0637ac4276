"""Schemas: the type in a declaration, as a door for data.

`dump` is the way out: what the application gives is validated and becomes canonical bytes, once, whoever will
read it. `load` is the way in: what a client sent (decoded, so JSON's types and real bytes) becomes a value of
the type, or `Invalid` says for each field what is wrong. Any type that pydantic understands will do: plain
types, dataclasses, TypedDicts, models, Annotated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import date
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import PydanticSerializationError, SchemaError, to_jsonable_python

from rtbridge.contract.strict import input_validator, output_validator
from rtbridge.errors import DataError, DeclarationError, Invalid
from rtbridge.protocol import data

_MAX_FIELDS = 20
_MAX_PATH = 200
_LEAVES = (str, int, float, bytes, type(None))


class Schema:
    """What may travel in a channel or call.

    Args:
        type_: any type that pydantic understands; `typing.Any` lets everything pass that has a JSON form.
        what: the place it is declared for, as error messages name it.

    Raises:
        DeclarationError: no schema can be made of the type.
    """

    __slots__ = ("_adapter", "_input", "_output", "_serializer", "what")

    def __init__(self, type_: Any, what: str = "data") -> None:
        self.what = what
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(type_)
            schema = self._adapter.core_schema
            self._input = input_validator(schema)
            self._output = output_validator(schema)
            self._serializer = self._adapter.serializer  # what `dump_python` asks, with less on the way
        except (PydanticUserError, SchemaError, NameError, TypeError) as error:
            raise DeclarationError(f"{what}: {_unusable(type_, error)}") from error

    def dump(self, value: object) -> bytes:
        """Canonical bytes of a value of the type, or of what can be converted to it (a dict for a dataclass).

        Raises:
            DataError: the value does not fit the type or the wire; the message names the field.
        """
        try:
            fitting = self._output.validate_python(value)
            plain = self._serializer.to_python(fitting, by_alias=True, warnings=False)
        except ValidationError as error:
            raise DataError(f"{self.what}: {Invalid(_fields(error))}") from None
        except (PydanticSerializationError, ValueError) as error:  # ValueError: a circle
            raise DataError(f"{self.what}: {error}") from error
        return _encode(plain, self.what)

    def load(self, value: object) -> Any:
        """The value that decoded input stands for. Strict: `"7"` is no int, but an ISO string is a date.

        Raises:
            Invalid: with the path and the reason of each field that does not fit (the first 20).
        """
        try:
            return self._input.validate_python(value)
        except ValidationError as error:
            raise Invalid(_fields(error)) from None

    def json_schema(self, mode: Literal["validation", "serialization"] = "validation") -> dict[str, Any]:
        """The JSON Schema of what `load` accepts, or with "serialization" of what `dump` makes.

        Raises:
            DeclarationError: a part of the type has none.
        """
        try:
            return self._adapter.json_schema(mode=mode)
        except PydanticInvalidForJsonSchema as error:
            raise DeclarationError(f"{self.what}: {error.message}") from error


def _encode(plain: object, what: str) -> bytes:
    try:
        return data.encode(_string_keys(plain), _jsonable)
    except DataError as error:
        raise DataError(f"{what}: {error}") from error.__cause__
    except RecursionError:
        raise DataError(f"{what}: nested too deep, or a circle") from None


def _jsonable(value: object) -> object:
    """What canonical data has no form of its own for: dates, UUIDs, Decimals, Enums, sets."""
    if isinstance(value, set | frozenset | deque):
        return list(value)  # and not pydantic's way, which would make text of the bytes in it
    try:
        jsonable: object = to_jsonable_python(value)
    except PydanticSerializationError as error:
        raise TypeError(str(error)) from error
    return jsonable


def _string_keys(value: object) -> object:
    """`value` with keys as JSON has them: the 7 of `{7: "x"}` is "7" on the wire; `load` reads it back."""
    if isinstance(value, _LEAVES):  # to ask whether it is a Mapping takes longest
        return value
    if isinstance(value, Mapping):
        texts = {_key(key): _string_keys(item) for key, item in value.items()}
        if len(texts) != len(value):
            raise DataError("two keys of a map are the same string in JSON")
        return texts
    if isinstance(value, list | tuple):
        return [_string_keys(item) for item in value]
    return value


def _key(key: object) -> object:
    if isinstance(key, str) and not isinstance(key, Enum):
        return key
    if isinstance(key, int | UUID | date | Enum):
        return next(iter(to_jsonable_python({key: None})))
    return key  # refused by the encoder, which can say where it is


def _fields(error: ValidationError) -> list[tuple[str, str]]:
    """Paths and reasons, bounded, because both may be made of what a stranger sent."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    fields = [(".".join(map(str, each["loc"]))[:_MAX_PATH], each["msg"]) for each in errors[:_MAX_FIELDS]]
    if len(errors) > _MAX_FIELDS:
        fields.append(("", f"and {len(errors) - _MAX_FIELDS} more"))
    return fields


def _unusable(type_: object, error: Exception) -> str:
    if isinstance(error, PydanticUserError) and error.code == "typed-dict-version":
        return "before Python 3.12 a TypedDict must be typing_extensions.TypedDict, not typing.TypedDict"
    reason = (
        error.message if isinstance(error, PydanticUserError | PydanticUndefinedAnnotation) else str(error)
    )
    return f"the type {type_!r} cannot be used: {reason.splitlines()[0] if reason else type(error).__name__}"
