"""The registry: every channel and call that exists for clients. What is not here does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rtbridge.contract.calls import CallDeclaration
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.patterns import Pattern
from rtbridge.errors import DeclarationError


class Registry:
    """Declarations by name. Filled while the application is imported, then only read, from any thread."""

    def __init__(self) -> None:
        self._exact: dict[str, ChannelDeclaration] = {}
        # Patterns with parameters, by number of segments and first literal (None if that is a parameter too).
        self._patterns: dict[tuple[int, str | None], tuple[ChannelDeclaration, ...]] = {}
        self._calls: dict[str, CallDeclaration[..., Any]] = {}

    def add_channel(self, declaration: ChannelDeclaration) -> None:
        """Make a channel known. Raises DeclarationError when some name would also be another one's."""
        pattern = declaration.pattern
        for other in self.channels():
            if other.pattern.overlaps(pattern):
                raise DeclarationError(_overlap(pattern, other.pattern))
        if pattern.literal:
            self._exact[pattern.text] = declaration
        else:
            self._patterns[pattern.key] = (*self._patterns.get(pattern.key, ()), declaration)

    def add_call(self, declaration: CallDeclaration[..., Any]) -> None:
        """Make a call known. Raises DeclarationError when the name is taken."""
        if declaration.name in self._calls:
            raise DeclarationError(
                f"call {declaration.name!r} is declared twice; give one of them another name"
            )
        self._calls[declaration.name] = declaration

    def channel_for(self, name: str) -> tuple[ChannelDeclaration, dict[str, object]] | None:
        """The declaration a name belongs to, with its parameters; None if there is none. Takes any text."""
        exact = self._exact.get(name)
        if exact is not None:
            return exact, {}
        count, first = name.count("/") + 1, name.partition("/")[0]
        for key in ((count, first), (count, None)):
            for declaration in self._patterns.get(key, ()):
                params = declaration.pattern.match(name)
                if params is not None:
                    return declaration, params
        return None

    def call(self, name: str) -> CallDeclaration[..., Any] | None:
        """The call of this name; None if there is none."""
        return self._calls.get(name)

    def channels(self) -> Iterator[ChannelDeclaration]:
        """Every declared channel."""
        yield from self._exact.values()
        for declarations in self._patterns.values():
            yield from declarations

    def calls(self) -> Iterator[CallDeclaration[..., Any]]:
        """Every declared call."""
        yield from self._calls.values()


def _overlap(new: Pattern, old: Pattern) -> str:
    if new.text == old.text:
        return f"channel {new.text!r} is declared twice"
    return (
        f"channel {new.text!r} overlaps {old.text!r}, which is already declared: a name could belong to both;"
        " change a literal segment of one of them"
    )
