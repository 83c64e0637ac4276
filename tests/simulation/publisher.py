"""A process that publishes in bursts, from several threads or greenlets, and notes what it was told.

A burst goes to one channel, which then is silent for a while. Where Redis is out of reach, some publications are given
up, and nobody may say whether they are there; others are tried again under the same key until they are acknowledged.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

plan: dict[str, Any] = json.loads(os.environ["CHAOS"])
mine: dict[str, Any] = json.loads(sys.argv[1])
if mine["world"] == "gevent":
    from gevent import monkey

    monkey.patch_all()

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from chaos_site import rt  # noqa: E402
from oracle import Attempt, note_attempt  # noqa: E402

from rtbridge.errors import BusError, BusUnavailable  # noqa: E402
from rtbridge.protocol.positions import Position  # noqa: E402

BURSTS = (1, 2, 5, 20, 60)
INSIST = 60.0
"""Seconds for which a publication with a key is tried again."""


class Publisher:
    """One thread: at most `rate` publications a second on average, `count` that are acknowledged."""

    def __init__(self, name: str, count: int, rate: float, log: Path) -> None:
        self._name = name
        self._count = count
        self._rate = rate
        self._log = log.open("w")
        self._random = random.Random(f"{plan['seed']} {name}")
        self._number = 0
        self._done = 0

    def run(self) -> None:
        began = time.monotonic()
        while self._done < self._count:
            channel = self._random.choice(plan["channels"])
            for _ in range(self._random.choice(BURSTS)):
                self._publish(channel)
            ahead = self._done / self._rate - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
        self._log.close()

    def _publish(self, channel: str) -> None:
        self._number += 1
        payload = f"{self._name}.{self._number}"
        insists = self._random.random() < 0.5
        padding = "x" * 8_000 if self._random.random() < 0.01 else ""
        began = time.monotonic()
        position = None
        while position is None:
            try:
                published = rt.publish(channel, f"{payload} {padding}", key=payload if insists else None)
                position = published.position
                assert isinstance(position, Position)
            except BusUnavailable:
                time.sleep(self._random.uniform(0.05, 0.2))
                if not insists or time.monotonic() - began > INSIST:
                    break
            except BusError as error:
                print(f"{self._name}: {error}", file=sys.stderr, flush=True)
                break
        self._done += position is not None
        named = None if position is None else (position.epoch, position.offset)
        self._log.write(note_attempt(Attempt(began, time.monotonic(), channel, payload, named)))


def main() -> None:
    threads = []
    for number in range(mine["threads"]):
        name = f"{mine['name']}.{number}"
        log = Path(plan["folder"]) / f"publisher-{name}.log"
        publisher = Publisher(name, mine["count"] // mine["threads"], mine["rate"] / mine["threads"], log)
        threads.append(threading.Thread(target=publisher.run))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
