"""The house on a Sentinel service whose master is cut off, together with half of the house, and goes on acknowledging.

Side A is the old master, half of the workers and publishers, and a sentinel that cannot hear the others. Side B is the
rest. Clients reach the workers of both sides in turn, so that they see two logs side by side: each change has to be a
gap. When the wire is mended the old master becomes a replica, and forgets what it acknowledged meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hiredis
import redis

from support.lossy_bus import encoded
from support.redis_servers import RedisServer, SentinelTrio, until

from . import faults, world

HOST = "127.0.0.1"


class LonelySentinel:
    """Knows what it is told to say: the address of the master, and as of which configuration."""

    def __init__(self, port: int) -> None:
        self.master = (port, 0)
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> LonelySentinel:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        reader = hiredis.Reader(notEnoughData=None)
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(4096):
                reader.feed(data)
                while reader.gets() is not None:
                    port, epoch = self.master
                    answer: list[Any] = [
                        b"ip",
                        HOST.encode(),
                        b"port",
                        b"%d" % port,
                        b"config-epoch",
                        b"%d" % epoch,
                    ]
                    sock.sendall(encoded(answer))


def run(plan: world.Plan, folder: Path) -> world.Outcome:
    with ExitStack() as stack:
        trio = stack.enter_context(SentinelTrio())
        lonely = stack.enter_context(LonelySentinel(trio.master.port))
        side_a = f"redis+sentinel://{HOST}:{lonely.port}/{trio.SERVICE}{plan.options}"
        side_b = trio.url + plan.options
        house = world.House(plan, folder, [side_a, side_b], stack)
        notes = faults.Notes()
        return house.live(lambda over: _fail_over(plan, trio, lonely, house, notes, over), side_b, notes)


def _fail_over(
    plan: world.Plan,
    trio: SentinelTrio,
    lonely: LonelySentinel,
    house: world.House,
    notes: faults.Notes,
    over: threading.Event,
) -> None:
    rng = random.Random(plan.seed)
    over.wait(plan.seconds * 0.2)
    with notes.loss():
        trio.wire.cut()
        notes.counts["partition"] += 1
        until(lambda: trio.now_master() is trio.replica, "a failover", 30)
        notes.counts["failover"] += 1
        over.wait(plan.seconds * 0.2)
        _kill(house, rng, notes)
        over.wait(plan.seconds * 0.1)
        trio.wire.mend()
        with trio.sentinels[0].client() as client:
            state = client.sentinel_master(trio.SERVICE)
        lonely.master = (int(state["port"]), int(state["config-epoch"]))
        until(lambda: _role(trio.master) == "slave", "the old master's new place", 30)
    over.wait(plan.seconds * 0.1)
    _kill(house, rng, notes)
    over.wait()


def _kill(house: world.House, rng: random.Random, notes: faults.Notes) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(rng.choice(house.workers.pids()), signal.SIGKILL)
        notes.counts["kill a worker"] += 1


def _role(server: RedisServer) -> str:
    try:
        with server.client() as client:
            return str(client.info("replication")["role"])
    except redis.RedisError:
        return "out of reach"
