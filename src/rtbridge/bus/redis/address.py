"""Where Redis is and how it is to be used: read from one URL, so that it travels with it everywhere.

    redis://[user:password@]host[:port][/db]
    unix://[user:password@]/path/to/redis.sock[?db=0]
    redis+sentinel://[user:password@]host:port,host:port/service[/db]
    redis+cluster://[user:password@]host:port,host:port
    rediss:// rediss+sentinel:// rediss+cluster://     the same over TLS

Options are in the query: `redis://localhost/0?prefix=shop:&durability=replica`.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from rtbridge.errors import ConfigError

Kind = Literal["plain", "sentinel", "cluster"]
PORTS = {"plain": 6379, "cluster": 6379, "sentinel": 26379}
PARTITIONS = 64
"""Partitions by default. The same for all who share a prefix: it says where a channel's keys are."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server: host and port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a URL says. `url` is it again, without secrets."""

    kind: Kind
    addresses: tuple[Address, ...]
    url: str
    username: str | None = None
    password: str | None = None
    db: int = 0
    tls: ssl.SSLContext | None = None
    service: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    prefix: str = "rtbridge:"
    partitions: int = PARTITIONS
    fence: bool = True
    durable: bool = False
    """A publish has succeeded when a replica has it, too."""


def is_redis(url: str) -> bool:
    return urlsplit(url).scheme in ("redis", "rediss", "unix") or urlsplit(url).scheme.startswith(
        ("redis+", "rediss+")
    )


def read_url(url: str) -> Settings:
    """
    Raises:
        ConfigError: it cannot be understood; the message says what is wrong, without its password.
    """
    parts = urlsplit(url)
    family, _, form = parts.scheme.partition("+")
    kind: Kind = {"": "plain", "sentinel": "sentinel", "cluster": "cluster"}.get(form, "")  # type: ignore[assignment]
    if family not in ("redis", "rediss", "unix") or not kind or (family == "unix" and form):
        raise ConfigError(
            f"no bus for {parts.scheme}://; there are memory://, redis://, redis+sentinel://, redis+cluster:// "
            "(each also as rediss for TLS) and unix:///path"
        )
    options = _Options(parts)
    who, _, hosts = parts.netloc.rpartition("@")
    username, _, password = who.partition(":")
    path = unquote(parts.path)
    service, db = "", "0"
    if family == "unix":
        addresses: tuple[Address, ...] = (Address(path=path),)
    else:
        words = path.strip("/").split("/") if path.strip("/") else []
        if kind == "sentinel":
            if not words:
                raise ConfigError(
                    "redis+sentinel:// needs the name of the service: redis+sentinel://host:26379/mymaster"
                )
            service = words.pop(0)
        db = words.pop(0) if words else "0"
        if words or not db.isdigit():
            raise ConfigError(f"the path {path!r} of the Redis URL must be the number of a database")
        addresses = tuple(_address(host, PORTS[kind]) for host in (hosts or "localhost").split(","))
    if kind == "plain" and len(addresses) != 1:
        raise ConfigError(
            "redis:// names one server; for several there are redis+sentinel:// and redis+cluster://"
        )
    if kind == "cluster" and db != "0":
        raise ConfigError("a Redis Cluster has database 0 only")
    settings = Settings(
        kind=kind,
        addresses=addresses,
        url=f"{parts.scheme}://{hosts}{parts.path}",
        username=options.text("username") or unquote(username) or None,
        password=options.text("password") or unquote(password) or None,
        db=options.number("db", int(db), 0),
        service=service,
        sentinel_username=options.text("sentinel_username"),
        sentinel_password=options.text("sentinel_password"),
        prefix=options.text("prefix") or "rtbridge:",
        partitions=options.number("partitions", PARTITIONS, 1),
        fence=options.choice("fence", ("on", "off"), "on") == "on",
        durable=options.choice("durability", ("master", "replica"), "master") == "replica",
        tls=options.tls() if family == "rediss" else None,
    )
    if any(sign in settings.prefix for sign in "{}*?[] \n"):
        raise ConfigError(f"the prefix {settings.prefix!r} must be free of blanks and of {{ }} * ? [ ]")
    options.finish()
    return settings


def _address(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    try:
        return Address(parts.hostname or "localhost", parts.port or port)
    except ValueError:
        raise ConfigError(f"{text!r} in the Redis URL is not host:port") from None


def read_address(text: str, asked: Address) -> Address:
    """What a node says of another: `host:port`, where no host means its own."""
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]") or asked.host, int(port))


class _Options:
    """The query of a URL; each option is asked for by its name, and what nobody asked for is a mistake."""

    def __init__(self, parts: SplitResult) -> None:
        self._given = dict(parse_qsl(parts.query, keep_blank_values=True))

    def text(self, name: str) -> str | None:
        return self._given.pop(name, None) or None

    def number(self, name: str, default: int, least: int) -> int:
        text = self._given.pop(name, str(default))
        if not text.isdigit() or int(text) < least:
            raise ConfigError(f"{name}={text} in the Redis URL must be a number of at least {least}")
        return int(text)

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        text = self._given.pop(name, default)
        if text not in allowed:
            raise ConfigError(f"{name}={text} in the Redis URL must be one of {', '.join(allowed)}")
        return text

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.text("ssl_ca_certs"))
        certificate = self.text("ssl_certfile")
        if certificate:
            context.load_cert_chain(certificate, self.text("ssl_keyfile"))
        if self.choice("ssl_check_hostname", ("true", "false"), "true") == "false":
            context.check_hostname = False
        if self.choice("ssl_cert_reqs", ("required", "none"), "required") == "none":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def finish(self) -> None:
        if self._given:
            raise ConfigError(f"unknown options in the Redis URL: {', '.join(sorted(self._given))}")
