"""The bus itself: the contract's methods as scripts for a partition. See `rtbridge.bus.contract`.

Made at import and used from anywhere: connections are opened when they are first needed, one for each world (see
`world`) and server, and opened anew in the child of a fork.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from rtbridge.bus.contract import Keep, Listener, ToPublish
from rtbridge.bus.redis import answers
from rtbridge.bus.redis.address import read_url
from rtbridge.bus.redis.client import Breaker, Client, Command
from rtbridge.bus.redis.keys import Keys
from rtbridge.bus.redis.link import pack
from rtbridge.bus.redis.lua import script
from rtbridge.bus.redis.publishing import Publishing, milliseconds
from rtbridge.bus.redis.standing import Standing
from rtbridge.bus.redis.subscriber import Subscriber
from rtbridge.bus.redis.topology import make_topology
from rtbridge.bus.redis.world import ThreadWorld, World
from rtbridge.config import Limits
from rtbridge.errors import BusError
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page
from rtbridge.runtime import in_gevent, native_lock

LAPSED_KEPT = 86_400.0
"""Seconds after which a lapse that nobody claimed is forgotten."""


class RedisBus:
    """See `Bus`.

    Args:
        url: see `address`.
        limits: how much to remember, and for how long.

    Raises:
        ConfigError: the URL cannot be understood.
    """

    blocking = True

    def __init__(self, url: str, limits: Limits | None = None) -> None:
        self._settings = read_url(url)
        self._limits = limits or Limits()
        self.url = self._settings.url
        self._keys = Keys(self._settings.prefix, self._settings.partitions)
        self._listener: Listener | None = None
        self._closed = False
        self._begin()
        if hasattr(os, "register_at_fork"):
            begin = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: (method := begin()) and method())

    def _after_fork(self) -> None:
        """The parent's connections are not ours, and who watches is not here."""
        self._subscriber.abandon()
        for client in self._clients():
            client.abandon()
        self._begin()

    def _begin(self) -> None:
        self._lock = native_lock()
        self._topology = make_topology(self._settings, self._keys)
        self._breaker = Breaker()
        self._threads: Client | None = None
        self._recent: tuple[Callable[[], Any], weakref.ref[Any], weakref.ref[Client]] | None = None
        self._hubs: weakref.WeakKeyDictionary[Any, Client] = weakref.WeakKeyDictionary()
        self._subscriber = Subscriber(self._settings, self._keys, self._topology, self._breaker, self._client)
        sharded = self._topology.sharded
        self._publishing = Publishing(self._keys, self._limits, sharded)
        self._standing = Standing(self._keys, self._publishing, self._limits.position_ttl, sharded)

    def listen(self, listener: Listener) -> None:
        self._subscriber.listener = listener

    def lag(self) -> float:
        """Seconds that a probe lately took to be published and to come back; 0 before the first."""
        return self._subscriber.lag()

    def close(self) -> None:
        self._closed = True
        self._subscriber.close()
        for client in self._clients():
            client.close()

    # Logs.

    def publish(
        self, channel: str, data: bytes, keep: Keep, *, cause: str | None = None, key: str | None = None
    ) -> Position:
        client = self._client()
        outgoing = self._publishing.command(channel, data, keep, cause, key)
        try:
            return answers.position(client.ask(outgoing.partition, outgoing))
        finally:
            self._publishing.done(outgoing)

    def publish_many(self, publications: Sequence[ToPublish]) -> list[Position]:
        client = self._client()
        outgoing = [self._publishing.command(p.channel, p.data, p.keep, p.cause, p.key) for p in publications]
        try:
            replies = client.ask_all([(each.partition, each) for each in outgoing])
        finally:
            for each in outgoing:
                self._publishing.done(each)
        return [answers.position(reply) for reply in replies]

    def read(self, channel: str, after: Position | None, limit: int) -> Page | Gap:
        limits, keys = self._limits, self._keys
        arguments = (
            after.epoch.encode() if after else b"",
            b"%d" % (after.offset if after else 0),
            b"%d" % min(limit, limits.page_publications),
            b"%d" % limits.page_bytes,
            milliseconds(limits.position_ttl),
            self._publishing.epoch(),
        )
        names = [keys.log(channel), keys.history(channel)]
        answer = self._ask(channel, lambda fence: script("read").command(names, *arguments, fence))
        return answers.page(answer, after)

    def position(self, channel: str) -> Position:
        return self._standing.position(self._client(), channel)

    def positions(self, channels: Sequence[str]) -> list[Position]:
        return self._standing.positions(self._client(), channels)

    def watch(self, channel: str) -> None:
        self._check_open()
        # It lives as long as it is watched.
        self._subscriber.watch(channel, self._limits.bus_timeout, lambda: self.position(channel))

    def unwatch(self, channel: str) -> None:
        self._check_open()
        self._subscriber.unwatch(channel)
        self._standing.forget(channel)

    # Records.

    def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        answer: bytes = self._once(key, "add", [self._keys.record(key)], value, milliseconds(ttl))
        return None if answer == b"-" else answer[1:]

    def put(self, key: str, value: bytes, ttl: float) -> None:
        command = pack("SET", self._keys.record(key), value, "PX", milliseconds(ttl))
        self._ask(key, lambda _: command)

    def get(self, key: str) -> bytes | None:
        command = pack("GET", self._keys.record(key))
        value: bytes | None = self._ask(key, lambda _: command)
        return value

    def replace(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        name = self._keys.record(key)
        return bool(self._once(key, "replace", [name], expected, value, milliseconds(ttl)) == b"1")

    def delete(self, key: str) -> None:
        command = pack("DEL", self._keys.record(key))
        self._ask(key, lambda _: command)

    # Leases.

    def hold(self, group: str, name: str, ttl: float, value: bytes = b"") -> bool:
        arguments = (name.encode(), milliseconds(ttl), value, milliseconds(LAPSED_KEPT))
        return bool(self._once(group, "hold", self._leases(group), *arguments) == b"1")

    def release(self, group: str, name: str, *, only_lapsed: bool = False) -> bool:
        arguments = (name.encode(), b"1" if only_lapsed else b"0")
        return bool(self._once(group, "release", self._leases(group), *arguments) == b"1")

    def held(self, group: str) -> dict[str, bytes]:
        command = script("held").command(self._leases(group))
        return _pairs(self._ask(group, lambda _: command))

    def lapsed(self, group: str, retry_in: float, limit: int) -> dict[str, bytes]:
        """Asking again is safe: a claim whose answer was lost is handed out again."""
        arguments = (milliseconds(retry_in), b"%d" % limit, milliseconds(LAPSED_KEPT))
        command = script("lapsed").command(self._leases(group), *arguments)
        return _pairs(self._ask(group, lambda _: command))

    def _leases(self, group: str) -> list[bytes]:
        return list(self._keys.leases(group))

    # Asking.

    def _ask(self, name: str, command: Command) -> Any:
        """For what may be done twice."""
        return self._client().ask(self._keys.partition(name), command)

    def _once(self, name: str, what: str, keys: list[bytes], *arguments: bytes) -> Any:
        """For what may not: with a receipt."""
        client = self._client()
        once = self._publishing.once(name, what, keys, *arguments)
        try:
            return client.ask(once.partition, lambda _: once.packed)
        finally:
            self._publishing.done(once)

    def _check_open(self) -> None:
        if self._closed:
            raise BusError("this bus was closed; make a new one")

    def _client(self) -> Client:
        """The one of the world that the caller is in."""
        self._check_open()
        if self._recent is not None:
            # Spares most greenlets asking what world this is.
            current, hub_of, client_of = self._recent
            if (hub := hub_of()) is not None and current().parent is hub and (client := client_of()):
                return client
        if not in_gevent():
            if self._threads is None:
                with self._lock:
                    if self._threads is None:
                        self._threads = self._make_client(ThreadWorld())
            return self._threads
        import gevent
        from greenlet import getcurrent

        hub = gevent.get_hub()
        client = self._hubs.get(hub)
        if client is None:
            from rtbridge.bus.redis.greenlets import GreenletWorld

            client = self._hubs[hub] = self._make_client(GreenletWorld(hub))
        self._recent = getcurrent, weakref.ref(hub), weakref.ref(client)
        return client

    def _clients(self) -> list[Client]:
        return [*([self._threads] if self._threads else ()), *self._hubs.values()]

    def _make_client(self, world: World) -> Client:
        return Client(world, self._settings, self._topology, self._breaker, self._limits.bus_timeout)


def _pairs(answer: list[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(answer[::2], answer[1::2], strict=True)}
