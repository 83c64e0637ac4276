"""The site says who somebody is, to a process that carries the realtime endpoint without asking the site's database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rtbridge.contract.registry import Registry
from rtbridge.errors import ConfigError, DeclarationError
from rtbridge.session.access import Access

ASK = object()
"""Stands for the user that authenticate finds."""


def hand_out(
    access: Access,
    registry: Registry,
    request: object,
    user: object,
    channels: Iterable[object],
    previous: str | None,
) -> str:
    """See `Bridge.token_for`."""
    environ = _environ_of(request)
    if user is not ASK:
        user_id = access.framework.user_id(user)
    elif environ is not None:
        user_id = access.who(environ)
    else:
        raise ConfigError("a token for whom? token_for takes the request, or user=…, or both")
    names = [str(channel) for channel in channels]
    for name in names:
        if registry.channel_for(name) is None:
            raise DeclarationError(f"no channel is declared for {name!r}")
    return access.hand_out(environ, user_id, names, previous)


def _environ_of(request: object) -> Mapping[str, Any] | None:
    """The WSGI environ of Django's request, or Flask's, or that it is itself."""
    environ: object = getattr(request, "META", None) or getattr(request, "environ", None) or request
    if environ is None or isinstance(environ, Mapping):
        return environ
    raise ConfigError(
        f"token_for takes a request of Django or Flask, or a WSGI environ, not {type(request).__name__}"
    )
