"""The configurations of docs/how-to/proxies.md do what the page says, with the real nginx and HAProxy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.needs import free_port, needs
from support.snippets import fences

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "proxies.md"

APP = """
from flask import Flask, request
from rtbridge import Bridge, RealtimeMiddleware

app = Flask(__name__)
rt = Bridge()
app.wsgi_app = RealtimeMiddleware(app.wsgi_app, rt)
news = rt.channel("news", str, public=True)
scores = rt.channel("scores", int, keep="latest", public=True, transport="shortpoll", every=60)

@app.post("/tell")
def tell():
    news.publish(request.get_data(as_text=True))
    scores.publish(1)
    return "told"
"""

UPGRADE = (
    "GET /rt/ws HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def snippet(language: str, word: str) -> str:
    """The page's snippet in a language that has a word in it."""
    return next(
        f.text for f in fences(PAGE.read_text(), "proxies.md") if f.language == language and word in f.text
    )


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """A server that listens on `port`, ended at the end."""
    log = folder / f"{Path(command[0]).name}.log"
    env = {name: value for name, value in os.environ.items() if not name.startswith("RTBRIDGE_")}
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=out) as server,
    ):
        try:
            deadline = time.monotonic() + 30
            with socket.socket() as probe:
                while probe.connect_ex(("127.0.0.1", port)):
                    assert server.poll() is None and time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield
        finally:
            server.terminate()


def nginx(folder: Path, text: str) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temp = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    conf = folder / "nginx.conf"
    conf.write_text(
        f"{user}daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temp}{text}}}\n"
    )
    return [needs("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(conf)]


def haproxy(folder: Path, text: str) -> list[str]:
    (folder / "haproxy.cfg").write_text(text)
    return [needs("haproxy"), "-q", "-f", str(folder / "haproxy.cfg")]


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Start the site and a proxy before it; the proxy's port."""
    with ExitStack() as stack:

        def start(make: Callable[[Path, str], list[str]], text: str) -> int:
            site, port = free_port(), free_port()
            text = text.replace("/tmp/", f"{tmp_path}/").replace("8000", str(site)).replace("8080", str(port))
            command = make(tmp_path, text)
            (tmp_path / "app.py").write_text(APP)
            serve = [sys.executable, "-m", "rtbridge", "serve", "app:app", "--bind", f"127.0.0.1:{site}"]
            stack.enter_context(running(serve, site, tmp_path))
            stack.enter_context(running(command, port, tmp_path))
            return port

        yield start


def ask(port: int, path: str, data: bytes | None = None, **headers: str) -> tuple[bytes, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read(), answer.headers["X-Cache"] or ""


@pytest.mark.parametrize("proxy", [nginx, haproxy])
def test_streams_sockets_and_origins_come_through(
    proxy: Callable[..., list[str]], behind: Callable[..., int]
) -> None:
    port = behind(proxy, snippet(proxy.__name__, "8080"))
    page = {"Origin": f"http://127.0.0.1:{port}"}

    assert ask(port, "/rt/channels/news", **page)[0].startswith(b'{"channel":"news"')

    url, wanted = f"http://127.0.0.1:{port}/rt/channels/news", {"Accept": "text/event-stream"}
    stream = urllib.request.Request(url, headers=wanted)
    with urllib.request.urlopen(stream, timeout=20) as events:
        assert events.readline().startswith(b"id: ")
        ask(port, "/tell", b"hello")
        assert any(line == b'data: "hello"\n' for line in events)

    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(UPGRADE.format(host=f"127.0.0.1:{port}").encode())
        assert b" 101 " in sock.makefile("rb").readline()


def test_nginx_caches_a_public_channel(behind: Callable[..., int]) -> None:
    text = snippet("nginx", "proxy_cache")
    port = behind(nginx, text.replace("lock on;", "lock on; add_header X-Cache $upstream_cache_status;"))
    first, missed = ask(port, "/rt/channels/scores")
    second, hit = ask(port, "/rt/channels/scores")
    assert (missed, hit) == ("MISS", "HIT")
    assert first == second
