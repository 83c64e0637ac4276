"""From a WSGI application to the bridge that it carries, through whatever middleware is around it."""

from __future__ import annotations

from rtbridge.bridge.bridge import Bridge
from rtbridge.frameworks import parts_of


def find_bridge(app: object) -> Bridge | None:
    """The bridge of the first `RealtimeMiddleware` in an application; None if there is none."""
    for part in parts_of(app):
        bridge = getattr(part, "bridge", None)
        if isinstance(bridge, Bridge):
            return bridge
    return None
