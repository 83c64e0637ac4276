"""Who may connect, and how: the URL's forms and options, an ACL user, a Unix socket, TLS."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.bus_contract import LIMITS, Recorder
from rtbridge import Bridge
from rtbridge.bus import History
from rtbridge.bus.redis import RedisBus
from rtbridge.bus.redis.address import Address, read_address, read_url
from rtbridge.bus.redis.keys import SLOTS, Keys
from rtbridge.errors import BusError, BusUnavailable, ConfigError
from support.needs import free_port, needs
from support.redis_servers import ClusterOfThree, PlainRedis, RedisServer, until

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "redis.md"


# URLs.


@pytest.mark.parametrize(
    ("url", "kind", "addresses", "rest"),
    [
        ("redis://", "plain", [("localhost", 6379)], {}),
        ("redis://h/2", "plain", [("h", 6379)], {"db": 2}),
        ("redis://:p%40ss@h:1/", "plain", [("h", 1)], {"password": "p@ss", "username": None}),
        ("redis://u:p@[::1]:1?db=3", "plain", [("::1", 1)], {"username": "u", "password": "p", "db": 3}),
        ("redis://h?prefix=shop:&fence=off", "plain", [("h", 6379)], {"prefix": "shop:", "fence": False}),
        (
            "redis://h?durability=replica&partitions=8",
            "plain",
            [("h", 6379)],
            {"durable": True, "partitions": 8},
        ),
        ("redis+sentinel://a,b:2/main/1", "sentinel", [("a", 26379), ("b", 2)], {"service": "main", "db": 1}),
        ("redis+sentinel://a/m?sentinel_password=s", "sentinel", [("a", 26379)], {"sentinel_password": "s"}),
        ("redis+cluster://u:p@a:1,b:2", "cluster", [("a", 1), ("b", 2)], {"username": "u", "password": "p"}),
    ],
)
def test_urls(url: str, kind: str, addresses: list[tuple[str, int]], rest: dict[str, object]) -> None:
    settings = read_url(url)
    assert (settings.kind, settings.tls) == (kind, None)
    assert settings.addresses == tuple(Address(host, port) for host, port in addresses)
    assert {name: getattr(settings, name) for name in rest} == rest


def test_unix_sockets() -> None:
    settings = read_url("unix://u:p@/run/redis.sock?db=1")
    assert settings.addresses == (Address(path="/run/redis.sock"),)
    assert (settings.username, settings.password, settings.db) == ("u", "p", 1)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h", "no bus for http"),
        ("redis+other://h", "no bus"),
        ("unix+cluster:///x", "no bus"),
        ("redis://a,b", "names one server"),
        ("redis://h/x", "database"),
        ("redis://h/1/2", "database"),
        ("redis://h:x", "host:port"),
        ("redis+sentinel://h", "name of the service"),
        ("redis+cluster://h/1", "database 0"),
        ("redis://h?prefx=a", "prefx"),
        ("redis://h?fence=maybe", "fence=maybe"),
        ("redis://h?partitions=0", "partitions=0"),
        ("redis://h?prefix={x}", "prefix"),
    ],
)
def test_mistakes_in_urls(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        read_url(url)


def test_a_password_is_shown_nowhere() -> None:
    rt = Bridge("redis://user:hush@localhost:1/0?password=hush2", secret="s")
    assert rt.url == "redis://localhost:1/0"
    with pytest.raises(ConfigError) as raised:
        read_url("redis://user:hush@localhost:1/x")
    assert "hush" not in str(raised.value)


def test_with_redis_and_no_secret_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RTBRIDGE_SECRET", raising=False)
    with pytest.raises(ConfigError, match="secret"):
        Bridge("redis://localhost:1").services()


def test_addresses_that_nodes_name() -> None:
    asked = Address("here", 1)
    assert read_address("10.0.0.1:7000", asked) == Address("10.0.0.1", 7000)
    assert read_address("::1:7000", asked) == Address("::1", 7000)
    assert read_address(":7000", asked) == Address("here", 7000)


# Keys.


def test_all_keys_of_a_channel_are_in_one_slot() -> None:
    from redis.crc import key_slot

    keys = Keys("p:", 64)
    for name in ("news", "groups/7/photos", "~me/ü"):
        slot = keys.slots[keys.partition(name)]
        several = [
            keys.log(name),
            keys.history(name),
            keys.idempotency(name, "k"),
            keys.lane(name),
            keys.record(name),
        ]
        several += [
            keys.receipts(name, "me"),
            keys.receipt(name, "me") + b"1",
            *keys.leases(name),
            keys.probe(keys.partition(name), "me"),
        ]
        assert {key_slot(key) for key in several} == {slot}
        assert all(key.startswith(b"p:") for key in several) and len(set(several)) == len(several)
    assert len(set(keys.slots)) == 64 and max(keys.slots) < SLOTS


# An ACL user with exactly what the page says.


def acl_line() -> str:
    (line,) = re.findall(r"^    (user rtbridge on .*)$", PAGE.read_text(), re.MULTILINE)
    return str(line)


def everything(bus: RedisBus) -> None:
    """Each method once, and each command that it may need."""
    recorder = Recorder()
    bus.listen(recorder)
    bus.watch("news")
    bus.watch("other/ü")
    for size in (5, 2):
        for number in range(7):
            bus.publish("news", b"%d" % number, History(size), key=f"{size}-{number}")
    bus.publish("other/ü", b"1", History())
    assert {recorder.next()[0] for _ in range(15)} == {"news", "other/ü"}
    position = bus.position("news")
    bus.read("news", position, 10)
    bus.read("news", None, 10)
    bus.positions(["news", "other"])
    bus.positions(["news", "other"])
    bus.unwatch("news")
    bus.add("k", b"1", 10.0)
    bus.put("k", b"2", 10.0)
    assert bus.replace("k", b"2", b"3", 10.0) and bus.get("k") == b"3"
    bus.delete("k")
    bus.hold("room", "ada", 0.001)
    bus.hold("room", "bob", 10.0)
    until(lambda: set(bus.held("room")) == {"bob"}, "a lapse")
    assert set(bus.lapsed("room", 10.0, 5)) == {"ada"}
    assert bus.release("room", "ada", only_lapsed=True) and bus.release("room", "bob")


@pytest.fixture(scope="module", params=["plain", "cluster"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Gives the URL for a user and password, on a server that has the page's user."""
    options = (acl_line(), "user admin on >admin ~* &* +@all", "user default on nopass ~* &* +@all")
    if request.param == "plain":
        with PlainRedis(*options) as server:
            yield lambda who: f"redis://{who}@127.0.0.1:{server.port}/0"
    else:
        with ClusterOfThree(*options) as cluster:
            yield lambda who: cluster.url.replace("://", f"://{who}@")


def test_a_user_who_may_do_only_what_the_page_says(guarded: Callable[[str], str]) -> None:
    bus = RedisBus(guarded("rtbridge:a-long-password"), LIMITS)
    everything(bus)
    bus.close()


def test_a_user_of_another_prefix_may_not(guarded: Callable[[str], str]) -> None:
    bus = RedisBus(guarded("rtbridge:a-long-password") + "?prefix=shop:", LIMITS)
    with pytest.raises(BusError, match="NOPERM") as raised:
        bus.publish("news", b"1", History())
    assert not isinstance(raised.value, BusUnavailable)


def test_a_wrong_password_is_said_at_once(guarded: Callable[[str], str]) -> None:
    bus = RedisBus(guarded("rtbridge:wrong"), LIMITS)
    with pytest.raises(BusError) as raised:
        bus.publish("news", b"1", History())
    assert "wrong" not in str(raised.value).split("WRONGPASS")[0]


# Other ways to a server.


def test_a_unix_socket() -> None:
    with RedisServer() as server:
        path = server.folder / "redis.sock"
        server._options = (f"unixsocket {path}", "unixsocketperm 700")
        server._write_config()
        server.restart()
        everything(RedisBus(f"unix://{path}", LIMITS))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            needs("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
        cwd=folder, check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("world", ["threads", "greenlets"])
def test_tls(certificates: Path, world: str) -> None:
    port = free_port()
    options = (
        f"tls-port {port}", f"tls-cert-file {certificates}/cert.pem", f"tls-key-file {certificates}/key.pem",
        f"tls-ca-cert-file {certificates}/cert.pem", "tls-auth-clients no",
    )  # fmt: skip
    with RedisServer(*options):
        bus = RedisBus(f"rediss://localhost:{port}/0?ssl_ca_certs={certificates}/cert.pem", LIMITS)
        if world == "threads":
            everything(bus)
        else:
            import gevent

            data = b'"' + b"x" * 200_000 + b'"'
            assert gevent.spawn(bus.publish, "news", data, History()).get(timeout=20).offset == 1
            page = gevent.spawn(bus.read, "news", None, 5).get(timeout=20)
            assert page.publications[0].data == data
        bus.close()
        suspicious = RedisBus(f"rediss://localhost:{port}/0", LIMITS)
        with pytest.raises(BusUnavailable, match="certificate"):
            suspicious.publish("news", b"1", History())
