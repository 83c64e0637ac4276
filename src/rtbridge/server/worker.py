"""A supervised worker, from the application in hand to its end. In the forked child, under gevent."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

from rtbridge.bridge import Bridge, find_bridge
from rtbridge.server.link import WorkerEnd
from rtbridge.server.serving import serve_on

_REPORT_EVERY = (
    1.0  # seconds between two reports of the counters; a worker that is killed loses only the last
)


def work(end: WorkerEnd, listener: socket.socket, app: Callable[..., Any], count: int) -> int:
    """Serve until SIGTERM, or until the supervisor is gone; returns the exit status.

    Args:
        count: how many workers there are to be. With more than one, a bridge whose bus lives in one process is refused.
    """
    import gevent
    from gevent.socket import wait_read

    bridge = find_bridge(app)
    alone = bridge is not None and not bridge.shared
    if bridge is not None and alone and count > 1:
        end.tell(failed=_why_alone(bridge, count))
        return 1

    def report() -> None:
        end.tell(values={} if bridge is None else bridge.metrics.snapshot())

    def report_for_ever() -> None:
        while True:
            report()
            gevent.sleep(_REPORT_EVERY)

    def ready(stop: Callable[[], None]) -> None:
        def stop_when_left_alone() -> None:
            wait_read(end.fileno())
            stop()

        gevent.signal_handler(signal.SIGTERM, stop)
        gevent.spawn(stop_when_left_alone)
        gevent.spawn(report_for_ever)
        end.tell(ready=True, alone=alone)

    serve_on(listener, app, on_ready=ready)
    report()
    return 0


def _why_alone(bridge: Bridge, count: int) -> str:
    return (
        f"{bridge.url} keeps its channels in the memory of one process, so {count} workers would be {count} worlds "
        "of their own: give the bridge a bus that they share, as Bridge('redis://localhost:6379/0') or in "
        "RTBRIDGE_URL, or serve with --workers 1"
    )
