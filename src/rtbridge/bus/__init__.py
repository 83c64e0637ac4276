"""What is shared between processes: the channels' logs, small records and leases. See `contract`."""

from rtbridge.bus.contract import (
    LATEST,
    VOLATILE,
    Bus,
    History,
    Keep,
    Leases,
    Listener,
    Log,
    Records,
    ToPublish,
)

__all__ = [
    "LATEST",
    "VOLATILE",
    "Bus",
    "History",
    "Keep",
    "Leases",
    "Listener",
    "Log",
    "Records",
    "ToPublish",
]
