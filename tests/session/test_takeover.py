"""A newer connection of one page closes the older one, whichever worker has it; others do not."""

from __future__ import annotations

from support.cluster import Cluster
from support.house import House, StubClient


def cluster_of_two() -> tuple[Cluster, House, House]:
    cluster = Cluster()
    one, two = cluster.worker(), cluster.worker()
    for house in (one, two):
        house.bus.blocking = True
        house.services.revocations.start()
        house.services.takeovers.start()
    cluster.run(1)
    return cluster, one, two


def come(
    cluster: Cluster, house: House, token: str | None = None, transport: str = "websocket"
) -> StubClient:
    client = house.client(transport, {"USER": "ada"})
    client.token = client.hello(token).get("token", token)
    cluster.run(0.25)
    return client


def test_on_another_worker():
    cluster, one, two = cluster_of_two()
    first = come(cluster, one)
    second = come(cluster, two, first.token)
    assert first.ended is not None and first.ended[0] == 4005 and second.ended is None
    third = come(cluster, one, first.token, "eventstream")
    assert second.ended is not None and second.ended[0] == 4005 and third.ended is None


def test_on_the_same_worker():
    cluster, one, _ = cluster_of_two()
    first = come(cluster, one)
    second = come(cluster, one, first.token)
    assert first.ended is not None and first.ended[0] == 4005 and second.ended is None


def test_polls_and_other_pages_close_nothing():
    cluster, one, two = cluster_of_two()
    first = come(cluster, one)
    come(cluster, two, first.token, "longpoll")
    other = two.client(environ={"USER": "ada"})
    other.hello(first.token, instance="another-page")
    cluster.run(0.25)
    assert first.ended is None and other.ended is None


def test_of_two_at_once_one_stays():
    cluster, one, two = cluster_of_two()
    token = come(cluster, one).token
    first = one.client(environ={"USER": "ada"})
    second = two.client(environ={"USER": "ada"})
    hello = {"type": "hello", "id": 1, "version": 1, "instance": "instance-1", "token": token}
    first.session.receive([hello])
    cluster.loop.time += 0.001
    second.session.receive([hello])
    cluster.run(0.5)
    assert first.ended is not None and first.ended[0] == 4005 and second.ended is None
