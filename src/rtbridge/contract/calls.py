"""Calls: a plain function, declared for clients.

Its signature is the declaration. The first parameter is the context, the others are what a client sends as
`params`, each validated against its annotation (none means anything); the return annotation is what the
client gets.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, NotRequired, ParamSpec, Required, TypeVar

from pydantic import ConfigDict
from typing_extensions import TypedDict

from rtbridge.contract.context import Context
from rtbridge.contract.functions import only_named, parameters_of, resolved
from rtbridge.contract.types import Schema
from rtbridge.errors import DeclarationError

P = ParamSpec("P")
R = TypeVar("R")
MAX_NAME = 200
"""Bytes of a call's name."""


class CallDeclaration(Generic[P, R]):
    """A call that clients may make. Called directly, it is just the function, without any validation.

    Args:
        name: what clients call it by, at most 200 bytes without spaces.
        function: `function(ctx, **params)`.
        idempotent: running it twice does no harm, so a retry runs it again instead of getting the stored
            reply.

    Raises:
        DeclarationError: the name or the signature cannot work.

    Attributes:
        params: the schema of the parameters.
        result: the schema of the result; anything goes where the function does not say.
    """

    def __init__(self, name: str, function: Callable[P, R], *, idempotent: bool = False) -> None:
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name.encode()) <= MAX_NAME:
            raise DeclarationError(f"a call's name has 1 to {MAX_NAME} printable bytes, unlike {name!r}")
        if " " in name:
            raise DeclarationError(f"a call's name has no spaces, unlike {name!r}")
        self.name = name
        self.function = function
        self.idempotent = idempotent
        parameters, returns = parameters_of(function, f"call {name!r}")
        self.params = _params_schema(function, parameters, f"params of {name}")
        self.result = _result_schema(function, returns, f"result of {name}")
        functools.update_wrapper(self, function, updated=())

    def __repr__(self) -> str:
        return f"<call {self.name!r}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def bind(self, params: Mapping[str, object]) -> dict[str, Any]:
        """The keyword arguments that a client's params stand for; what is left out takes its default.

        Raises:
            Invalid: with the path and the reason of each field that is wrong, missing or unknown.
        """
        bound: dict[str, Any] = self.params.load(params)
        return bound

    def run(self, ctx: Context, bound: Mapping[str, Any]) -> object:
        """Call the function with bound params. Raises whatever it raises; `Refused` is its way to say no."""
        function: Callable[..., object] = self.function
        return function(ctx, **bound)

    def dump_result(self, value: object) -> bytes:
        """Canonical bytes of what the function returned. Raises DataError where it does not fit."""
        return self.result.dump(value)


def _params_schema(function: Callable[..., Any], parameters: list[inspect.Parameter], what: str) -> Schema:
    only_named(parameters, what)
    empty = inspect.Parameter.empty
    written = {each.name: Any if each.annotation is empty else each.annotation for each in parameters}
    types = resolved(function, written, what)
    # A TypedDict and not a model: any name may be a field of it, and what was left out stays left out.
    fields = {
        each.name: (Required if each.default is empty else NotRequired)[types[each.name]]
        for each in parameters
    }
    params = TypedDict("params", fields)  # type: ignore[misc]
    params.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return Schema(params, what)


def _result_schema(function: Callable[..., Any], returns: Any, what: str) -> Schema:
    written = Any if returns is inspect.Signature.empty else returns
    return Schema(resolved(function, {"return": written}, what)["return"], what)
