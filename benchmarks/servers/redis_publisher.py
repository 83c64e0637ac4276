"""A process beside the servers that publishes through Redis: `redis_publisher.py HOW REDIS_PORT`.

HOW is `rtbridge` (a channel's publish), `bus` (only its bus), `apart` (its bus, and 64 channels in turn, so that each
publication is a command of its own), `plain` (redis-py, one EVALSHA for each, the same work in Redis), `socketio`
(python-socketio's write-only RedisManager), or `positions-N` (asks for N positions instead).
It says `ready`; then it answers each line `RATE COUNT`, when it has published so many, with one line of JSON. RATE
publications a second, in ticks of a millisecond as node_redis.js has them, and by so many greenlets that they need not
wait for one another, as its do not; 0: 64 greenlets, each as fast as it can. A text says when it left:
~NUMBER@MICROSECONDS of the monotonic clock.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import itertools  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import gevent  # noqa: E402
from gevent.lock import Semaphore  # noqa: E402

GREENLETS, PACED, SIZE = 64, 128, 128
SCRIPT = """
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, offset .. '-0', 'd', ARGV[1])
redis.call('EXPIRE', KEYS[1], 2592000)
redis.call('EXPIRE', KEYS[2], 3600)
redis.call('PUBLISH', KEYS[3], offset .. ' ' .. ARGV[1])
return offset
"""
"""What a publish script does at the least: position, history, their expiry, notification."""

Publish = Callable[[str], object]


def rtbridge(url: str) -> Publish:
    from redis_app import make

    return make(url)[1].publish


def bus(url: str) -> Publish:
    from redis_app import make

    rt, feed = make(url)
    return lambda text: rt._bus.publish("feed", json.dumps(text).encode(), feed.keep)


def apart(url: str) -> Publish:
    from redis_app import make

    rt, feed = make(url)
    channels = itertools.cycle([f"feed/{number}" for number in range(64)])
    return lambda text: rt._bus.publish(next(channels), json.dumps(text).encode(), feed.keep)


def plain(url: str) -> Publish:
    import redis

    script = redis.Redis.from_url(url).register_script(SCRIPT)
    return lambda text: script(keys=["log", "history", "news"], args=[text])


def positions(url: str, channels: int) -> Publish:
    from redis_app import make

    rt, names = make(url)[0], [f"feed/{number}" for number in range(channels)]
    return lambda text: rt._bus.positions(names)


def socketio(url: str) -> Publish:
    from socketio import RedisManager

    manager = RedisManager(url, write_only=True)
    return lambda text: manager.emit("m", text)


def main(how: str, port: str) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    if how.startswith("positions-"):
        publish = positions(url, int(how.removeprefix("positions-")))
    else:
        publish = {"rtbridge": rtbridge, "bus": bus, "apart": apart, "plain": plain, "socketio": socketio}[
            how
        ](url)
    publish(f"~{0:08d}@".ljust(SIZE, "x"))  # the connection, the script
    print("ready", flush=True)
    for line in sys.stdin:
        rate, count = line.split()
        print(json.dumps(run(publish, float(rate), int(count))), flush=True)


def run(publish: Publish, rate: float, count: int) -> dict[str, object]:
    taken: list[float] = []
    failed: list[str] = []
    due = Semaphore(0)
    next_number = iter(range(1, count + 1))

    def one(number: int) -> None:
        began = time.monotonic()
        text = f"~{number:08d}@{began * 1e6:016.0f}"
        try:
            publish(text.ljust(SIZE, "x"))
        except Exception as error:
            failed.append(repr(error))
        taken.append(time.monotonic() - began)

    def work() -> None:
        for number in next_number:
            if rate:
                due.acquire()
            one(number)

    def pace() -> None:
        """Let go what is due, once a millisecond."""
        gone = 0
        while gone < count:
            now = min(count, int((time.monotonic() - start) * rate))
            for _ in range(now - gone):
                due.release()
            gone = now
            gevent.sleep(0.001)

    cpu = time.process_time()
    start = time.monotonic()
    if rate:
        gevent.spawn(pace)
    gevent.joinall([gevent.spawn(work) for _ in range(PACED if rate else GREENLETS)])
    wall = time.monotonic() - start
    taken.sort()
    spent = time.process_time() - cpu
    found: dict[str, object] = {"count": len(taken), "wall": wall, "rate": len(taken) / wall, "cpu": spent}
    found |= {
        f"p{share}": 1000 * taken[min(len(taken) - 1, len(taken) * share // 100)] for share in (50, 95, 99)
    }
    return {**found, "failed": len(failed), "failure": failed[0] if failed else None}


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # whatever the peers' connections would still like to do
