"""The same bus from threads, from greenlets with and without monkey patching, and after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from bus.test_redis import RedisContract, plain  # noqa: F401  the fixture
from contracts.bus_contract import LIMITS, SOON, Recorder, offsets
from rtbridge.bus import Bus, History
from rtbridge.bus.redis import RedisBus
from rtbridge.protocol.publications import Publication
from support.redis_servers import PlainRedis, RedisServer

TESTS = Path(__file__).parent.parent


class FromGreenlets:
    """A bus whose methods are called in greenlets, of the hub of the calling thread."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._bus, name)
        if name in ("listen", "close"):
            return method  # type: ignore[no-any-return]
        return lambda *arguments, **options: gevent.spawn(method, *arguments, **options).get()


class PatientRecorder(Recorder):
    """Waits without stopping the other greenlets."""

    def next(self) -> tuple[str, str, Publication]:
        deadline = time.monotonic() + SOON
        while self.heard.empty() and time.monotonic() < deadline:
            gevent.sleep(0.002)
        return self.heard.get_nowait()


class TestFromGreenletsWithoutPatching(RedisContract):
    @pytest.fixture
    def place(self, plain: PlainRedis) -> tuple[str, list[RedisServer]]:  # noqa: F811
        return plain.url, [plain]

    @pytest.fixture
    def bus(self, place: tuple[str, list[RedisServer]]) -> Iterator[Any]:
        with place[1][0].client() as client:
            client.flushall()
        bus = RedisBus(place[0], LIMITS)
        yield FromGreenlets(bus)
        bus.close()

    @pytest.fixture
    def recorder(self, bus: Bus) -> Recorder:
        recorder = PatientRecorder()
        bus.listen(recorder)
        return recorder


@pytest.mark.parametrize("tests", ["bus/test_redis.py::TestPlainRedis", "bus/test_redis_faults.py"])
@pytest.mark.slow
def test_the_same_under_monkey_patching(tests: str) -> None:
    code = "from gevent import monkey; monkey.patch_all()\nimport sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", "-x", "-p", "no:cacheprovider", str(TESTS / tests)],
        capture_output=True, text=True, timeout=200, cwd=TESTS.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


# Greenlets and threads that come and go.


def test_a_killed_greenlet_takes_nobody_with_it(plain: PlainRedis) -> None:  # noqa: F811
    """Also the one that reads the replies for all, and one in the middle of waiting."""
    bus = RedisBus(plain.url, LIMITS)
    start = gevent.spawn(bus.position, "busy").get()
    given: list[int] = []

    def publish() -> None:
        while True:
            given.append(bus.publish("busy", b"1", History(5)).offset)

    publishers = [gevent.spawn(publish) for _ in range(16)]
    for _ in range(40):
        gevent.sleep(0.005)
        gevent.kill(publishers.pop(0))
        publishers.append(gevent.spawn(publish))
    before = len(given)
    gevent.sleep(0.05)
    gevent.killall(publishers)
    assert len(given) > before, "they stopped"
    assert given == sorted(set(given)) or len(set(given)) == len(given)
    here = gevent.spawn(bus.publish, "busy", b"2", History(5)).get(timeout=SOON)
    assert here.epoch == start.epoch and here.offset > max(given)
    bus.close()


def test_a_timeout_around_a_question_leaves_the_connection_usable(plain: PlainRedis) -> None:  # noqa: F811
    bus = RedisBus(plain.url, LIMITS)

    def ask() -> None:
        bus.put("k", b"1", 60.0)
        with plain.client() as client:
            client.client_pause(300)
        with gevent.Timeout(0.05, False):
            bus.put("k", b"2", 60.0)
        assert bus.get("k") == b"2"

    gevent.spawn(ask).get(timeout=SOON)
    bus.close()


def test_threads_and_greenlets_share_one_bus(plain: PlainRedis) -> None:  # noqa: F811
    bus = RedisBus(plain.url, LIMITS)
    results: list[int] = []

    def publish() -> None:
        for _ in range(50):
            results.append(bus.publish("mixed", b"1", History()).offset)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    gevent.joinall([gevent.spawn(publish) for _ in range(4)], raise_error=True)
    for thread in threads:
        thread.join()
    assert sorted(results)[-1] - sorted(results)[0] == 399 and len(set(results)) == 400
    bus.close()


# After a fork.


@pytest.mark.parametrize("world", ["threads", "greenlets"])
def test_after_a_fork_each_has_its_own_connections(plain: PlainRedis, world: str) -> None:  # noqa: F811
    """In a fresh interpreter: the parent watches and publishes before and after, and so does the child."""
    script = FORK.replace(
        "PATCH", "from gevent import monkey; monkey.patch_all()" if world == "greenlets" else ""
    )
    done = subprocess.run(
        [sys.executable, "-c", script, plain.url], capture_output=True, text=True, timeout=60, cwd=TESTS
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["child:heard", "parent:heard"], done.stdout


FORK = """
PATCH
import os, sys, threading
sys.path.insert(0, "")
from contracts.bus_contract import Recorder
from rtbridge.bus import History
from rtbridge.bus.redis import RedisBus

class Mine(Recorder):
    def __init__(self):
        super().__init__()
        self.came = threading.Event()
        self.wanted = b""
    def arrived(self, channel, epoch, *publications):
        if any(publication.data == self.wanted for publication in publications):
            self.came.set()

def check(bus, who):
    mine = Mine()
    mine.wanted = b'"%s"' % who.encode()
    bus.listen(mine)
    bus.watch(who)
    for _ in range(20):
        bus.publish("both", b"1", History(1000))
    bus.publish(who, mine.wanted, History())
    assert mine.came.wait(10), who + " heard nothing"
    os.write(1, f"{who}:heard\\n".encode())

bus = RedisBus(sys.argv[1])
bus.listen(Mine())
bus.watch("before")
first = bus.publish("both", b"1", History(1000))
pid = os.fork()
if pid == 0:
    try:
        check(bus, "child")
        os._exit(0)
    except BaseException:
        import traceback; traceback.print_exc()
        os._exit(1)
check(bus, "parent")
assert os.waitpid(pid, 0)[1] == 0
assert bus.position("both").offset == first.offset + 40
bus.close()
"""


def test_a_shell_with_no_loop(plain: PlainRedis) -> None:  # noqa: F811
    script = (
        "import sys; from rtbridge import Bridge, History\n"
        "print(Bridge(sys.argv[1]).channel('news', keep=History(5), public=True).publish('x').position)"
    )
    before = RedisBus(plain.url).position("news")
    done = subprocess.run(
        [sys.executable, "-c", script, plain.url],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ},
    )
    assert done.stdout.strip() == f"{before.epoch}.{before.offset + 1}", done.stderr
    assert offsets(RedisBus(plain.url).read("news", before, 10)) == [before.offset + 1]
