"""What the collector of cyclic garbage need not look at again and again.

Modules, declarations and the application live as long as the process. What is there when a server begins to serve
is therefore taken out of the collector's sight. Its thresholds stay Python's own: higher ones brought hardly more
connects per second, and the garbage of requests then made idle connections seem to cost twice what they do.
"""

from __future__ import annotations

import gc


def spare_what_stays() -> None:
    """For a process that only serves, when everything is loaded."""
    if gc.isenabled():
        gc.collect()
        gc.freeze()
