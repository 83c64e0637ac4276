"""The houses that are attacked: a server with a victim inside, who follows a private channel all the while."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hostile.raw import Raw, Reply, WebSocket
from support.servers import Server, command
from support.wire import Stream, hello, request, subscribe, whole_poll

FOLDER = Path(__file__).resolve().parent
SITE_SECRET = "what only the site knows"
SECRET = "only-the-victim-may-see-this"
VICTIM = {"Authorization": "Bearer victim"}

_APPLICATION = "site_under_attack:application"
_GUNICORN = (
    "-m",
    "gunicorn",
    "site_under_attack:application",
    "--bind",
    "127.0.0.1:{port}",
    "--graceful-timeout",
    "2",
)
STARTERS = {
    "rtbridge serve": command("-m", "rtbridge", "serve", _APPLICATION, "--bind", "127.0.0.1:{port}"),
    "gunicorn gthread": command(*_GUNICORN, "-k", "gthread", "--threads", "8"),
    "gunicorn gevent": command(*_GUNICORN, "-k", "gevent"),
    "waitress": command("-m", "waitress", "--listen", "127.0.0.1:{port}", "--threads", "8", _APPLICATION),
}
WITH_SOCKETS = ("rtbridge serve", "gunicorn gthread", "gunicorn gevent")


class House:
    """A server under attack, and the victim who lives there."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = server.port
        self.name = server.name
        self.spoils = bytearray()
        self._secrets = 0
        self.victim: Any = None
        # Pools start their threads when they are needed, and the places for sockets are a share of those there are.
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: request(self.port, "GET", "/slow"), range(8)))
        self.let_victim_in()
        self.pid = self.worker()

    # -- for attackers

    def raw(self, data: bytes = b"", **options: Any) -> Raw:
        raw = Raw(self.port, self.spoils, **options)
        raw.send(data)
        return raw

    def ask(self, data: bytes, method: str = "GET") -> Reply:
        """One request on a connection of its own."""
        with self.raw(data) as raw:
            return raw.reply(method)

    def websocket(self, **options: Any) -> WebSocket:
        return WebSocket(self.port, self.spoils, **options)

    # -- the house itself

    def worker(self) -> int:
        return int(request(self.port, "GET", "/pid").body)

    def hits(self) -> list[str]:
        """Paths that reached the site behind the middleware, other than its own."""
        return request(self.port, "GET", "/hits").json()

    def memory(self) -> int:
        """Resident bytes of the process that serves."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def publish(self, channel: str, value: object, times: int = 1) -> None:
        answer = request(
            self.port,
            "POST",
            f"/publish?channel={channel}&times={times}",
            json.dumps(value).encode(),
            timeout=30,
        )
        assert answer.status == 200, answer.body

    def let_victim_in(self) -> None:
        self.victim = Stream(self.port, hello(), subscribe("private/victim", id=2), headers=VICTIM)
        self.victim.until("subscribed")

    def tell_victim(self) -> None:
        """The victim gets a new secret."""
        self._secrets += 1
        secret = [0, f"{SECRET}-{self._secrets}"]
        self.publish("private/victim", secret[1])
        assert self.victim.published("private/victim") == secret

    def check(self, logged: int) -> None:
        """Nothing was harmed; the first `logged` characters of the log were there before."""
        assert self.server.process.poll() is None, self.server.log()
        began = time.monotonic()
        page = request(self.port, "GET", "/")
        assert (page.status, page.body) == (200, b"<h1>An ordinary page</h1>")
        messages = whole_poll(self.port, hello(), subscribe("open", id=2))["messages"]
        assert [message["type"] for message in messages] == ["hello", "subscribed"], messages
        assert self.worker() == self.pid, "another process serves now"
        assert time.monotonic() - began < 1.0, "page and poll took too long"
        self.tell_victim()
        log = self.server.log()[logged:]
        assert "Traceback" not in log, log
        assert SECRET.encode() not in self.spoils, "an attacker saw a secret"
