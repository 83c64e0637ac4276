"""Publications that leave together: one command, and yet each is published once, in its order, whatever is repeated."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.bus_contract import LIMITS, Recorder
from rtbridge.bus import LATEST, History
from rtbridge.bus.contract import ToPublish
from rtbridge.bus.redis import RedisBus
from rtbridge.bus.redis.answers import notification, position
from rtbridge.bus.redis.pipeline import SHARED, SHARED_BYTES, Call, Shared
from rtbridge.bus.redis.publishing import Outgoing
from rtbridge.protocol.publications import Page, Publication
from support.redis_servers import PlainRedis

KEEP = History(40)


@pytest.fixture(scope="module")
def server() -> Iterator[PlainRedis]:
    with PlainRedis() as server:
        yield server


@pytest.fixture
def bus(server: PlainRedis) -> Iterator[RedisBus]:
    with server.client() as client:
        client.flushall()
    bus = RedisBus(f"redis://127.0.0.1:{server.port}/0", LIMITS)
    bus.position("news")  # the log has its epoch
    yield bus
    bus.close()


def outgoing(bus: RedisBus, *data: bytes) -> list[Outgoing]:
    return [bus._publishing.command("news", each, KEEP, None, None) for each in data]


def send(bus: RedisBus, several: list[Outgoing]) -> list[int]:
    """As one command; the offsets it answered."""

    def command(fence: bytes) -> bytes:
        return several[0].prepared.pack([each.words for each in several], fence)

    answer: list[bytes] = bus._client().ask(several[0].partition, command)
    return [position(each).offset for each in answer]


def kept(bus: RedisBus) -> list[bytes]:
    page = bus.read("news", None, 50)
    assert isinstance(page, Page)
    return [publication.data for publication in page.publications]


def test_a_repeated_command_publishes_nothing_and_tells_the_same(bus: RedisBus) -> None:
    several = outgoing(bus, b"1", b"2", b"3")
    assert send(bus, several) == send(bus, several) == [1, 2, 3]
    assert kept(bus) == [b"1", b"2", b"3"]


def test_one_is_repeated_in_other_company(bus: RedisBus) -> None:
    one, two, three, four = outgoing(bus, b"1", b"2", b"3", b"4")
    assert send(bus, [one, two]) == [1, 2]
    assert send(bus, [three, two, four]) == [3, 2, 4]
    assert send(bus, [one, two]) == [1, 2]  # a copy that was stuck somewhere
    assert kept(bus) == [b"1", b"2", b"3", b"4"]


def test_repeated_before_it_has_left_it_is_published_once(bus: RedisBus) -> None:
    one, two = outgoing(bus, b"1", b"2")
    assert send(bus, [one, two, one]) == [1, 2, 1]
    assert kept(bus) == [b"1", b"2"]


def test_who_comes_late_to_a_place_that_others_have_had_publishes_nothing(bus: RedisBus) -> None:
    (early,) = outgoing(bus, b"early")
    bus._publishing.done(early)  # given up, and then it is found in some buffer
    (late,) = outgoing(bus, b"late")
    assert late.place == early.place
    send(bus, [late])
    send(bus, [early])
    send(bus, [late, early])
    assert kept(bus) == [b"late"]


def test_more_together_than_are_kept(bus: RedisBus) -> None:
    for keep, count in ((History(3), 3), (LATEST, 1)):
        several = [bus._publishing.command("news", b"%d" % n, keep, None, None) for n in range(10)]
        send(bus, several)
        assert kept(bus) == [b"%d" % n for n in range(10 - count, 10)]


def test_many_that_are_asked_for_together_keep_their_order(bus: RedisBus) -> None:
    keys = {3: "a", 4: "b", 9: "a"}
    several = [
        ToPublish(("news", "other")[n % 5 == 0], b"%d" % n, KEEP, None, keys.get(n))
        for n in range(2 * SHARED)
    ]
    positions = bus.publish_many(several)
    assert positions[9] == positions[3]  # the same key
    for channel in ("news", "other"):
        here = [p for n, p in enumerate(positions) if several[n].channel == channel and n != 9]
        assert [p.offset for p in here] == list(range(1, len(here) + 1))
    expected = [each.data for each in several if each.channel == "news"][-20:]
    assert kept(bus)[-20:] == expected


def test_listeners_hear_all_of_them_with_their_causes(bus: RedisBus) -> None:
    recorder = Recorder()
    bus.listen(recorder)
    bus.watch("news")
    data = [b'"a\n\n"', b"", b'"\xc3\xbc"']
    causes = [None, "call ü", None]
    bus.publish_many([ToPublish("news", d, KEEP, c) for d, c in zip(data, causes, strict=True)])
    heard = [recorder.next()[2] for _ in data]
    assert heard == [Publication(n, d, c) for n, (d, c) in enumerate(zip(data, causes, strict=True), 1)]


def test_threads_that_publish_at_once_share_commands(bus: RedisBus, server: PlainRedis) -> None:
    with server.client() as client:
        bus.publish("news", b"0", KEEP)
        client.config_resetstat()
        threads = [
            threading.Thread(target=lambda: [bus.publish("news", b"1", KEEP) for _ in range(50)])
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats: dict[str, Any] = client.info("commandstats")
        assert stats["cmdstat_evalsha"]["calls"] < 16 * 50
    assert bus.position("news").offset == 1 + 16 * 50


def test_one_command_is_bounded(bus: RedisBus) -> None:
    (small,) = outgoing(bus, b"1")
    shared, taken = Shared(Call(small), small), 1
    while shared.takes(Call(small), small):
        taken += 1
    assert taken == SHARED == len(shared.calls)
    (large,) = outgoing(bus, b"x" * SHARED_BYTES)
    shared = Shared(Call(large), large)
    assert not shared.takes(Call(small), small) and len(shared.calls) == 1


def test_what_a_notification_says() -> None:
    assert notification(b"e 7 4 3", b"c\nd1\n\nd2") == (
        "e",
        [Publication(7, b"d1", "c"), Publication(8, b"d2")],
    )
    assert notification(b"e 7 3 3", b"\nd1\n\nd2")[1] == [Publication(7, b"d1"), Publication(8, b"d2")]
    assert notification(b"e 7 1", b"\n")[1] == [Publication(7, b"")]


def test_data_with_line_ends_in_a_notification() -> None:
    assert notification(b"e 7 6 1 3", b"c\nd\n\n1\n\n\n\n\n\n")[1] == [
        Publication(7, b"d\n\n1", "c"),
        Publication(8, b""),
        Publication(9, b"\n\n"),
    ]
