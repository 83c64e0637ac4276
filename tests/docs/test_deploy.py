"""docs/how-to/deploy.md with everything real: a Flask site on gunicorn, the endpoint apart, nginx before both, Redis.

The processes apart run without the site's session or database; what they know comes in tokens.
"""

from __future__ import annotations

import configparser
import http.client
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from rtbridge.client import Client, Item
from support.needs import free_port, needs
from support.redis_servers import PlainRedis
from support.servers import started
from support.snippets import fences

ROOT = Path(__file__).parent.parent.parent
PAGE = list(fences((ROOT / "docs/how-to/deploy.md").read_text(), "deploy.md"))

LOGIN = """

@app.get("/login/<name>")
def login(name):
    session["user"] = name
    return "hello"
"""
FOLLOWER = """
import { connect } from "CLIENT";

const headers = { Cookie: process.env.COOKIE, Origin: process.env.SITE };
const request = (url, init = {}) =>
    fetch(new URL(url, process.env.SITE), { ...init, headers: { ...init.headers, ...headers } });
let tokens = 0;
const rt = connect({
    url: process.env.SITE + "/rt/",
    environment: { fetch: request },
    token: async previous => {
        tokens++;
        const answer = await request("/rt-token", { headers: previous ? { "Rtbridge-Token": previous } : {} });
        if (!answer.ok) throw new Error("no token");
        return answer.text();
    },
});
const say = said => console.log(JSON.stringify(said));
const feed = rt.subscribe("inbox/ada", text => say({ text, clientId: rt.clientId, tokens }));
for (const type of ["gap", "end", "error"]) feed.on(type, about => say({ type, about }));
feed.on("subscribed", () => say({ type: "subscribed" }));
"""


def snippet(language: str) -> str:
    return next(fence.text for fence in PAGE if fence.language == language)


@dataclass
class Deployed:
    site: str
    port: int
    sidecar: int
    cookie: str


@contextmanager
def deployed(folder: Path, redis: PlainRedis, limits: str = "", proxy: str = "nginx") -> Iterator[Deployed]:
    """As on the page, with our ports. `limits` goes into the bridge."""
    site, sidecar, port = free_port(), free_port(), free_port()
    code = (
        snippet("python").replace("redis://localhost:6379/0", redis.url).replace('0")', f'0"{limits})')
        + LOGIN
    )
    (folder / "shop.py").write_text("from rtbridge import Limits\n" + code)
    ports = {"8000": str(site), "8001": str(sidecar), "8080": str(port)}
    conf = snippet(proxy)
    for old, new in ports.items():
        conf = conf.replace(old, new)
    commands = [shlex.split(line[2:]) for line in apart().splitlines()]
    with ExitStack() as stack:
        for name, words, where in zip(("gunicorn", "sidecar"), commands, (site, sidecar), strict=True):
            words = [each.replace("8000", str(site)).replace("8001", str(sidecar)) for each in words[1:]]
            module = "gunicorn" if name == "gunicorn" else "rtbridge"
            stack.enter_context(
                started(name, [sys.executable, "-m", module, *words], folder, cwd=folder, port=where)
            )
        before = nginx(folder, conf) if proxy == "nginx" else haproxy(folder, conf)
        stack.enter_context(started(proxy, before, folder, port=port))
        cookie = request(port, "GET", "/login/ada").getheader("Set-Cookie") or ""
        yield Deployed(f"http://127.0.0.1:{port}", port, sidecar, cookie.split(";")[0])


def apart() -> str:
    return next(
        fence.text for fence in PAGE if fence.language == "console" and "--realtime-only" in fence.text
    )


def nginx(folder: Path, text: str) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temp = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temp}{text}}}\n"
    )
    return [needs("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, text: str) -> list[str]:
    (folder / "haproxy.cfg").write_text(text)
    return [needs("haproxy"), "-q", "-f", str(folder / "haproxy.cfg")]


def request(port: int, method: str, path: str, body: str = "", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(
        method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    answer = connection.getresponse()
    answer.text = answer.read().decode()  # type: ignore[attr-defined]
    return answer


@pytest.fixture(scope="module")
def redis() -> Iterator[PlainRedis]:
    with PlainRedis() as server:
        yield server


@contextmanager
def socket(deployed: Deployed, cookie: str, token: str) -> Iterator[ClientConnection]:
    url = f"ws://127.0.0.1:{deployed.port}/rt/ws"
    with connect(url, origin=deployed.site, additional_headers={"Cookie": cookie}) as opened:  # type: ignore[arg-type]
        opened.send(
            json.dumps({"type": "hello", "id": 1, "version": 1, "instance": "instance-1", "token": token})
        )
        yield opened


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_the_site_says_who_it_is_and_the_endpoint_apart_needs_nothing_else(
    tmp_path: Path, redis: PlainRedis, proxy: str
) -> None:
    with redis.client() as client:
        client.flushall()
    with deployed(tmp_path, redis, proxy=proxy) as site:
        assert request(site.port, "GET", "/rt-token").status == 403
        answer = request(site.port, "GET", "/rt-token", Cookie=site.cookie)
        assert (answer.status, answer.getheader("Cache-Control")) == (200, "no-store")
        token: str = answer.text  # type: ignore[attr-defined]
        assert "export" in request(site.port, "GET", "/rt/client.js").text  # type: ignore[attr-defined]
        assert request(site.sidecar, "GET", "/rt-token").status == 404

        with socket(site, site.cookie, token) as ours:
            assert json.loads(ours.recv(10))["resumed"] is True
            for number, channel in ((2, "inbox/ada"), (3, "inbox/ben")):
                ours.send(json.dumps({"type": "subscribe", "id": number, "channel": channel}))
            told = [json.loads(ours.recv(10)) for _ in range(2)]
            assert [(each["id"], each["type"], each.get("code")) for each in told] == [
                (2, "subscribed", None),
                (3, "error", 104),
            ]
            assert request(site.port, "POST", "/tell/ada", "wow").status == 200
            assert json.loads(ours.recv(10))["publications"] == [{"offset": 1, "data": "wow"}]

        with (
            socket(site, "session=stolen", token) as stolen,
            pytest.raises(ConnectionClosed) as closed,
        ):
            stolen.recv(10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4100


def test_the_browsers_client_fetches_tokens_as_long_as_it_follows(tmp_path: Path, redis: PlainRedis) -> None:
    with redis.client() as client:
        client.flushall()
    client_js = (ROOT / "src/rtbridge/js/client.js").as_uri()
    (tmp_path / "follower.mjs").write_text(FOLLOWER.replace("CLIENT", client_js))
    with (
        deployed(tmp_path, redis, ", limits=Limits(token_ttl=4)") as site,
        (tmp_path / "heard").open("w") as heard,
    ):
        env = {"COOKIE": site.cookie, "SITE": site.site, "PATH": "/usr/bin:/bin"}
        follower = subprocess.Popen([needs("node"), str(tmp_path / "follower.mjs")], env=env, stdout=heard)
        try:
            said = lambda: [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]  # noqa: E731
            until(lambda: any(each.get("type") == "subscribed" for each in said()))
            count = 0
            while not said() or max(each.get("tokens", 0) for each in said()) < 4:
                count += 1
                request(site.port, "POST", "/tell/ada", f"number {count}")
                assert count < 600, said()
                time.sleep(0.1)
            until(lambda: any(each.get("text") == f"number {count}" for each in said()))
        finally:
            follower.kill()
            follower.wait()
        texts = [each["text"] for each in said() if "text" in each]
        assert texts == [f"number {number}" for number in range(1, count + 1)]
        assert len({each["clientId"] for each in said() if "text" in each}) == 1, "its session went on"
        assert {each["type"] for each in said() if "type" in each} == {"subscribed"}


def test_the_python_client_fetches_tokens_as_long_as_it_follows(tmp_path: Path, redis: PlainRedis) -> None:
    with redis.client() as client:
        client.flushall()
    shown: list[str | None] = []

    with deployed(tmp_path, redis, ", limits=Limits(token_ttl=4)") as site:

        def token(previous: str | None) -> str:
            headers = {"Cookie": site.cookie} | ({"Rtbridge-Token": previous} if previous else {})
            answer = request(site.port, "GET", "/rt-token", **headers)
            assert answer.status == 200
            shown.append(previous)
            return answer.text  # type: ignore[attr-defined,no-any-return]

        url = f"http://127.0.0.1:{site.port}/rt/"
        with Client(url, headers={"Cookie": site.cookie}, token=token) as follower:
            feed = follower.subscribe("inbox/ada")
            feed.wait()
            ours = follower.client_id
            texts = []
            while len(shown) < 4:
                request(site.port, "POST", "/tell/ada", f"number {len(texts) + 1}")
                item = feed.get(20)
                assert isinstance(item, Item)
                texts.append(item.data)
            assert follower.client_id == ours, "its session went on"
        assert texts == [f"number {number}" for number in range(1, len(texts) + 1)]
        assert shown[0] is None and None not in shown[1:]


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_service_starts_what_the_command_line_knows() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(snippet("ini"))
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "rtbridge"
    done = subprocess.run(
        [sys.executable, "-m", "rtbridge", *words, "--help"], capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert unit["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
