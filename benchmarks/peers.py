"""Every server that is measured: how it is started, with fair settings, and how the load speaks to it.

Fair means: TCP_NODELAY, no access log, no compression, one process, a listen backlog of thousands, and the faster of
the settings each offers (uvloop and httptools for uvicorn). A peer whose software is not there is skipped, loudly.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .harness import BenchmarkError, Server, compile_c, free_port
from .harness.build import OUTPUT

HERE = Path(__file__).parent / "servers"
ENGINE_IO = "/socket.io/?EIO=4&transport=websocket"
MODULE = "ngx_nchan_module.so"

Starter = Callable[[int, ExitStack], list[Server]]


@dataclass(frozen=True)
class Peer:
    """A server. `ws` and `longpoll` are the load's options; an empty one means it cannot do that."""

    name: str
    start: Starter
    ws: dict[str, str] = field(default_factory=dict)
    longpoll: dict[str, str] = field(default_factory=dict)
    memory: bool = True

    @contextmanager
    def running(self) -> Iterator[Running]:
        port = free_port()
        with ExitStack() as stack:
            yield Running(port, self.start(port, stack))


@dataclass
class Running:
    """A peer's processes; what helps it (a Redis) counts as its own."""

    port: int
    servers: list[Server]

    def cpu(self) -> float:
        return sum(server.cpu() for server in self.servers)

    def pss(self) -> int:
        return sum(server.pss() for server in self.servers)


def _one(*command: str | Path, needs: tuple[str, ...] = ()) -> Starter:
    """A server of one command, in which PORT stands for the port."""

    def start(port: int, stack: ExitStack) -> list[Server]:
        _need(*needs)
        words = [str(word).replace("PORT", str(port)) for word in command]
        return [stack.enter_context(Server(words, port=port, cwd=HERE))]

    return start


def serving(app: str, env: dict[str, str] | None = None) -> Peer:
    """Our own server with an application of servers/."""

    def start(port: int, stack: ExitStack) -> list[Server]:
        _need("gevent")
        command = [sys.executable, "-m", "rtbridge", "serve", app, "--bind", f"127.0.0.1:{port}"]
        return [stack.enter_context(Server(command, port=port, cwd=HERE, env=env))]

    return Peer("rtbridge", start)


def _need(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise BenchmarkError(f"not installed: {', '.join(missing)}")


def program(name: str) -> str:
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise BenchmarkError(f"{name} is not installed")
    return path


def _c(name: str) -> Starter:
    def start(port: int, stack: ExitStack) -> list[Server]:
        return [stack.enter_context(Server([compile_c(HERE / name), str(port)], port=port))]

    return start


def _node(script: str) -> Starter:
    def start(port: int, stack: ExitStack) -> list[Server]:
        if not (HERE / "node_modules").is_dir():
            raise BenchmarkError("the npm packages of benchmarks/servers are not installed")
        return [stack.enter_context(Server([program("node"), script, str(port)], port=port, cwd=HERE))]

    return start


def _uvicorn(app: str) -> list[str]:
    fast = [
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--ws",
        "websockets",
        "--ws-per-message-deflate",
        "false",
    ]
    quiet = ["--log-level", "critical", "--no-access-log", "--backlog", "4096", "--lifespan", "off"]
    return [sys.executable, "-m", "uvicorn", app, "--port", "PORT", *fast, *quiet]


@contextmanager
def redis_server() -> Iterator[Server]:
    """A Redis of our own, without persistence."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="rtbridge-bench-") as folder:
        quiet = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
        command = [program("redis-server"), "--port", str(port), *quiet]
        with Server(command, port=port, cwd=Path(folder)) as server:
            yield server


def _channels(port: int, stack: ExitStack) -> list[Server]:
    _need("channels", "channels_redis", "uvicorn", "uvloop", "httptools")
    redis = stack.enter_context(redis_server())
    words = [word.replace("PORT", str(port)) for word in _uvicorn("channels_app:app")]
    uvicorn = Server(words, port=port, cwd=HERE, env={"REDIS_PORT": str(redis.port)})
    return [stack.enter_context(uvicorn), redis]


# --- nginx --------------------------------------------------------------------------------------------------------


def nchan_module() -> Path:
    """Debian's nchan module: the installed one, or else one taken out of its package without installing it."""
    for folder in ("/usr/lib/nginx/modules", "/usr/share/nginx/modules"):
        if (Path(folder) / MODULE).is_file():
            return Path(folder) / MODULE
    unpacked = OUTPUT / "nchan"
    if not any(unpacked.rglob(MODULE)):
        unpacked.mkdir(parents=True, exist_ok=True)
        quiet = {"cwd": unpacked, "check": True, "capture_output": True, "timeout": 60}
        try:
            subprocess.run([program("apt-get"), "download", "libnginx-mod-nchan"], **quiet)  # type: ignore[call-overload]
            package = next(unpacked.glob("*.deb"))
            subprocess.run([program("dpkg"), "-x", package, unpacked], **quiet)  # type: ignore[call-overload]
        except (subprocess.SubprocessError, BenchmarkError, StopIteration):
            raise BenchmarkError("no nchan: apt-get install libnginx-mod-nchan") from None
    return next(unpacked.rglob(MODULE))


def nginx_server(
    port: int, stack: ExitStack, locations: str, http: str = "", module: Path | None = None
) -> list[Server]:
    """nginx with one worker; `http` stands beside the server, `locations` in it."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtbridge-bench-")))
    temporary = "".join(
        f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        (f"load_module {module};" if module else "")
        + ("user root;" if os.geteuid() == 0 else "")
        + f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log crit;"
        + "worker_rlimit_nofile 30000; events { worker_connections 20000; }"
        + f"http {{ access_log off; gzip off; tcp_nodelay on; {temporary}"
        + f"keepalive_requests 100000000; keepalive_timeout 300s; {http}"
        + f"server {{ listen 127.0.0.1:{port} backlog=4096; {locations} }} }}"
    )
    command = [program("nginx"), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    return [stack.enter_context(Server(command, port=port))]


def _nginx(locations: str, module: Callable[[], Path] | None = None) -> Starter:
    def start(port: int, stack: ExitStack) -> list[Server]:
        return nginx_server(port, stack, locations, module=module() if module else None)

    return start


NCHAN = """
    location = /sub { nchan_subscriber; nchan_channel_id feed; nchan_subscriber_first_message newest; }
    location = /pub {
        nchan_publisher; nchan_channel_id feed; nchan_message_buffer_length 1000; nchan_message_timeout 1h;
    }
"""

SOCKET_IO = {"dialect": "sio", "pub": "sio", "path": ENGINE_IO, "pub_path": ENGINE_IO}
ENGINE_IO_POLL = {"dialect": "eio", "pub": "sio", "path": "/socket.io/", "pub_path": ENGINE_IO}
RAW = {"dialect": "raw", "pub": "raw", "path": "/sub", "pub_path": "/pub"}
OURS = {"dialect": "rt", "pub": "rt", "path": "/rt/ws?version=1", "pub_path": "/rt/ws?version=1"}
# One public channel by GET, without a session: the question that a subscriber asks nchan.
OURS_GET = {"dialect": "rtget", "pub": "http", "path": "/rt/channels/news", "pub_path": "/news"}

RTBRIDGE = "rtbridge"
RTBRIDGE_GET = "rtbridge, GET"
C = "C, one send per message"
COALESCING = "C, one send per turn"
NCHAN_NAME = "nchan"
NODE_SOCKET_IO = "node socket.io"
SOCKETIO_GEVENT = "python-socketio, gevent"

PEERS = [
    Peer(
        RTBRIDGE,
        _one(
            sys.executable,
            "-m",
            "rtbridge",
            "serve",
            "rtbridge_app:app",
            "--bind",
            "127.0.0.1:PORT",
            needs=("gevent",),
        ),
        ws=OURS,
        longpoll={**OURS, "dialect": "rtpoll", "path": "/rt/poll"},
    ),
    Peer(C, _c("fanout.c"), ws=RAW),
    Peer(COALESCING, _c("fanout_coalesce.c"), ws=RAW, memory=False),
    Peer(NCHAN_NAME, _nginx(NCHAN, nchan_module), ws=RAW, longpoll={**RAW, "dialect": "nchan"}),
    Peer(NODE_SOCKET_IO, _node("node_sio.js"), ws=SOCKET_IO, longpoll=ENGINE_IO_POLL),
    Peer(
        SOCKETIO_GEVENT,
        _one(sys.executable, "sio_gevent.py", "PORT", needs=("socketio", "gevent", "geventwebsocket")),
        ws=SOCKET_IO,
        longpoll=ENGINE_IO_POLL,
    ),
    Peer("node ws", _node("node_ws.js"), ws=RAW),
    Peer(
        "python-socketio, uvicorn",
        _one(*_uvicorn("sio_uvicorn:app"), needs=("socketio", "uvicorn", "uvloop", "httptools")),
        ws=SOCKET_IO,
        longpoll=ENGINE_IO_POLL,
    ),
    Peer(
        "Flask-SocketIO, gevent",
        _one(sys.executable, "flask_sio.py", "PORT", needs=("flask_socketio", "gevent", "geventwebsocket")),
        ws=SOCKET_IO,
        longpoll=ENGINE_IO_POLL,
        memory=False,
    ),
    Peer("Django Channels, uvicorn, Redis", _channels, ws=RAW),
]

GOAL_PEERS = (RTBRIDGE, C, COALESCING, NCHAN_NAME, NODE_SOCKET_IO, SOCKETIO_GEVENT)
"""Ours and those that a goal names: a quick run measures no others."""

PYWSGI = "bare pywsgi"
DJANGO = "Django view on pywsgi"
POLL_BODY = '{"channel":"news","position":"bench.100","publications":[]}'
POLLED = {
    "nginx, a constant": _nginx(
        f"location = /poll {{ default_type application/json; return 200 '{POLL_BODY}'; }}"
    ),
    PYWSGI: _one(sys.executable, "poll_pywsgi.py", "bare", "PORT", needs=("gevent",)),
    "Flask view on pywsgi": _one(
        sys.executable, "poll_pywsgi.py", "flask", "PORT", needs=("gevent", "flask")
    ),
    DJANGO: _one(sys.executable, "poll_pywsgi.py", "django", "PORT", needs=("gevent", "django")),
}
