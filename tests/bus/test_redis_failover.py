"""Another server takes over: by Sentinel, by the Cluster, by moving slots. No position ever names two messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from contracts.bus_contract import LIMITS, Recorder
from rtbridge.bus import History
from rtbridge.bus.redis import RedisBus
from rtbridge.errors import BusError, BusUnavailable
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page
from support.redis_servers import ClusterOfThree, RedisServer, SentinelTrio, until

PATIENT = replace(LIMITS, bus_timeout=20.0, page_publications=10_000, page_bytes=10_000_000)
KEEP = History(10_000)
CHANNELS = [f"c{number}" for number in range(20)]


class Publisher:
    """Publishes to channels in turn until told to stop, and keeps what was acknowledged, and whatever it read."""

    def __init__(self, bus: RedisBus, name: str) -> None:
        self.bus = bus
        self.name = name
        self.named: dict[tuple[str, Position], bytes] = {}
        self.failures = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            channel, data = CHANNELS[number % len(CHANNELS)], f'"{self.name} {number}"'.encode()
            try:
                self.named[channel, self.bus.publish(channel, data, KEEP)] = data
            except BusError:
                self.failures += 1
                self._stop.wait(0.05)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


def read_all(bus: RedisBus) -> dict[tuple[str, Position], bytes]:
    """What the positions of the present epochs name. Offsets that an epoch took over are under it, too."""
    found = {}
    for channel in CHANNELS:
        page = bus.read(channel, None, 10_000)
        assert isinstance(page, Page)
        for publication in page.publications:
            found[channel, Position(page.position.epoch, publication.offset)] = publication.data
    return found


def role(server: RedisServer) -> str:
    try:
        with server.client() as client:
            return str(client.info("replication")["role"])
    except redis.RedisError:
        return "out of reach"


def conflicts(*several: dict[tuple[str, Position], bytes]) -> list[tuple[str, Position]]:
    """Positions that name two messages."""
    names: dict[tuple[str, Position], bytes] = {}
    wrong = []
    for named in several:
        for where, data in named.items():
            if names.setdefault(where, data) != data:
                wrong.append(where)
    return wrong


@pytest.fixture
def trio() -> Iterator[SentinelTrio]:
    with SentinelTrio() as trio:
        yield trio


@pytest.mark.slow
@pytest.mark.parametrize("fence", ["on", "off"])
def test_a_partitioned_old_master_names_nothing_twice(trio: SentinelTrio, fence: str) -> None:
    """It goes on acknowledging those who are cut off with it. Without the fence this test must see conflicts."""
    cut_off = RedisBus(
        f"redis://127.0.0.1:{trio.master.port}?fence={fence}", replace(PATIENT, bus_timeout=1.0)
    )
    others = RedisBus(f"{trio.url}?fence={fence}", PATIENT)
    before = Publisher(others, "before")
    until(lambda: len(before.named) > 200, "publications before the partition")
    before.stop()

    trio.wire.cut()
    left = Publisher(cut_off, "left behind")
    until(lambda: trio.now_master() is trio.replica, "a failover")
    right = Publisher(others, "others")
    until(lambda: len(right.named) > 200 and len(left.named) > 200, "publications on both sides")
    seen_right = read_all(others)
    seen_left = read_all(cut_off)
    trio.wire.mend()
    until(lambda: role(trio.master) == "slave", "the old master's new place", 30)
    left.stop()
    right.stop()
    wrong = conflicts(before.named, left.named, seen_left, right.named, seen_right, read_all(others))
    print(
        f"{len(left.named)} acknowledged by the old master, {len(right.named)} by the new; {len(wrong)} conflicts"
    )
    assert (not wrong) if fence == "on" else wrong
    assert left.failures, "the old master must refuse, now that it is a replica"
    channel, position = next(iter(left.named))
    if fence == "on":
        assert isinstance(others.read(channel, position, 10), Gap)


def test_watchers_follow_a_failover(trio: SentinelTrio) -> None:
    bus = RedisBus(trio.url, PATIENT)
    recorder = Recorder()
    bus.listen(recorder)
    bus.watch("news")
    bus.publish("news", b"1", KEEP)
    assert recorder.next()[2].data == b"1"
    trio.master.kill()
    begin = time.monotonic()
    after = bus.publish("news", b"2", KEEP)
    print(f"published {time.monotonic() - begin:.1f} s after the master's death")
    until(lambda: len(recorder.suspects) >= 2, "being live again")
    page = bus.read("news", None, 10)
    assert page.position == after
    bus.publish("news", b"3", KEEP)
    while recorder.next()[2].data != b"3":
        pass


def test_durable_publishes_fail_where_no_replica_is(trio: SentinelTrio) -> None:
    bus = RedisBus(f"{trio.url}?durability=replica", replace(PATIENT, bus_timeout=1.0))
    bus.publish("news", b"1", KEEP)
    trio.replica.stop()
    try:
        with pytest.raises(BusUnavailable, match="no replica"):
            bus.publish("news", b"2", KEEP)
    finally:
        trio.replica.go_on()


# Cluster.


@pytest.fixture
def cluster() -> Iterator[ClusterOfThree]:
    with ClusterOfThree(replicas=True) as cluster:
        yield cluster


def test_a_cluster_whose_node_dies_goes_on(cluster: ClusterOfThree) -> None:
    bus = RedisBus(cluster.url, PATIENT)
    recorder = Recorder()
    bus.listen(recorder)
    for channel in CHANNELS:
        bus.watch(channel)
    before = {channel: bus.publish(channel, b"1", KEEP) for channel in CHANNELS}
    heard = {recorder.next()[0] for _ in CHANNELS}
    assert heard == set(CHANNELS)
    cluster.nodes[0].kill()
    after = {channel: bus.publish(channel, b"2", KEEP) for channel in CHANNELS}
    moved = [channel for channel in CHANNELS if after[channel].epoch != before[channel].epoch]
    assert moved and len(moved) < len(CHANNELS)
    assert {str(p) for p in before.values()}.isdisjoint(str(p) for p in after.values())

    def all_live() -> bool:
        return all(
            bus._subscriber._places[bus._keys.lane(c)].wait(bus._keys.lane(c), Nobody()) for c in CHANNELS
        )

    until(all_live, "lanes at their new places", 20)
    while not recorder.heard.empty():
        recorder.heard.get()
    for channel in CHANNELS:
        bus.publish(channel, b"3", KEEP)
    still = set(CHANNELS)
    while still:
        channel, _, publication = recorder.next()  # also what was published before, late
        if publication.data == b"3":
            still.discard(channel)


class Nobody:
    def wait(self, seconds: float) -> bool:
        return False

    def wake(self) -> None:
        pass


def test_slots_that_move_take_their_channels_with_them(cluster: ClusterOfThree) -> None:
    bus = RedisBus(cluster.url, PATIENT)
    recorder = Recorder()
    bus.listen(recorder)
    channel = "news"
    bus.watch(channel)
    bus.publish(channel, b"1", KEEP)
    recorder.next()
    slot = bus._keys.slots[bus._keys.partition(channel)]
    source = slot * 3 // 16_384
    target = (source + 1) % 3
    clients = [node.client() for node in cluster.nodes[:3]]
    names = [client.execute_command("CLUSTER", "MYID").decode() for client in clients]
    clients[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    stop = threading.Event()
    given: list[int] = []

    def publish() -> None:
        while not stop.is_set():
            given.append(bus.publish(channel, b"2", KEEP).offset)

    thread = threading.Thread(target=publish)
    thread.start()
    until(lambda: len(given) > 20, "publications before the keys move")
    while keys := clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        clients[source].execute_command(
            "MIGRATE", "127.0.0.1", cluster.nodes[target].port, "", 0, 5000, "KEYS", *keys
        )
    for client in (clients[target], clients[source], clients[3 - source - target]):
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
    seen = len(given)
    until(lambda: len(given) > seen + 20, "publications after the slot has moved")
    stop.set()
    thread.join(20)
    assert given == sorted(set(given))
    page = bus.read(channel, None, 10_000)
    assert isinstance(page, Page)
    assert [publication.offset for publication in page.publications][-len(given) :] == given
    until(lambda: len(recorder.suspects) >= 2, "being live at the new place", 20)
    while not recorder.heard.empty():
        recorder.heard.get()
    bus.publish(channel, b"3", KEEP)
    while recorder.next()[2].data != b"3":
        pass
    for client in clients:
        client.close()
