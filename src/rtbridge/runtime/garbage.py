"""What the collector of cyclic garbage need not look at again and again.

Modules, declarations and the application live as long as the process, and so do most connections for minutes; Python's
collector walks through all of it whenever a few hundred objects more were made than freed, which a thousand clients
that connect do several times each. So what is there when a server begins to serve is taken out of its sight, and it
runs less often: that made 10 to 25 % more connects per second of CPU, and neither helps nor hurts fan-out.
"""

from __future__ import annotations

import gc

DEFAULT = (700, 10, 10)
"""Python's own thresholds; who has set others knows why."""
OURS = (5_000, 20, 50)
"""Objects more made than freed, and so on: see `gc.set_threshold`.

With 20,000 the garbage of requests made idle connections seem to cost twice what they do.
"""


def spare_what_stays() -> None:
    """For a process that only serves, when everything is loaded."""
    if gc.isenabled() and gc.get_threshold() == DEFAULT:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*OURS)
