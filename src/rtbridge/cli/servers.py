"""The servers behind a Redis URL, one redis-py connection each: the one, Sentinel's master, or a Cluster's masters."""

from __future__ import annotations

from collections.abc import Iterator
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the bus on Redis needs its extra
    from rtbridge.bus.redis.address import Address, Settings


def servers(redis: Any, settings: Settings, patience: float) -> Iterator[tuple[str, Any]]:
    """Name (empty where there is one only) and connection of each server.

    Args:
        redis: the module.
        patience: seconds to wait for a connection or an answer.
    """
    from rtbridge.bus.redis.address import Address

    def connect(address: Address, **credentials: Any) -> Any:
        security = {} if settings.tls is None else {"ssl": True, "ssl_context": settings.tls}
        where = (
            {"unix_socket_path": address.path}
            if address.path
            else {"host": address.host, "port": address.port, **security}
        )
        return redis.Redis(
            **where,
            **credentials,
            decode_responses=True,
            socket_timeout=patience,
            socket_connect_timeout=patience,
        )

    mine = {"username": settings.username, "password": settings.password}
    first = settings.addresses[0]
    if settings.kind == "plain":
        yield "", connect(first, db=settings.db, **mine)
    elif settings.kind == "sentinel":
        theirs = {"username": settings.sentinel_username, "password": settings.sentinel_password}
        master = _asked(
            redis,
            [connect(address, **theirs) for address in settings.addresses],
            lambda sentinel: sentinel.sentinel_get_master_addr_by_name(settings.service),
        )
        if master is None:
            raise redis.exceptions.ConnectionError(f"the sentinels know no service {settings.service!r}")
        yield "", connect(Address(master[0], int(master[1])), db=settings.db, **mine)
    else:
        slots = _asked(
            redis,
            [connect(address, **mine) for address in settings.addresses],
            lambda node: node.execute_command("CLUSTER SLOTS"),
        )
        masters = {(str(host), int(port)) for host, port in _masters(slots)}
        for host, port in sorted(masters):
            yield f"{host}:{port} ", connect(Address(host, port), **mine)


def _over_tls(redis: Any, context: SSLContext) -> Any:
    base: Any = redis.connection.SSLConnection

    class OverTls(base):  # type: ignore[misc]
        """With our context, in place of the one it would make."""

        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            return context.wrap_socket(sock, server_hostname=self.host)

    return OverTls


def _asked(redis: Any, clients: list[Any], question: Any) -> Any:
    """The answer of the first that gives one."""
    problem: Exception | None = None
    for client in clients:
        try:
            return question(client)
        except redis.exceptions.RedisError as error:
            problem = error
        finally:
            client.close()
    assert problem is not None
    raise problem


def _masters(slots: Any) -> Iterator[tuple[str, int]]:
    """Of CLUSTER SLOTS, as redis-py gives it (a dictionary) or as it is (lists)."""
    if isinstance(slots, dict):
        yield from (entry["primary"] for entry in slots.values())
    else:
        yield from ((entry[2][0], entry[2][1]) for entry in slots)
