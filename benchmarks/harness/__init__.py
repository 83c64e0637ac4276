"""What every benchmark needs: a server on one core, load on the other, what it cost, and a table of the result.

    with Server([sys.executable, "-m", "…"], port=port) as server:      # pinned to the server's core
        with server.measure() as cost:
            ...                                                        # load, from the other core
        print(cost.cpu, cost.wall, server.pss())

Everything is bounded: a server that does not come up in time raises, and leaving the block ends its processes by pid.
"""

from .build import compile_c
from .process import (
    BenchmarkError,
    Cost,
    Server,
    end_on_sigterm,
    free_port,
    pin_load,
    raise_file_limit,
    wait_for_port,
)
from .report import Goal, Row, Table, environment, save, spread
from .samples import Sample, repeat

__all__ = [
    "BenchmarkError",
    "Cost",
    "Goal",
    "Row",
    "Sample",
    "Server",
    "Table",
    "compile_c",
    "end_on_sigterm",
    "environment",
    "free_port",
    "pin_load",
    "raise_file_limit",
    "repeat",
    "save",
    "spread",
    "wait_for_port",
]
