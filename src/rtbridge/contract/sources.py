"""Sources: a query that somebody used to poll, run once for everybody."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.functions import check_plain, only_named
from rtbridge.errors import DeclarationError


class SourceDeclaration:
    """The source of a channel, or of each channel of a family.

    Args:
        channel: where its values are published.
        function: `function(**params)` returns the value as of now; its parameters are the channel's.
        every: seconds between two runs.

    Raises:
        DeclarationError: these do not go together.
    """

    def __init__(self, channel: ChannelDeclaration, function: Callable[..., Any], every: float) -> None:
        self.channel = channel
        self.function = function
        self.every = every
        self.what = f"source of {channel.what}"
        if not (isinstance(every, int | float) and math.isfinite(every) and every > 0):
            raise DeclarationError(f"{self.what}: every is a number of seconds above 0, not {every!r}")
        if channel.keep.kind == "volatile":
            raise DeclarationError(
                f"{self.what}: a volatile channel has no newest value to compare with;"
                ' choose keep="latest", or a History'
            )
        self._check(function)

    def take(self, params: Mapping[str, object]) -> bytes:
        """Run it: the value as canonical JSON. The author's code, so it may raise anything.

        Raises:
            DataError: what it returned does not fit the channel's type, or the wire.
        """
        return self.channel.schema.dump(self.function(**params))

    def _check(self, function: Callable[..., Any]) -> None:
        check_plain(function, self.what)
        parameters = list(inspect.signature(function).parameters.values())
        named = [each for each in parameters if each.kind is not each.VAR_KEYWORD]
        only_named(named, self.what)
        wanted, taken = set(self.channel.pattern.names), {each.name for each in named}
        required = {each.name for each in named if each.default is each.empty}
        if required <= wanted and (wanted <= taken or len(named) < len(parameters)):
            return
        raise DeclarationError(
            f"{self.what}: it is called with ({', '.join(self.channel.pattern.names)}), without a context,"
            " because nobody asks; so its parameters must be these"
        )
