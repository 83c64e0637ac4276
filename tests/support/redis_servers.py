"""Redis servers for tests: each on a free port, in a folder of its own, ended by its pid.

They are context managers with a `url`. A server can be killed, stopped, and started again with or without its data.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import redis

from support.needs import free_port, needs
from support.tcp_proxy import TcpProxy

SOON = 20.0


def until(condition: Callable[[], object], what: str, seconds: float = SOON) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class RedisServer:
    """One process. `options` are lines of its configuration."""

    def __init__(self, *options: str, port: int | None = None, sentinel: bool = False) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="rtbridge-redis-"))
        self._program = needs("redis-server")
        self._sentinel = sentinel
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._write_config()

    def _write_config(self) -> None:
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", "daemonize no", *self._options]
        if not self._sentinel:
            lines += ['save ""']
        (self.folder / "redis.conf").write_text("\n".join(lines) + "\n")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self, **options: Any) -> redis.Redis:
        """A redis-py client that does not try again."""
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return redis.Redis(
            port=self.port,
            socket_timeout=10,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 0),
            **options,
        )

    def start(self) -> None:
        command = [self._program, str(self.folder / "redis.conf")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--sentinel"] if self._sentinel else command, stdout=log, stderr=log
            )
        until(self._answers, f"redis-server on port {self.port}: {(self.folder / 'log').read_text()[-2000:]}")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text()[-2000:])
        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError):
            return True
        except redis.RedisError:
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """SIGSTOP: it takes connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._signal(signal.SIGCONT)
            self._process.kill()
        if self._process is not None:
            self._process.wait(10)

    def restart(self, *, forget: bool = False) -> None:
        """With what it had written to disk, or with nothing."""
        self.kill()
        if forget:
            for path in self.folder.iterdir():
                if path.name not in ("redis.conf", "log", "nodes.conf"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.start()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def age(self, prefix: str, seconds: float) -> None:
        """Make everything older: as if so many seconds had passed for expiries and leases."""
        milliseconds = round(seconds * 1000)
        with self.client() as client:
            for key in client.scan_iter(match=f"{prefix}*", count=1000):
                if client.type(key) == b"zset":
                    for name, due in client.zrange(key, 0, -1, withscores=True):
                        client.zadd(key, {name: due - milliseconds})
                left = client.pttl(key)
                if left > milliseconds:
                    client.pexpire(key, left - milliseconds)
                elif left >= 0:
                    client.delete(key)


class PlainRedis(RedisServer):
    """A single server and its URL."""

    def __init__(self, *options: str) -> None:
        super().__init__(*options)
        self.url = f"redis://127.0.0.1:{self.port}/0"


class SentinelTrio:
    """A master, a replica and three sentinels that notice within a second or two.

    All but those whom a test connects to `master.port` itself reach the master by way of `wire`: cut it, and the master
    is in a partition of its own.
    """

    SERVICE = "mymaster"

    def __init__(self, *options: str) -> None:
        fast = ("repl-diskless-sync-delay 0", "repl-ping-replica-period 1", "repl-timeout 3", *options)
        self.master = RedisServer(*fast)
        self.wire = TcpProxy(self.master.port)
        self.replica = RedisServer(*fast, f"replicaof 127.0.0.1 {self.wire.port}")
        self.sentinels = [
            RedisServer(
                f"sentinel monitor {self.SERVICE} 127.0.0.1 {self.wire.port} 2",
                f"sentinel down-after-milliseconds {self.SERVICE} 1000",
                f"sentinel failover-timeout {self.SERVICE} 4000",
                sentinel=True,
            )
            for _ in range(3)
        ]
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{self.SERVICE}"

    def __enter__(self) -> SentinelTrio:
        try:
            self.master.start()
            self.replica.start()
            until(lambda: self._info(self.replica, "replication")["master_link_status"] == "up", "a replica")
            for sentinel in self.sentinels:
                sentinel.start()
            for sentinel in self.sentinels:
                until(lambda s=sentinel: self._knows_all(s), "sentinels that know each other")  # type: ignore[misc]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.close()
        self.wire.__exit__()

    def now_master(self) -> RedisServer:
        """Whom the sentinels call master."""
        with self.sentinels[0].client() as client:
            _, port = client.sentinel_get_master_addr_by_name(self.SERVICE)
        return self.replica if port == self.replica.port else self.master

    @staticmethod
    def _info(server: RedisServer, section: str) -> dict[str, Any]:
        with server.client() as client:
            found: dict[str, Any] = client.info(section)
        return found

    def _knows_all(self, sentinel: RedisServer) -> bool:
        with sentinel.client() as client:
            state = client.sentinel_master(self.SERVICE)
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)


class ClusterOfThree:
    """Three masters, each with a third of the slots; `replicas` adds one replica each."""

    def __init__(self, *options: str, replicas: bool = False) -> None:
        lines = ("cluster-enabled yes", "cluster-node-timeout 2000", "repl-diskless-sync-delay 0", *options)
        self.nodes = [RedisServer(*lines, port=port) for port in _cluster_ports(6 if replicas else 3)]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])

    def __enter__(self) -> ClusterOfThree:
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.close()

    def _join(self) -> None:
        clients = [node.client() for node in self.nodes]
        try:
            for index, client in enumerate(clients[:3]):
                first, last = index * 16_384 // 3, (index + 1) * 16_384 // 3 - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            for client in clients[1:]:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
            for client in clients:
                until(lambda c=client: self._is_whole(c), "a cluster whose nodes know each other")  # type: ignore[misc]
            names = [client.execute_command("CLUSTER", "MYID").decode() for client in clients]
            for replica, master in zip(clients[3:], names[:3], strict=False):
                replica.execute_command("CLUSTER", "REPLICATE", master)
            for replica in clients[3:]:
                until(
                    lambda c=replica: c.info("replication").get("master_link_status") == "up",  # type: ignore[misc]
                    "replicas in the cluster",
                )
        finally:
            for client in clients:
                client.close()

    def _is_whole(self, client: redis.Redis) -> bool:
        state = client.execute_command("CLUSTER", "INFO")
        text = state if isinstance(state, str) else str(state)
        return "ok" in text.split("cluster_state")[1][:8] and len(
            client.execute_command("CLUSTER", "NODES")
        ) >= len(self.nodes)


def _cluster_ports(count: int) -> list[int]:
    """Such as are free, as are those of the nodes' buses, 10,000 above them.

    All below those that the system gives to connections: else one of these may come first. And each of the processes
    that test side by side has a range to itself: else one's nodes may take another's for their own.
    """
    ours = 10_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5 * 2_000
    ports: set[int] = set()
    while len(ports) < count:
        port = random.SystemRandom().randrange(ours, ours + 2_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            ports.add(port)
    return list(ports)
