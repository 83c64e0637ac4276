"""From `module:attribute` on the command line to what it names."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from rtbridge.bridge import Bridge, find_bridge


class CannotLoad(Exception):
    """What was named is not there, or is something else; the message says what to do."""


def load(target: str) -> Any:
    """Import `module:attribute`, the working directory first; Django is set up where its settings are named.

    Raises:
        CannotLoad: there is no such thing.
    """
    module, colon, attribute = target.partition(":")
    if not colon:
        raise CannotLoad(
            f"cannot load {target!r}: give it as module:attribute, for example project.wsgi:application"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        if os.environ.get("DJANGO_SETTINGS_MODULE"):
            importlib.import_module("django").setup()
        found: Any = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CannotLoad(f"cannot load {target!r}: {error}") from error
    return found


def load_app(target: str) -> Any:
    """A WSGI application.

    Raises:
        CannotLoad: it is none.
    """
    found = load(target)
    if not callable(found):
        raise CannotLoad(f"cannot load {target!r}: it is not a WSGI application")
    return found


def load_bridge(target: str) -> Bridge:
    """A bridge, or that of an application wrapped in `RealtimeMiddleware`.

    Raises:
        CannotLoad: there is none.
    """
    found = load(target)
    bridge = found if isinstance(found, Bridge) else find_bridge(found)
    if bridge is None:
        raise CannotLoad(
            f"cannot load {target!r}: it is neither a Bridge nor an application wrapped in RealtimeMiddleware"
        )
    return bridge
