"""The bridge: secrets, declarations by decorator, publishing, who serves, session hooks."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask
import pytest

from rtbridge import Bridge, Context, DataError, History, Limits, RealtimeMiddleware
from rtbridge.errors import ConfigError, DeclarationError
from rtbridge.protocol.publications import Page
from support.house import House
from support.inprocess import HELLO, Client, close, settle, subscribe

Make = Callable[..., Bridge]


@pytest.fixture(autouse=True)
def no_secret_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RTBRIDGE_SECRET", raising=False)
    monkeypatch.delenv("RTBRIDGE_URL", raising=False)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Bridge] = []

    def make(**options: Any) -> Bridge:
        made.append(Bridge(**{"lock_file": tmp_path / "lock", **options}))
        return made[-1]

    yield make
    for bridge in made:
        close(bridge)


def plain_site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []


def client_of(bridge: Bridge, app: Any = plain_site) -> Client:
    return Client(RealtimeMiddleware(app, bridge))


def read(bridge: Bridge, channel: str) -> list[Any]:
    page = bridge._bus.read(channel, None, 100)
    assert isinstance(page, Page)
    return [json.loads(publication.data) for publication in page.publications]


# ---- secrets


def token_of(client: Client) -> str:
    token: str = client.poll(HELLO)["messages"][0]["token"]
    return token


def accepts(client: Client, token: str) -> bool:
    resumed: bool = client.poll({**HELLO, "token": token})["messages"][0]["resumed"]
    return resumed


def test_which_secret_signs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, else the environment, else the site's own, else one that is made."""
    site = flask.Flask(__name__)
    site.config["SECRET_KEY"] = "of the site"
    by_argument, by_environment, by_site = (
        token_of(client_of(make(secret=secret), site))
        for secret in ("argument", "environment", "of the site")
    )
    with_site = client_of(make(), site)
    assert accepts(with_site, by_site) and not accepts(with_site, by_environment)
    monkeypatch.setenv("RTBRIDGE_SECRET", "environment")
    with_environment = client_of(make(), site)
    assert accepts(with_environment, by_environment) and not accepts(with_environment, by_site)
    with_argument = client_of(make(secret="argument"), site)
    assert accepts(with_argument, by_argument) and not accepts(with_argument, by_environment)


def test_without_any_secret_one_is_made(make: Make) -> None:
    one, other = client_of(make()), client_of(make())
    token = token_of(one)
    assert accepts(one, token) and not accepts(other, token)


def test_rotation(make: Make) -> None:
    old = token_of(client_of(make(secret="old")))
    rotated = client_of(make(secret=["new", "old"]))
    assert accepts(rotated, old)
    new = token_of(rotated)
    assert accepts(client_of(make(secret="new")), new)
    assert not accepts(client_of(make(secret="old")), new)


def test_rotation_by_the_site(make: Make) -> None:
    site = flask.Flask(__name__)
    site.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"])
    assert accepts(client_of(make(), site), token_of(client_of(make(secret="old"), site)))


# ---- arguments


@pytest.mark.parametrize("url", ["redis+nonsense://x", "memory", "http://x", "memory://x"])
def test_an_unknown_bus_is_a_config_error(make: Make, url: str) -> None:
    with pytest.raises(ConfigError, match="no bus for"):
        make(url=url)


def test_the_bus_by_the_environment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTBRIDGE_URL", "nonsense://x")
    with pytest.raises(ConfigError):
        make()
    make(url="memory://")


@pytest.mark.parametrize("transports", [[], ["websockets"], ["shortpoll", "smoke signals"]])
def test_unknown_transports_are_a_config_error(make: Make, transports: list[str]) -> None:
    with pytest.raises(ConfigError, match="transports"):
        make(transports=transports)


def test_what_is_not_offered_is_refused(make: Make) -> None:
    bridge = make(transports=["longpoll"])
    bridge.channel("news", public=True)
    client = client_of(bridge)
    assert client.poll(HELLO)["messages"][0]["offers"] == ["longpoll", "shortpoll"]
    assert client.get("/rt/channels/news", Accept="text/event-stream").status == 501
    assert client.post("/rt/poll", {"commands": [HELLO]}, Accept="text/event-stream").status == 501
    assert client.get("/rt/ws").status == 501


def test_authenticate_by_decorator_and_by_argument(make: Make) -> None:
    def who(environ: Mapping[str, Any]) -> object:
        return environ.get("HTTP_AUTHORIZATION")

    decorated = make()
    assert decorated.authenticate(who) is who
    for bridge in (decorated, make(authenticate=who)):
        seen: list[object] = []

        @bridge.call("me")
        def me(ctx: Context, seen: list[object] = seen) -> object:
            return ctx.user

        command = {"type": "call", "id": 2, "call_id": "call-id-1", "name": "me"}
        answer = client_of(bridge).poll(HELLO, command, Authorization="ann")
        assert answer["messages"][1]["data"] == "ann"


def test_limits_are_the_bridges_own(make: Make) -> None:
    bridge = make(limits=Limits(max_body=100, poll_interval=2.5, ping_interval=11.0))
    client = client_of(bridge)
    hello = client.poll(HELLO)["messages"][0]
    assert (hello["interval"], hello["ping"]) == (2.5, 11.0)
    assert client.post("/rt/poll", {"commands": [HELLO], "x": "x" * 100}).status == 413


# ---- publishing


@dataclass
class Photo:
    id: int
    title: str = ""


def test_publishing_by_name_and_by_channel(make: Make) -> None:
    bridge = make()
    photos = bridge.channel("groups/{group_id:int}/photos", Photo)
    one = photos(group_id=7)
    first = one.publish(Photo(1))
    second = bridge.publish("groups/7/photos", Photo(2, "sunset"))
    assert (first.channel, second.channel) == (one.name, one.name)
    assert first.position is not None and first.position.offset == 1
    assert second.position == one.position() == bridge.position("groups/7/photos")
    assert read(bridge, one.name) == [{"id": 1, "title": ""}, {"id": 2, "title": "sunset"}]


def test_what_cannot_be_published(make: Make) -> None:
    bridge = make(limits=Limits(max_publication=20))
    numbers = bridge.channel("numbers", int)
    anything = bridge.channel("anything")
    with pytest.raises(DeclarationError, match="no channel is declared"):
        bridge.publish("undeclared", 1)
    with pytest.raises(DataError, match="numbers"):
        numbers.publish("x")
    with pytest.raises(DataError, match="max_publication = 20"):
        anything.publish("x" * 19)
    with pytest.raises(ValueError, match="group_id"):
        bridge.channel("groups/{group_id:int}")(group="x")
    anything.publish("x" * 18)
    assert read(bridge, "numbers") == []


def test_a_key_publishes_once(make: Make) -> None:
    bridge = make()
    news, other = bridge.channel("news"), bridge.channel("other")
    first = news.publish("one", key="k")
    again = news.publish("two", key="k")
    assert (again.position, read(bridge, "news")) == (first.position, ["one"])
    assert bridge.publish("news", "three", key="k").position == first.position
    assert other.publish("elsewhere", key="k").position != first.position


def test_what_a_call_publishes_names_it(make: Make) -> None:
    bridge = make()
    news = bridge.channel("news", public=True)

    @bridge.call("say")
    def say(ctx: Context, text: str) -> str:
        news.publish("first " + text)
        return str(news.publish("then " + text).position)

    client = client_of(bridge)
    command = {"type": "call", "id": 2, "call_id": "call-id-1", "name": "say", "params": {"text": "hi"}}
    result = client.poll(HELLO, command)["messages"][1]
    assert result["positions"] == {"news": result["data"]} == {"news": str(news.position())}
    news.publish("by nobody")
    settle(bridge)
    found = client.get("/rt/channels/news").json()["publications"]
    assert [each.get("cause") for each in found] == ["call-id-1", "call-id-1", None]
    assert client.poll(HELLO, subscribe("news", recent=3, id=2))["messages"][1]["publications"] == found


DJANGO = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from django.db import connection, transaction
from rtbridge import Bridge
rt = Bridge()
news = rt.channel("news")
outside = news.publish(0)
assert outside.position.offset == 1
with transaction.atomic():
    connection.cursor().execute("select 1")
    inside = news.publish(1)
    assert inside.position is None and "commit" in repr(inside)
    with transaction.atomic():
        nested = news.publish(2)
    assert nested.position is None and news.position() == outside.position
assert (inside.position.offset, nested.position.offset) == (2, 3)
try:
    with transaction.atomic():
        lost = news.publish(3)
        raise RuntimeError
except RuntimeError:
    pass
assert lost.position is None
with transaction.atomic():
    try:
        with transaction.atomic():
            inner = news.publish(4)
            raise RuntimeError
    except RuntimeError:
        pass
    outer = news.publish(5)
assert inner.position is None and outer.position.offset == 4
print("ok")
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_inside_a_transaction_it_leaves_with_the_commit() -> None:
    assert run(DJANGO) == "ok\n"


# ---- who serves memory://

OTHER = """
import json, logging, sys
logging.basicConfig(level=logging.ERROR, stream=sys.stdout, format="%(message)s")
sys.path.insert(0, sys.argv[2])
from rtbridge import Bridge, RealtimeMiddleware
from support.inprocess import Client
rt = Bridge(lock_file=sys.argv[1])
news = rt.channel("news", public=True)
"""
TESTS = str(Path(__file__).parent.parent)


def test_a_second_process_may_not_serve(make: Make, tmp_path: Path) -> None:
    bridge = make()
    bridge.channel("news", public=True)
    client = client_of(bridge)
    assert client.get("/rt/channels/news").status == 200
    code = OTHER + textwrap.dedent("""
        def page(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"page"]
        client = Client(RealtimeMiddleware(page, rt))
        answer = client.get("/rt/channels/news")
        file = client.get("/rt/client.js")
        print(json.dumps([answer.status, answer.headers, answer.json(), file.status, client.get("/").body.decode()]))
    """)
    *log, answer = run(code, str(tmp_path / "lock"), TESTS).splitlines()
    assert "".join(log).count("clients are refused here") == 1
    status, headers, body, file, page = json.loads(answer)
    assert (status, file, page) == (503, 200, "page")
    assert headers["retry-after"] == "1"
    assert body["error"]["code"] == 200
    assert str(os.getpid()) in body["error"]["message"] and "one process" in body["error"]["message"]
    assert client.get("/rt/channels/news").status == 200


def test_publishing_beside_the_process_that_serves_is_said_once(make: Make, tmp_path: Path) -> None:
    code = OTHER + "for number in range(3):\n    news.publish(number)\n"
    assert run(code, str(tmp_path / "lock"), TESTS) == ""  # nobody serves
    client_of(make()).poll(HELLO)
    log = run(code, str(tmp_path / "lock"), TESTS)
    assert log.count("they will not see it") == 1
    assert f"process {os.getpid()}" in log


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork_of_the_process_that_serves_it_is_said_too(tmp_path: Path) -> None:
    code = OTHER + textwrap.dedent("""
        import os
        client = Client(RealtimeMiddleware(lambda environ, start_response: [], rt))
        assert client.get("/rt/channels/news").status == 200
        news.publish("by the parent")
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            news.publish("by the child")
            answer = client.get("/rt/channels/news")
            print(answer.status, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        assert client.get("/rt/channels/news").status == 200
    """)
    log = run(code, str(tmp_path / "lock"), TESTS)
    assert log.count("they will not see it") == 1
    assert log.splitlines()[-1] == "503"


def test_who_serves_stands_in_the_lock_file(make: Make, tmp_path: Path) -> None:
    client_of(make(lock_file=tmp_path / "serving")).poll(HELLO)
    assert (tmp_path / "serving").read_text() == f"{os.getpid()}\n"


def test_publishing_before_serving_warns_of_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    bridge = make()
    news = bridge.channel("news", public=True, keep=History(10))
    news.publish(1)
    client = client_of(bridge)
    assert client.get("/rt/channels/news").json()["publications"] == [{"offset": 1, "data": 1}]
    news.publish(2)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# ---- what is said about mistakes


def test_a_call_needs_a_name() -> None:
    with pytest.raises(DeclarationError, match="needs a name"):
        Bridge().call(lambda ctx: None)  # type: ignore[arg-type]


def test_an_undeclared_channel_has_no_position() -> None:
    with pytest.raises(DeclarationError, match="no channel is declared for 'nope'"):
        Bridge().position("nope")


def test_arguments_are_checked_where_they_are_given() -> None:
    with pytest.raises(ConfigError, match="limits must be Limits"):
        Bridge(limits={"poll_wait": 5})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"limits\.poll_wait must be a number of at least 0"):
        Limits(poll_wait=-1)
    for empty in ("", [], ["a", ""]):
        with pytest.raises(ConfigError, match="secret is empty"):
            Bridge(secret=empty)
    with pytest.raises(ConfigError, match="RealtimeMiddleware\\(app, bridge\\)"):
        RealtimeMiddleware(Bridge(), lambda environ, start_response: [])  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="every belongs to"):
        Bridge().channel("news", every=5)


def test_draining_answers_what_is_parked_and_sends_sockets_and_streams_away() -> None:
    house = House()
    bridge = Bridge()
    bridge._services, bridge._services_pid = house.services, os.getpid()
    stream = house.client("eventstream")
    stream.hello()
    hurried: list[bool] = []

    class Parked:
        def hurry(self) -> None:
            hurried.append(True)

    house.services.parked.add(Parked())
    bridge.drain()
    house.loop.run()
    assert stream.ended is not None and stream.ended[0] == 4000
    assert hurried == [True]


def test_many_are_published_together_or_not_at_all() -> None:
    rt = Bridge()
    numbers = rt.channel("numbers", int, public=True)
    published = numbers.publish_many([1, 2, 3])
    assert [p.position.offset for p in published] == [1, 2, 3]
    with pytest.raises(DataError):
        numbers.publish_many([4, "five"])
    with pytest.raises(DataError, match="2 values"):
        numbers.publish_many([4, 5], keys=["k4"])
    assert numbers.position().offset == 3
    again = [numbers.publish_many([4, 5], keys=["k4", "k5"]) for _ in range(2)]
    assert [[p.position.offset for p in several] for several in again] == [[4, 5]] * 2
