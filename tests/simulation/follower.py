"""A process with many clients that note all they see. It is told what to do line by line: `positions`, `stop`.

A client has a transport of its own. Now and then it changes to another one and back, leaves a channel and comes back,
or ends and is made anew, always from the position where it stood.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import IO, Any  # noqa: E402

import gevent  # noqa: E402
from gevent.fileobject import FileObject  # noqa: E402

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import mutants  # noqa: E402
from oracle import Seen, note_seen  # noqa: E402

from rtbridge.client import Client, ClientError, Feed, Gap, Item  # noqa: E402
from rtbridge.client.ladder import RUNGS  # noqa: E402
from rtbridge.protocol.positions import Position  # noqa: E402

plan: dict[str, Any] = json.loads(os.environ["CHAOS"])
mine: dict[str, Any] = json.loads(sys.argv[1])
did: Counter[str] = Counter()


class Follower:
    """One client and its channels; where it stands in each of them."""

    def __init__(self, name: str, transport: str, channels: list[str], log: IO[str]) -> None:
        self.positions: dict[str, str] = {}
        self._name = name
        self._transport = transport
        self._channels = channels
        self._log = log
        self._random = random.Random(f"{plan['seed']} {name}")
        self._feeds: dict[str, Feed] = {}
        self._taking: dict[str, Any] = {}
        self._calm = False
        self._client = self._connect()
        self._moving = gevent.spawn(self._move)

    def calm_down(self) -> None:
        """No more changes of its own will."""
        self._calm = True

    def close(self) -> None:
        self._moving.kill()
        self._client.close()

    def _connect(self) -> Client:
        client = Client(
            mine["url"],
            transport=self._transport,
            timeout=4.0,
            inbox=20 if self._random.random() < 0.3 else 1000,
            rng=random.Random(self._random.random()),
        )
        self._client = client
        for channel in self._channels:
            self._follow(channel)
        return client

    def _follow(self, channel: str) -> None:
        feed = self._client.subscribe(channel, position=self.positions.get(channel))
        self._feeds[channel] = feed
        self._taking[channel] = gevent.spawn(self._take, channel, feed)

    def _take(self, channel: str, feed: Feed) -> None:
        try:
            if channel not in self.positions:
                self._note(channel, "start", feed.wait(None))
            for item in feed:
                assert isinstance(item, Item | Gap)
                if isinstance(item, Gap):
                    self._note(channel, "gap", item.position)
                else:
                    self._note(channel, "item", item.position, str(item.data).split(" ")[0])
        except ClientError as error:
            if feed is self._feeds.get(channel):
                did[f"feeds ended: {error}"] += 1
                gevent.spawn_later(0.5, self._follow_again, channel, feed)

    def _follow_again(self, channel: str, feed: Feed) -> None:
        if feed is self._feeds.get(channel):
            try:
                self._follow(channel)
            except ClientError:
                gevent.spawn_later(0.5, self._renew)

    def _note(self, channel: str, kind: str, position: str, payload: str = "") -> None:
        self.positions[channel] = position
        parsed = Position.parse(position)
        seen = Seen(time.monotonic(), self._name, channel, kind, (parsed.epoch, parsed.offset), payload)
        self._log.write(note_seen(seen))

    # Changes.

    def _move(self) -> None:
        while True:
            gevent.sleep(self._random.uniform(*plan["restless"]))
            if self._calm:
                return
            move = self._random.choice(
                [self._change_transport, self._change_transport, self._leave, self._renew]
            )
            did[move.__name__.strip("_").replace("_", " ")] += 1
            move()

    def _change_transport(self) -> None:
        self._client.use(self._random.choice([*RUNGS, "auto"]))
        gevent.sleep(self._random.uniform(0.5, 3.0))
        self._client.use(self._transport)

    def _leave(self) -> None:
        channel = self._random.choice(self._channels)
        if channel in self.positions:
            feed = self._feeds.pop(channel)
            feed.close()
            self._taking[channel].join()
            gevent.sleep(self._random.uniform(0.0, 1.0))
            self._follow(channel)

    def _renew(self) -> None:
        feeds, self._feeds = self._feeds, {}
        self._client.close(0.5)
        gevent.joinall([self._taking[channel] for channel in feeds], timeout=10)
        self._connect()


def main() -> None:
    with (Path(plan["folder"]) / f"follower-{mine['name']}.log").open("w", buffering=1 << 16) as log:
        followers = {
            name: Follower(name, transport, channels, log) for name, transport, channels in mine["clients"]
        }
        for line in FileObject(sys.stdin.fileno(), "r", closefd=False):
            if line.strip() == "stop":
                break
            if line.strip() == "calm":
                for follower in followers.values():
                    follower.calm_down()
            answer = {name: follower.positions for name, follower in followers.items()}
            print(json.dumps({"positions": answer, "did": did}), flush=True)
        for follower in followers.values():
            follower.calm_down()
        gevent.joinall([gevent.spawn(follower.close) for follower in followers.values()], timeout=10)
    os._exit(0)


if __name__ == "__main__":
    mutants.apply(plan["mutant"])
    main()
