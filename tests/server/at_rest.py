"""What clients that wait take of the memory, in a process of its own: `python at_rest.py KIND`.

Our server's reactor and mount serve sockets of the same process, so that whatever is allocated can be told: by Python
for each client, and in cycles that only the collector frees.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import _socket  # noqa: E402
import gc  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import tracemalloc  # noqa: E402
from collections.abc import Callable  # noqa: E402

import gevent  # noqa: E402

from rtbridge import Bridge, Context, RealtimeMiddleware  # noqa: E402
from rtbridge.protocol.frames import Opcode, frame  # noqa: E402
from rtbridge.runtime.garbage import spare_what_stays  # noqa: E402
from rtbridge.server.mount import Mount  # noqa: E402
from rtbridge.server.reactor import Reactor  # noqa: E402

CLIENTS = 100
HEAD = b"Host: example.com\r\nUser-Agent: Firefox\r\nOrigin: http://example.com\r\n"


class Client:
    """One client; nothing of it is counted."""

    def __init__(self, reactor: Reactor, number: int) -> None:
        self.sock, ours = _socket.socketpair()  # as our server's: without what gevent and Python wrap around them
        self.sock.setblocking(False)
        ours.setblocking(False)
        self.number = number
        reactor.add(ours)

    def hear(self, word: bytes) -> bytes:
        heard = b""
        for _ in range(10_000):
            gevent.sleep(0)
            try:
                heard += self.sock.recv(65_536)
            except BlockingIOError:
                continue
            if word in heard:
                return heard
        raise SystemExit(f"{word!r} did not come, but {heard!r}")

    def commands(self, subscribe: bytes, token: bytes = b"") -> bytes:
        return (
            b'[{"type":"hello","id":1,"version":1,"instance":"at-rest-%04d"%b},'
            b'{"type":"subscribe","channel":"news"%b}]' % (self.number, token, subscribe)
        )

    def post(self, commands: bytes, wait: int, accept: bytes = b"*/*") -> None:
        body = b'{"wait":%d,"commands":%b}' % (wait, commands)
        head = HEAD + b"Content-Type: application/json\r\nAccept: %b\r\nContent-Length: %d" % (accept, len(body))
        self.sock.send(b"POST /rt/poll HTTP/1.1\r\n%b\r\n\r\n%b" % (head, body))

    def poll(self) -> None:
        """Come with a token and a position, and be parked."""
        self.post(self.commands(b',"id":2'), 0)
        heard = self.hear(b'"subscribed"')
        token = b',"token":"%b"' % re.findall(rb'"token":"([^"]+)"', heard)[-1]
        position = b',"position":"%b"' % re.findall(rb'"position":"([^"]+)"', heard)[-1]
        self.post(self.commands(position, token), 25)
        for _ in range(10):
            gevent.sleep(0)

    def stream(self) -> None:
        self.post(self.commands(b',"id":2'), 0, b"text/event-stream")
        self.hear(b'"subscribed"')

    def websocket(self) -> None:
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        self.sock.send(b"GET /rt/ws?version=1 HTTP/1.1\r\n" + HEAD + upgrade + key)
        self.hear(b"\r\n\r\n")
        self.sock.send(frame(Opcode.TEXT, self.commands(b',"id":2'), mask=b"mask"))
        self.hear(b'"subscribed"')

    def idle(self) -> None:
        """Keep a connection that says nothing."""


KINDS: dict[str, Callable[[Client], None]] = {
    "poll": Client.poll,
    "stream": Client.stream,
    "websocket": Client.websocket,
    "idle": Client.idle,
}


def main(kind: str) -> None:
    begin = KINDS[kind]
    bridge = Bridge(
        secret="of the tests", lock_file=f"{tempfile.mkdtemp()}/lock", authenticate=lambda environ: "ann"
    )
    news = bridge.channel("news", str)

    @news.authorize
    def everybody(ctx: Context) -> bool:
        return True

    loop = bridge.services().loop
    mount = Mount(RealtimeMiddleware(lambda environ, start_response: [], bridge), loop, {"wsgi.url_scheme": "http"})
    reactor = Reactor(loop, bridge.limits, lambda sock, received: sock.close(), mount)
    for number in range(20):  # what is there once and for all
        client = Client(reactor, number)
        begin(client)
        client.sock.close()
    gevent.sleep(0.05)
    spare_what_stays()
    gc.disable()
    tracemalloc.start()
    ours = [tracemalloc.Filter(False, name) for name in (__file__, tracemalloc.__file__)]
    clients = []
    for number in range(CLIENTS):
        clients.append(Client(reactor, number + 20))
        begin(clients[-1])
    taken = sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(ours).traces)
    tracemalloc.stop()
    news.publish("good")
    for client in clients:
        if kind != "idle":
            client.hear(b"good")
    gevent.sleep(0.05)
    print(taken // CLIENTS, gc.collect() / CLIENTS)


main(sys.argv[1])
