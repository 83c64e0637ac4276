"""`rtbridge doctor URL`: is this Redis fit to be the bus, and what is to be changed?

First the server is asked about itself, then a publication goes the way that all of them go: what an ACL forbids,
or what a proxy swallows, shows there and nowhere else.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from rtbridge.bridge import Bridge
from rtbridge.bus import Bus, History
from rtbridge.cli.findings import QUESTIONS, Facts, Finding, Level
from rtbridge.cli.loading import CannotLoad
from rtbridge.errors import BusError, ConfigError
from rtbridge.protocol.publications import Publication

_CHANNEL = "rtbridge-doctor"
_PINGS = 100
_PATIENCE = 5.0  # seconds for a connection, an answer, a notification
_SIGNS = {Level.OK: "ok  ", Level.WARN: "warn", Level.BAD: "BAD "}


def declare(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser("doctor", help="examine the Redis behind a bus")
    parser.add_argument("url", nargs="?", help="default: RTBRIDGE_URL")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """0: fit, perhaps with warnings; 1: something has to be changed; 2: out of reach."""
    url = given.url or os.environ.get("RTBRIDGE_URL")
    if not url:
        raise CannotLoad("which bus? give its URL, as redis://localhost:6379/0, or RTBRIDGE_URL")
    if url.startswith("memory:"):
        print("memory:// needs no doctor: it lives in the process that serves, and nobody else can reach it")
        return 0
    worst = Level.OK
    try:
        for where, finding in examine(url):
            worst = max(worst, finding.level)
            print(f"{_SIGNS[finding.level]}  {where}{finding.about}: {finding.says}")
            if finding.do:
                print(f"      -> {finding.do}")
    except OutOfReach as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if worst is Level.BAD else 0


class OutOfReach(Exception):
    """A server does not answer."""


def examine(url: str) -> Iterator[tuple[str, Finding]]:
    """Everything found, with the server it is about (empty where there is only one).

    Raises:
        OutOfReach: a server does not answer.
        ConfigError: the URL is none.
    """
    for where, client in _servers(url):
        with closing(client):
            facts = _ask(client, where)
        for question in QUESTIONS:
            yield where, question(facts)
    with closing(Bridge(url).bus) as bus:
        yield from (("", finding) for finding in try_out(bus))


def try_out(bus: Bus) -> list[Finding]:
    """Publish through the bus, read it back, and wait for the notification: what the workers do."""
    about, ear = "publishing", _Ear()
    try:
        bus.listen(ear)
        bus.watch(_CHANNEL)
        began = time.monotonic()
        position = bus.publish(_CHANNEL, b'"doctor"', History(1, 60.0))
        published = time.monotonic() - began
        page = bus.read(_CHANNEL, None, 1)
    except BusError as error:
        return [
            Finding(
                Level.BAD, about, str(error),
                "if it is a permission that is missing, give this user the ACL line of the documentation",
            )
        ]  # fmt: skip
    whole = [publication.offset for publication in getattr(page, "publications", ())] == [position.offset]
    findings = [Finding(Level.OK, about, f"took {published * 1000:.1f} ms")]
    if not whole:
        findings = [
            Finding(Level.BAD, about, "what was published could not be read back", "look at Redis's log")
        ]
    heard = ear.heard(position.offset, _PATIENCE)
    if heard is None:
        return [
            *findings,
            Finding(
                Level.BAD, "notifications", f"none within {_PATIENCE:g} s: clients would wait for the next sweep",
                "give this user the channels of its prefix (ACL: &prefix*), and let no proxy stand in between",
            ),
        ]  # fmt: skip
    return [*findings, Finding(Level.OK, "notifications", f"after {max(0.0, heard - began) * 1000:.1f} ms")]


class _Ear:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._offset, self._at = -1, 0.0

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        with self._changed:
            self._offset, self._at = publications[-1].offset, time.monotonic()
            self._changed.notify_all()

    def suspect(self, channel: str | None) -> None:
        pass

    def heard(self, offset: int, seconds: float) -> float | None:
        """When it was heard of; None if it was not within `seconds`."""
        with self._changed:
            return self._at if self._changed.wait_for(lambda: self._offset >= offset, seconds) else None


def _servers(url: str) -> Iterator[tuple[str, Any]]:
    """A connection to each server behind a URL, with its name to begin lines with."""
    try:
        import redis

        from rtbridge.bus.redis.address import read_url
    except ImportError:
        raise ConfigError("the doctor needs more: pip install 'rtbridge[redis]'") from None
    from rtbridge.cli.servers import servers

    yield from servers(redis, read_url(url), _PATIENCE)


def _ask(client: Any, where: str) -> Facts:
    import redis

    try:
        info = client.info("all")
        round_trips = sorted(_timed(client) for _ in range(_PINGS))
    except redis.exceptions.ResponseError as error:
        raise OutOfReach(f"{where}Redis answers, but not to this user: {error}") from error
    except redis.exceptions.RedisError as error:
        raise OutOfReach(f"{where}Redis is out of reach: {error}") from error
    try:
        config = {**client.config_get("client-output-buffer-limit"), **client.config_get("save")}
        config |= client.config_get("tcp-keepalive")
    except redis.exceptions.ResponseError:
        config = None
    return Facts(info, config, round_trips, bool(info.get("cluster_enabled")))


def _timed(client: Any) -> float:
    began = time.monotonic()
    client.ping()
    return time.monotonic() - began
