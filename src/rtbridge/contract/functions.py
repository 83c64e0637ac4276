"""Reading the signatures of the application's functions.

Every function that an app author hands us takes the context first, whatever they call it, and then named
parameters. Mistakes are found here, at declaration, where the traceback points at the author's line.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from rtbridge.errors import DeclarationError

_UNSUITABLE = {
    inspect.Parameter.VAR_POSITIONAL: "*{}",
    inspect.Parameter.VAR_KEYWORD: "**{}",
    inspect.Parameter.POSITIONAL_ONLY: "the positional-only {}",
}


def check_plain(function: Callable[..., Any], what: str) -> None:
    """Refuse what would return an object that is not yet an answer, and so pass every check for truth.

    Raises:
        DeclarationError: not a function, or an `async def` or a generator.
    """
    if not callable(function):
        raise DeclarationError(f"{what} needs a function, not {function!r}")
    suspended = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    bodies = (function, inspect.unwrap(function), getattr(function, "__call__", None))  # noqa: B004
    if any(kind(body) for kind in suspended for body in bodies):
        raise DeclarationError(f"{what}: {_name(function)} must be a plain function: no async def, no yield")


def parameters_of(function: Callable[..., Any], what: str) -> tuple[list[inspect.Parameter], Any]:
    """The parameters behind the context, and the return annotation (`Signature.empty` if there is none).

    Raises:
        DeclarationError: no context parameter, or no readable signature.
    """
    check_plain(function, what)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError, NameError) as error:
        raise DeclarationError(
            f"{what}: the signature of {_name(function)} cannot be read: {error}"
        ) from error
    parameters = list(signature.parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in positional:
        raise DeclarationError(f"{what}: {_name(function)} must take the context as its first parameter")
    return parameters[1:], signature.return_annotation


def only_named(parameters: list[inspect.Parameter], what: str) -> None:
    """Refuse parameters that a client cannot give by name. Raises DeclarationError."""
    for parameter in parameters:
        if parameter.kind in _UNSUITABLE:
            found = _UNSUITABLE[parameter.kind].format(parameter.name)
            raise DeclarationError(
                f"{what}: every parameter must be given by name, so {found} is not possible"
            )


def resolved(function: Callable[..., Any], annotations: dict[str, Any], what: str) -> dict[str, Any]:
    """Annotations with the ones written as strings evaluated where the function was defined.

    Raises:
        DeclarationError: a name in them is not known there.
    """
    plain = inspect.unwrap(function)
    while isinstance(plain, functools.partial):
        plain = inspect.unwrap(plain.func)
    namespace = getattr(plain, "__globals__", {})  # a bound method passes its function's on
    holder = types.SimpleNamespace(__annotations__=annotations)
    try:
        return typing.get_type_hints(holder, globalns=namespace, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"{what}: {error}; types in the signature of {_name(function)} must be importable at run time,"
            " at the top level of its module"
        ) from error
    except (SyntaxError, TypeError) as error:
        raise DeclarationError(
            f"{what}: an annotation of {_name(function)} cannot be used: {error}"
        ) from error


def _name(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__qualname__', repr(function))}()"
