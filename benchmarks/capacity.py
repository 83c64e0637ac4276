"""How many processes and how much Redis so many clients take: a calculation from measured unit costs, nothing more.

The assumptions are fields with a reason; a site whose own are others puts them in and calls `needed`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rtbridge import Limits


@dataclass(frozen=True)
class Costs:
    """What was measured, of one process on one core. None: not measured."""

    deliveries: float
    """Deliveries per second of CPU (one publication in flight, 1,000 subscribers)."""
    recoveries: float
    """Clients per second of CPU that reconnect with token and position and get what they missed."""
    kib: float
    """KiB for an idle WebSocket with its subscription."""
    publishes: float | None = None
    """Publications per second that one Redis takes."""
    notifications: float | None = None
    """Notifications per second that one Redis hands to worker processes."""
    checks: float | None = None
    """Positions per second that one Redis tells to processes that look whether they missed something."""


@dataclass(frozen=True)
class Use:
    """What the clients do, and how much of a machine may be used for it."""

    per_client: float = 0.1
    """Deliveries per second to each client: one in ten seconds."""
    audience: int = 100
    """Subscribers of a channel, on average."""
    back_within: float = 60
    """Seconds within which all are to be back after a network or a deploy took their sockets."""
    used: float = 0.5
    """Share of a core, or of a Redis, that may be used."""
    memory: float = 2 * 1024 * 1024
    """KiB of memory that the connections of one process may take."""
    files: int = 50_000
    """Open sockets of one process."""
    check_every: float = Limits().sweep_interval
    """Seconds between two checks of a channel's position by each process that has subscribers of it."""


@dataclass(frozen=True)
class Need:
    """The answer; `because` names what the workers are needed for."""

    clients: int
    publications: float
    workers: int
    because: str
    shards: int | None


def needed(clients: int, costs: Costs, use: Use = Use()) -> Need:
    """Workers (processes of one core each) and Redis shards for so many clients on WebSockets."""
    wanted = {
        "deliveries": clients * use.per_client / (use.used * costs.deliveries),
        "coming back": clients / (use.back_within * use.used * costs.recoveries),
        "memory": clients * costs.kib / use.memory,
        "open files": clients / use.files,
    }
    because = max(wanted, key=lambda name: wanted[name])
    workers = math.ceil(wanted[because])
    publications = clients * use.per_client / use.audience
    shards = None
    if costs.publishes:
        # Every process that has a subscriber of the channel is told: at most all processes, at most the audience.
        processes = min(use.audience, workers)
        busy = publications / costs.publishes
        if costs.notifications:
            busy += publications * processes / costs.notifications
        if costs.checks:
            busy += clients / use.audience * processes / use.check_every / costs.checks
        shards = max(1, math.ceil(busy / use.used))
    return Need(clients, publications, workers, because, shards)


FORMULA = """\
workers = the largest of    clients * deliveries per client and second / (share used * deliveries per CPU-second)
                            clients / (seconds to be back * share used * recoveries per CPU-second)
                            clients * KiB each / memory of a worker
                            clients / open files of a worker
publications = clients * deliveries per client and second / audience of a channel
processes = min(audience, workers)                                          (that follow a channel)
shards  = the sum of        publications / publications per second of one Redis
                            publications * processes / its notifications per second
                            clients / audience * processes / seconds between checks / its position checks per second
          divided by the share used
"""
