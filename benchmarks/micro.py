"""The hot paths alone, as ratios to a fixed loop of plain Python run beside them; `make bench-check` compares them.

    python -m benchmarks.micro            measure and print
    python -m benchmarks.micro --check    compare with benchmarks/baseline.json; status 1 on a regression
    python -m benchmarks.micro --write    measure, and make that the baseline

A ratio survives another machine, another load and mostly another Python far better than microseconds do. Path and
loop take turns, each some milliseconds of CPU time, so that what slows the machine slows both; the median of the ratios
of neighbours counts. (The fastest of each does not: they may be of different moments.) A path that looks too slow is
measured again before anybody is told.
"""

from __future__ import annotations

import json
import platform
import re
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from rtbridge import Limits
from rtbridge.bus.contract import History
from rtbridge.bus.memory import MemoryBus
from rtbridge.fanout import Fanout
from rtbridge.metrics import Metrics
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.commands import parse_command
from rtbridge.protocol.data import encode
from rtbridge.protocol.frames import FrameParser, Opcode, frame, text_frame
from rtbridge.protocol.polls import parse_poll_request
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication
from rtbridge.runtime.loop import Loop
from rtbridge.session.flusher import Flusher
from rtbridge.session.live import LiveGroup, LiveGroups
from rtbridge.session.subscription import Encoder
from rtbridge.transports.carrier import socket_wire

from .harness import Table, save

BASELINE = Path(__file__).with_name("baseline.json")
ALLOWED = 1.3
"""How many times its baseline a ratio may be."""
ROUNDS, SLICE, AGAIN = 25, 0.008, 2

PYTHON = ".".join(platform.python_version_tuple()[:2])

DATA = encode({"id": 17, "text": "x" * 110})
POSITION = Position("kX3f9Q2a", 17)

Path_ = Callable[[], object]


def reference() -> None:
    """What the ratios are ratios to. Never change it: the baseline would mean nothing."""
    seen: dict[str, int] = {}
    pieces = []
    for number in range(200):
        key = f"key-{number & 31}"
        seen[key] = seen.get(key, 0) + number
        pieces.append(b"%d:%b" % (number, b"x" * 16))
    joined = b",".join(pieces)
    json.loads(json.dumps(seen))
    re.findall(rb"(\d+):", joined)


def encode_message() -> object:
    """A publication once around: value, canonical JSON, fragment, push, frame."""
    data = encode({"id": 17, "text": "x" * 110})
    fragment = JSON.publication(Publication(18, data))
    return text_frame(JSON.publications("groups/7/photos", Position("kX3f9Q2a", 18), [fragment]))


def decode_frames() -> Path_:
    """64 masked frames of a client in one read, each a command."""
    command = (
        b'{"type":"call","id":4,"call_id":"p7Gd0LxQ4W2uYt1k","name":"photos.comment","params":{"text":"wow"}}'
    )
    block = frame(Opcode.TEXT, command, mask=b"\x11\x22\x33\x44") * 64

    def run() -> object:
        events = FrameParser(role="server", max_message=65_536).feed(block)
        assert len(events) == 64
        return events

    return run


def parse_commands() -> Path_:
    """The bytes of a command to the command."""
    raw = b'{"type":"subscribe","id":2,"channel":"groups/7/photos","position":"kX3f9Q2a.17"}'
    return lambda: parse_command(JSON.decode(raw))


class _Loop:
    """A loop whose turn is `run()`; see `rtbridge.runtime.Loop`."""

    name = "benchmark"

    def __init__(self) -> None:
        self.calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    def now(self) -> float:
        return 1000.0

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self.calls.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Any:
        return None

    def run(self) -> None:
        while self.calls:
            callback, args = self.calls.popleft()
            callback(*args)


class _Reader:
    """As little as a reader can do: take what is new, and remember where it is."""

    def __init__(self, fanout: Fanout, position: Position) -> None:
        self.fanout = fanout
        self.position = position
        self.got = 0

    weight = 1

    def news(self, channel: str) -> None:
        tail = self.fanout.tail(channel)
        assert tail is not None
        entries = tail.after(self.position, 500, 524_288)
        assert isinstance(entries, list)
        self.got += len(entries)
        self.position = tail.position()


def dispatch() -> Path_:
    """One publish through the memory bus and the fanout to 200 readers."""
    loop, limits = _Loop(), Limits()
    bus = MemoryBus(limits, loop.now)
    fanout = Fanout(bus, cast(Loop, loop), limits, Metrics())
    bus.listen(fanout)
    keep = History(100, ttl=3600)
    tails: list[Any] = []
    fanout.when_ready("photos", keep, tails.append)
    loop.run()
    readers = [_Reader(fanout, tails[0].position()) for _ in range(200)]
    for reader in readers:
        fanout.join("photos", cast(Any, reader))

    def run() -> object:
        before = readers[-1].got
        bus.publish("photos", DATA, keep)
        loop.run()
        assert readers[-1].got == before + 1
        return readers

    return run


class _Sink:
    """A socket that takes everything, and counts."""

    def __init__(self) -> None:
        self.sends = 0

    def send(self, data: bytes, /) -> int:
        self.sends += 1
        return len(data)


def live_group() -> Path_:
    """Four publishes that leave together, to a live group of 200 sockets."""
    loop, limits, metrics = _Loop(), Limits(), Metrics()
    bus = MemoryBus(limits, loop.now)
    fanout = Fanout(bus, cast(Loop, loop), limits, metrics)
    bus.listen(fanout)
    keep = History(100, ttl=3600)
    tails: list[Any] = []
    fanout.when_ready("photos", keep, tails.append)
    groups = LiveGroups(fanout, Flusher(cast(Loop, loop)), Encoder(), limits, metrics)
    group = LiveGroup(groups, "photos", socket_wire(JSON), tails[0].position())
    fanout.join("photos", group)
    sinks = [_Sink() for _ in range(200)]
    group.members.update({cast(Any, object()): sink for sink in sinks})

    def run() -> object:
        before = sinks[-1].sends
        for _ in range(4):
            bus.publish("photos", DATA, keep)
        loop.run()
        assert sinks[-1].sends == before + 1
        return sinks

    return run


def poll_answer() -> Path_:
    """A poll of two channels: its body read, its answer of one publication written."""
    body = (
        b'{"wait":25,"commands":[{"type":"hello","id":1,"version":1,"instance":"Vt0cQpX2b1aL"},'
        b'{"type":"subscribe","channel":"photos","position":"kX3f9Q2a.17"},'
        b'{"type":"subscribe","channel":"photos/3/comments","position":"Qe81nT.300"}]}'
    )
    position = Position("kX3f9Q2a", 18)
    fragment = JSON.publication(Publication(18, DATA))

    def run() -> object:
        request = parse_poll_request(JSON.decode(body))
        for command in request.commands:
            parse_command(command)
        return JSON.join_poll([JSON.publications("photos", position, [fragment])])

    return run


def cursor() -> object:
    """A cursor from the wire and back."""
    return str(Position.parse("kX3f9Q2a.9007199254740991"))


def paths() -> dict[str, Path_]:
    return {
        "encode": encode_message,
        "frame decode, 64": decode_frames(),
        "command parse": parse_commands(),
        "fanout dispatch, 200": dispatch(),
        "live group, 200": live_group(),
        "poll answer": poll_answer(),
        "cursor codec": cursor,
    }


def _seconds(path: Path_, times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        path()
    return (time.thread_time() - began) / times


def _times(path: Path_) -> int:
    """How often it must run to fill a slice, having run often enough to be warm."""
    return max(1, int(SLICE / max(_seconds(path, 20), 1e-7)))


def ratio(path: Path_, rounds: int = ROUNDS) -> float:
    """Its time over the loop's, measured in turns: the median."""
    times, loops = _times(path), _times(reference)
    return statistics.median(_seconds(path, times) / _seconds(reference, loops) for _ in range(rounds))


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    return {name: ratio(path, rounds) for name, path in paths().items()}


def regressions(found: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """What takes more than ALLOWED times its baseline, or has none."""
    return [name for name, value in found.items() if value > ALLOWED * baseline.get(name, 0)]


def check() -> int:
    stored = json.loads(BASELINE.read_text())
    baseline: dict[str, float] = stored["ratios"]
    found = measure()
    for _ in range(AGAIN):
        for name in regressions(found, baseline):
            found[name] = min(found[name], ratio(paths()[name], 2 * ROUNDS))
    slower = regressions(found, baseline)
    table = Table("Hot paths, times the reference loop", ["now", "baseline", "now / baseline", "verdict"])
    for name, value in found.items():
        was = baseline.get(name)
        times = f"{value / was:.2f}" if was else "-"
        table.add(
            name, f"{value:.4f}", f"{was:.4f}" if was else "-", times, "SLOWER" if name in slower else "ok"
        )
    print(table.text())
    if stored["python"] != PYTHON:
        print(
            f"the baseline is of Python {stored['python']}, this is {PYTHON}: that alone may make a difference"
        )
    if slower:
        print(f"slower than {ALLOWED} times the baseline: {', '.join(slower)}")
    return 1 if slower else 0


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        return check()
    if arguments not in ([], ["--write"]):
        print(__doc__)
        return 2
    found = measure(2 * ROUNDS)
    if arguments:
        several = [found, measure(2 * ROUNDS), measure(2 * ROUNDS)]
        found = {name: statistics.median(ratios[name] for ratios in several) for name in found}
    table = Table("Hot paths", ["times the reference loop"])
    for name, value in found.items():
        table.add(name, f"{value:.4f}")
    print(table.text())
    save("micro", {"ratios": found})
    if arguments:
        stored = {"python": PYTHON, "ratios": {name: round(value, 4) for name, value in found.items()}}
        BASELINE.write_text(json.dumps(stored, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
