"""Where many logs stand, cheaply: what a sweep over all watched channels asks every few seconds.

The script renews each log's life, and most of the time that is not due. For a channel that this process renewed not
long ago the log is only fetched, which costs Redis a twentieth, and looked at here: one that is missing, or of another
fence, is left to the script.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rtbridge.bus.redis import answers
from rtbridge.bus.redis.client import Client, Command
from rtbridge.bus.redis.keys import Keys
from rtbridge.bus.redis.link import pack
from rtbridge.bus.redis.lua import script
from rtbridge.bus.redis.publishing import Publishing, milliseconds
from rtbridge.protocol.positions import Position

REMEMBERED = 200_000
"""Channels whose renewal is remembered."""


class Standing:
    """One for a process.

    Args:
        ttl: seconds that a log lives after its position was asked for.
        sharded: whether one command can only have the keys of one partition.
    """

    def __init__(self, keys: Keys, publishing: Publishing, ttl: float, sharded: bool) -> None:
        self._keys = keys
        self._publishing = publishing
        self._ttl = milliseconds(ttl)
        self._fresh = ttl / 64  # scripts/positions.lua renews for that much longer
        self._sharded = sharded
        self._renewed: dict[str, float] = {}

    def position(self, client: Client, channel: str) -> Position:
        command = self._script([channel])
        answer = client.ask(self._keys.partition(channel), command)
        return answers.position(answer[0])

    def positions(self, client: Client, channels: Sequence[str]) -> list[Position]:
        now = time.monotonic()
        wanted = dict.fromkeys(channels)
        stale = now - self._fresh
        fresh = [channel for channel in wanted if self._renewed.get(channel, stale) > stale]
        found = self._fetch(client, fresh)
        rest = [channel for channel in wanted if channel not in found]
        if rest:
            found |= self._renew(client, rest)
            if len(self._renewed) > REMEMBERED:
                self._renewed.clear()
            self._renewed.update(dict.fromkeys(rest, now))
        return [found[channel] for channel in channels]

    def forget(self, channel: str) -> None:
        self._renewed.pop(channel, None)

    def _fetch(self, client: Client, channels: list[str]) -> dict[str, Position]:
        found: dict[str, Position] = {}
        groups = self._groups(channels)
        fetches = [_Fetch([self._keys.log(channel) for channel in members]) for members in groups]
        questions = [
            (self._keys.partition(members[0]), fetch.command)
            for members, fetch in zip(groups, fetches, strict=True)
        ]
        for members, fetch, logs in zip(groups, fetches, client.ask_all(questions), strict=True):
            for channel, log in zip(members, logs, strict=True):
                if log is not None and log.endswith(fetch.fence):
                    epoch, last, _ = log.split(b" ", 2)
                    found[channel] = Position(epoch.decode(), int(last))
        return found

    def _renew(self, client: Client, channels: list[str]) -> dict[str, Position]:
        found: dict[str, Position] = {}
        groups = self._groups(channels)
        questions = [(self._keys.partition(members[0]), self._script(members)) for members in groups]
        for members, answer in zip(groups, client.ask_all(questions), strict=True):
            found.update(zip(members, map(answers.position, answer), strict=True))
        return found

    def _script(self, channels: list[str]) -> Command:
        keys = self._keys
        names = [name for channel in channels for name in (keys.log(channel), keys.history(channel))]
        epochs = [self._publishing.epoch() for _ in channels]
        return lambda fence: script("positions").command(names, self._ttl, fence, *epochs)

    def _groups(self, channels: list[str]) -> list[list[str]]:
        """Those that one command can have together."""
        if not self._sharded:
            return [channels] if channels else []
        groups: dict[int, list[str]] = {}
        for channel in channels:
            groups.setdefault(self._keys.partition(channel), []).append(channel)
        return list(groups.values())


class _Fetch:
    """An MGET, and the end that a log must have where it was sent to."""

    __slots__ = ("_packed", "fence")

    def __init__(self, logs: list[bytes]) -> None:
        self._packed = pack("MGET", *logs)
        self.fence = b""

    def command(self, fence: bytes) -> bytes:
        self.fence = b" " + fence
        return self._packed
