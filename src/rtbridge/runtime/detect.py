"""Which loop belongs here: asked once, by the bridge, in the code that serves the first request.

Installed is not used, and imported is not used either: gevent may be there for some other package's sake.
What counts is whether the calling code runs in a greenlet that gevent switches.
"""

from __future__ import annotations

import sys

from rtbridge.runtime.loop import Loop
from rtbridge.runtime.threads import ThreadLoop


def choose_loop() -> Loop:
    """A loop for the world the caller runs in. Call it where requests are served, not at import.

    Under a server that uses gevent without monkey patching, only a request runs in a greenlet; the code
    that imports the application does not.
    """
    if in_gevent():
        from rtbridge.runtime.gevent_loop import GeventLoop

        return GeventLoop()
    return ThreadLoop()


def in_gevent() -> bool:
    """Whether the calling code gives way to others by switching greenlets."""
    greenlet, gevent, hub = (sys.modules.get(name) for name in ("greenlet", "gevent", "gevent.hub"))
    if greenlet is None or gevent is None or hub is None:
        return False
    monkey = sys.modules.get("gevent.monkey")
    patched = getattr(monkey, "is_module_patched", None)  # another thread may be importing it just now
    if patched is not None and patched("socket"):
        return True  # then the main greenlet, too, gives way to others
    ancestor = greenlet.getcurrent().parent
    while ancestor is not None and not isinstance(ancestor, hub.Hub):
        ancestor = ancestor.parent
    return ancestor is not None
