"""What happens to Redis, and what the bus makes of it: nothing twice, nothing lost in silence, healed by itself."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from contracts.bus_contract import LIMITS, Recorder, offsets
from rtbridge.bus import LATEST, History
from rtbridge.bus.redis import RedisBus
from rtbridge.errors import BusError, BusUnavailable
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page
from support.redis_servers import PlainRedis, RedisServer, until
from support.tcp_proxy import TcpProxy

QUICK = replace(LIMITS, bus_timeout=1.0, page_publications=1000, page_bytes=1_000_000)
PATIENT = replace(QUICK, bus_timeout=30.0)


@pytest.fixture
def server() -> Iterator[PlainRedis]:
    with PlainRedis("appendonly yes", "appendfsync always") as server:
        yield server


def make(server: RedisServer, limits=PATIENT, query: str = "", port: int | None = None) -> RedisBus:
    return RedisBus(f"redis://127.0.0.1:{port or server.port}/0{query}", limits)


def listening(bus: RedisBus) -> Recorder:
    recorder = Recorder()
    bus.listen(recorder)
    return recorder


def kill_clients(server: RedisServer) -> None:
    with server.client() as client:
        for each in client.client_list():
            if each["name"].startswith("rtbridge"):
                client.client_kill_filter(_id=each["id"])


# Epochs.


def test_after_a_restart_with_its_data_the_log_goes_on_in_another_epoch(server: PlainRedis) -> None:
    bus = make(server)
    for number in range(3):
        before = bus.publish("news", b"%d" % number, History())
    server.restart()
    assert isinstance(bus.read("news", before, 10), Gap)
    page = bus.read("news", None, 10)
    assert isinstance(page, Page)
    assert [publication.data for publication in page.publications] == [b"0", b"1", b"2"]
    after = bus.publish("news", b"3", History())
    assert (after.offset, after.epoch != before.epoch) == (4, True)
    assert offsets(bus.read("news", Position(after.epoch, 3), 10)) == [4]


def test_without_the_fence_it_goes_on_as_it_was(server: PlainRedis) -> None:
    bus = make(server, query="?fence=off")
    before = bus.publish("news", b"1", History())
    server.restart()
    after = bus.publish("news", b"2", History())
    assert after == Position(before.epoch, 2)
    assert offsets(bus.read("news", before, 10)) == [2]


@pytest.mark.parametrize("how", ["flush", "restart"])
def test_a_log_that_forgot_never_passes_for_the_old_one(server: PlainRedis, how: str) -> None:
    bus = make(server, query="?fence=off")
    before = [bus.publish("news", b"1", History()) for _ in range(3)]
    if how == "flush":
        with server.client() as client:
            client.flushall()
    else:
        server.restart(forget=True)
    after = [bus.publish("news", b"2", History()) for _ in range(3)]
    assert not {str(p) for p in before} & {str(p) for p in after}
    assert isinstance(bus.read("news", before[0], 10), Gap)


def test_positions_of_many_notice_what_became_of_each_log(server: PlainRedis) -> None:
    """The second time they are only fetched; what was lost, or is of another fence, must not be taken as it is."""
    bus = make(server)
    channels = [f"c{number}" for number in range(10)]
    for channel in channels[:5]:
        bus.publish(channel, b"1", History())
    first = bus.positions(channels)
    bus.publish("c1", b"2", History())
    with server.client() as client:
        client.delete(*client.keys("*log:c2"))
    second = bus.positions(channels)
    assert second[0] == first[0] and second[1] == Position(first[1].epoch, 2)
    assert second[2].offset == 0 and second[2].epoch != first[2].epoch
    server.restart()
    third = bus.positions(channels)
    assert [p.offset for p in third] == [p.offset for p in second]
    assert {p.epoch for p in third}.isdisjoint(p.epoch for p in second)
    assert bus.positions(channels) == third == [bus.position(channel) for channel in channels]


def test_a_latest_value_outlives_the_change_of_epoch(server: PlainRedis) -> None:
    bus = make(server)
    before = bus.publish("price", b"17", LATEST)
    server.restart()
    page = bus.read("price", before, 10)
    assert isinstance(page, Page) and page.publications[0].data == b"17"
    assert page.position.epoch != before.epoch


def test_a_history_somebody_meddled_with_is_a_gap(server: PlainRedis) -> None:
    bus = make(server)
    start = bus.position("news")
    for _ in range(5):
        bus.publish("news", b"1", History())
    with server.client() as client:
        (history,) = client.keys("*history:news")
        entry = client.lindex(history, 2)
        client.lrem(history, 1, entry)
        client.rpush(history, b"9 \n9")
    assert isinstance(bus.read("news", start, 10), Gap)


# Nothing twice.


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("how", ["killed clients", "lost replies"])
def test_what_is_published_while_connections_break_is_there_once(
    server: PlainRedis, keyed: bool, how: str
) -> None:
    """Each publication is confirmed, and each is in the history once, in the order of each publisher."""
    with TcpProxy(server.port) as proxy:
        bus = make(server, port=proxy.port)
        count, keep = 150, History(10_000)
        given: dict[bytes, int] = {}

        def publish(who: int) -> None:
            for number in range(count):
                data = b"[%d,%d]" % (who, number)
                key = f"{who}-{number}" if keyed else None
                given[data] = bus.publish("news", data, keep, key=key).offset

        threads = [threading.Thread(target=publish, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if how == "killed clients":
                kill_clients(server)
            else:
                proxy.lose_replies = True
                time.sleep(0.01)
                proxy.drop_all()
                proxy.lose_replies = False
            time.sleep(0.03)
        reader = make(server, replace(PATIENT, page_publications=100_000))
        page = reader.read("news", None, 100_000)
        assert isinstance(page, Page)
        everything = [publication.data for publication in page.publications]
    assert Counter(everything) == Counter(list(given))
    assert {p.data: p.offset for p in page.publications} == given


def test_a_stall_makes_one_message_of_one_publish(server: PlainRedis) -> None:
    bus = make(server, replace(QUICK, bus_timeout=0.5))
    bus.publish("news", b"0", History())
    server.stop()
    with pytest.raises(BusUnavailable):
        bus.publish("news", b"1", History(), key="k")
    server.go_on()
    until(lambda: _published(bus, b"1", "k"), "a publish after the stall")
    assert offsets(bus.read("news", None, 10)) == [1, 2]


def _published(bus: RedisBus, data: bytes, key: str | None = None) -> bool:
    try:
        bus.publish("news", data, History(), key=key)
    except BusUnavailable:
        return False
    return True


# Away and back.


def test_while_redis_is_away_publishes_fail_in_time_and_then_at_once(server: PlainRedis) -> None:
    bus = make(server, QUICK)
    bus.publish("news", b"1", History())
    server.kill()
    begin = time.monotonic()
    with pytest.raises(BusUnavailable, match="connect to Redis"):
        bus.publish("news", b"2", History())
    assert time.monotonic() - begin < QUICK.bus_timeout + 0.5
    begin = time.monotonic()
    for _ in range(200):
        with pytest.raises(BusUnavailable):
            bus.publish("news", b"2", History())
    assert time.monotonic() - begin < 1.0
    server.start()
    until(lambda: _published(bus, b"3"), "a publish when Redis is back", 3.0)


def test_nobody_waits_for_a_redis_that_answers_nothing(server: PlainRedis) -> None:
    bus = make(server, QUICK)
    server.stop()
    failures: list[float] = []

    def publish() -> None:
        begin = time.monotonic()
        with pytest.raises(BusUnavailable):
            bus.publish("news", b"1", History())
        failures.append(time.monotonic() - begin)

    threads = [threading.Thread(target=publish) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(failures) == 20
    assert max(failures) < QUICK.bus_timeout + 1.0
    server.go_on()
    until(lambda: _published(bus, b"2"), "a publish when Redis goes on", 3.0)


def test_a_watcher_hears_on_after_a_restart_and_is_told_to_look(server: PlainRedis) -> None:
    bus = make(server)
    recorder = listening(bus)
    bus.watch("news")
    bus.publish("news", b"1", History())
    assert recorder.next()[2].data == b"1"
    until(lambda: recorder.suspects == [None], "the first time it is live")
    server.restart()
    until(lambda: len(recorder.suspects) == 2, "being live again")
    bus.publish("news", b"2", History())
    assert recorder.next()[2].data == b"2"


def test_thousands_of_channels_are_live_soon_after_redis_is_back(server: PlainRedis) -> None:
    bus = make(server)
    recorder = listening(bus)
    channels = [f"c{number}" for number in range(5_000)]
    todo = iter(channels)
    workers = [threading.Thread(target=lambda: [bus.watch(channel) for channel in todo]) for _ in range(1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    server.kill()
    until(lambda: not bus._subscriber._ears[None]._link, "the end of the connection")
    before = len(recorder.suspects)
    server.start()
    back = time.monotonic()
    until(lambda: len(recorder.suspects) > before, "being live again")
    took = time.monotonic() - back
    print(f"5,000 channels live again after {took:.2f} s")
    for channel in (channels[0], channels[-1]):
        bus.publish(channel, b"1", History())
        assert recorder.next()[0] == channel
    assert took < 1.0


@pytest.mark.parametrize("how", ["CLIENT KILL", "output buffer"])
def test_a_subscriber_that_redis_threw_out_is_told_to_look(server: PlainRedis, how: str) -> None:
    bus = make(server)
    recorder = listening(bus)
    bus.watch("news")
    until(lambda: recorder.suspects, "being live")
    with server.client() as client:
        if how == "CLIENT KILL":
            client.client_kill_filter(_type="pubsub")
        else:
            client.config_set("client-output-buffer-limit", "pubsub 1k 1k 1")
            bus.publish("news", b'"' + b"x" * 200_000 + b'"', History())
            client.config_set("client-output-buffer-limit", "pubsub 0 0 0")
    until(lambda: len(recorder.suspects) >= 2, "being live again")
    while bus.publish("news", b"1", History()) and recorder.next()[2].data != b"1":
        pass


def test_a_deaf_link_is_noticed(server: PlainRedis) -> None:
    with TcpProxy(server.port) as proxy:
        bus = make(server, port=proxy.port)
        recorder = listening(bus)
        bus.watch("news")
        until(lambda: recorder.suspects, "being live")
        ear = bus._subscriber._ears[None]
        link = ear._link
        proxy.deaf = True
        begin = time.monotonic()
        until(lambda: ear._link is not link, "hanging up")
        took = time.monotonic() - begin
        proxy.deaf = False
        print(f"noticed after {took:.1f} s")
        assert took < 10.0
        until(lambda: len(recorder.suspects) >= 2, "being live again")
        bus.publish("news", b"1", History())
        assert recorder.next()[2].data == b"1"


def test_watching_fails_at_once_while_redis_is_known_to_be_away(server: PlainRedis) -> None:
    bus = make(server, QUICK)
    listening(bus)
    bus.watch("here")
    server.kill()
    with pytest.raises(BusUnavailable):
        bus.publish("news", b"1", History())
    begin = time.monotonic()
    for number in range(20):
        with pytest.raises(BusUnavailable):
            bus.watch(f"c{number}")
    assert time.monotonic() - begin < 2.0
    server.start()
    until(lambda: _watched(bus, "c0"), "watching when Redis is back", 3.0)


def _watched(bus: RedisBus, channel: str) -> bool:
    try:
        bus.watch(channel)
    except BusUnavailable:
        return False
    return True


def test_scripts_that_redis_forgot_are_loaded_again(server: PlainRedis) -> None:
    bus = make(server)
    bus.publish("news", b"1", History())
    with server.client() as client:
        client.script_flush()
    bus.publish("news", b"2", History())
    assert offsets(bus.read("news", None, 10)) == [1, 2]


def test_a_full_redis_refuses_and_says_so(server: PlainRedis) -> None:
    bus = make(server)
    bus.publish("news", b"1", History())
    with server.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(BusError, match="OOM") as raised:
            bus.publish("news", b"2", History())
        assert not isinstance(raised.value, BusUnavailable)
        client.config_set("maxmemory", 0)
    assert bus.publish("news", b"3", History()).offset == 2


def test_a_connection_that_redis_closed_while_it_was_idle_costs_nobody_an_error(server: PlainRedis) -> None:
    """Also what must not be repeated: nothing had been sent."""
    bus = make(server, QUICK)
    assert bus.add("k0", b"1", 60.0) is None
    for number in range(1, 4):
        kill_clients(server)
        time.sleep(1.1)  # the time after which a connection counts as idle
        assert bus.add(f"k{number}", b"1", 60.0) is None


def test_one_whose_time_is_over_does_not_end_the_others_wait(server: PlainRedis) -> None:
    bus = make(server, replace(QUICK, bus_timeout=8.0))
    bus.publish("news", b"0", History())
    client = bus._client()
    with server.client() as admin:
        admin.client_pause(1500)
    short: list[BaseException] = []

    def hurry() -> None:
        pipeline = next(iter(client._pipelines.values()))
        try:
            pipeline.ask([b"*1\r\n$4\r\nPING\r\n"], time.monotonic() + 0.2)
        except BusUnavailable as error:
            short.append(error)

    hurried = threading.Thread(target=hurry)
    hurried.start()
    time.sleep(0.05)
    before = bus.publish("news", b"1", History())  # waits while the other one leads
    hurried.join()
    assert short and before.offset == 2
    assert not next(iter(client._pipelines.values())).broken


def test_records_and_leases_tell_the_truth_when_the_reply_was_lost(server: PlainRedis) -> None:
    """Each is done, its reply is lost, and it is asked again: the answer must be that of the first time."""
    with TcpProxy(server.port) as proxy:
        bus = make(server, port=proxy.port)
        bus.put("there", b"0", 60.0)

        def lose_one(question: Callable[[], object]) -> object:
            proxy.lose_replies = True
            answers: list[object] = []
            asking = threading.Thread(target=lambda: answers.append(question()))
            asking.start()
            time.sleep(0.1)
            proxy.lose_replies = False
            proxy.drop_all()
            asking.join(20)
            return answers[0]

        assert lose_one(lambda: bus.add("k", b"1", 60.0)) is None
        assert lose_one(lambda: bus.add("k", b"2", 60.0)) == b"1"
        assert lose_one(lambda: bus.replace("there", b"0", b"1", 60.0)) is True
        assert lose_one(lambda: bus.hold("room", "ada", 60.0)) is True
        assert lose_one(lambda: bus.hold("room", "ada", 60.0)) is False
        assert lose_one(lambda: bus.release("room", "ada")) is True
        assert lose_one(lambda: bus.release("room", "ada")) is False
