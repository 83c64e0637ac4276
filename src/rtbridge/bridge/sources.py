"""Sources at work: in one process of the fleet for each channel, and only while somebody watches it.

A process in which somebody watches a channel wants to run its source. It has to hold the channel's *post*: a
record on the bus that expires after `every` seconds unless it is renewed, which it is twice as often. So the source
of a process that died moves to another one that is watching, within twice `every`; and where nobody watches, nobody
tries. A short poll counts as watching for twice `every`.

Nobody can publish over a newer value, however long it was stopped between its query and its `publish`: it first
renews the post, which fails where another has it; and it publishes under a key that names the position it saw the
channel at, so that of two who saw the same only one is heard. What is compared with is the channel's own newest
value, so that whatever else happens to it is mended by the next run.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from rtbridge.bus.contract import Bus
from rtbridge.config import Limits
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.registry import Registry
from rtbridge.contract.sources import SourceDeclaration
from rtbridge.errors import BusError, DataError
from rtbridge.fanout import Fanout
from rtbridge.fanout.asking import Asker
from rtbridge.frameworks import Framework
from rtbridge.metrics import Metrics
from rtbridge.runtime import Loop

_log = logging.getLogger("rtbridge")
_KEEPERS = 2  # questions about posts at the same time
_EARLY = 0.001  # seconds that a timer may be early
_LEAVE = 0.01  # seconds until a post that was left is free


@dataclass(slots=True, eq=False)
class Post:
    """One source of one channel, in this process.

    Attributes:
        held: the record's value while the post is ours; None while it is not.
        asking: the bus is being asked about the post.
        running: the function runs.
        due: when the function is to run next.
        failures: in a row.
    """

    channel: str
    source: SourceDeclaration
    params: Mapping[str, object]
    held: bytes | None = None
    asking: bool = False
    running: bool = False
    due: float = 0.0
    failures: int = 0

    @property
    def key(self) -> str:
        return f"source:{self.channel}"


class Sources:
    """The sources of a process. In the turn, but for what runs as a job.

    Counts `source_runs`, `source_failures` and `source_publications`; shows `source_posts`, those held here.

    Args:
        declared: by the channel they belong to.
        framework: what the site around us is, for the surroundings that its code expects.
    """

    def __init__(
        self,
        declared: Mapping[ChannelDeclaration, SourceDeclaration],
        registry: Registry,
        bus: Bus,
        fanout: Fanout,
        loop: Loop,
        limits: Limits,
        metrics: Metrics,
        framework: Callable[[], Framework],
    ) -> None:
        self._declared = declared
        self._registry = registry
        self._bus = bus
        self._fanout = fanout
        self._loop = loop
        self._limits = limits
        self._metrics = metrics
        self._framework = framework
        self._process = secrets.token_urlsafe(9)
        self._taken = 0
        self._posts: dict[str, Post] = {}
        self._keepers = Asker(loop, bus.blocking, _KEEPERS)
        self._runners = Asker(loop, True, max(1, limits.source_workers))

    def watched(self, channel: str) -> None:
        """(Fanout's callback.) Somebody here has begun to watch a channel."""
        if not self._declared or channel in self._posts:
            return
        found = self._registry.channel_for(channel)
        source = None if found is None else self._declared.get(found[0])
        if found is not None and source is not None:
            post = self._posts[channel] = Post(channel, source, found[1])
            self._loop.call_soon(self._look, post)

    def _look(self, post: Post) -> None:
        """Every half of `every`: keep the post or try to get it, while somebody watches."""
        every = post.source.every
        wanted = self._fanout.wanted(post.channel, 2 * every)
        if wanted is None and post.held is None:
            del self._posts[post.channel]
            return
        self._loop.call_later(every / 2, self._look, post)
        if post.asking or (post.held is None and not wanted):
            return
        post.asking = True
        if wanted:
            self._keepers.ask(partial(self._keep, post, post.held), partial(self._kept, post))
        else:
            self._keepers.ask(partial(self._leave, post, post.held), partial(self._kept, post))

    def _keep(self, post: Post, held: bytes | None) -> bytes | None:
        """Renew the post, or take it if it is free; the value it is held with, None if it is another's. A job."""
        ttl = post.source.every
        if held is not None and self._bus.replace(post.key, held, held, ttl):
            return held
        self._taken += 1
        mine = f"{self._process}.{self._taken}".encode()
        return mine if self._bus.add(post.key, mine, ttl) is None else None

    def _leave(self, post: Post, held: bytes | None) -> None:
        if held is not None:
            self._bus.replace(post.key, held, held, _LEAVE)

    def _kept(self, post: Post, held: bytes | BusError | None) -> None:
        post.asking = False
        if isinstance(held, BusError):
            return  # out of reach: nothing can be published either
        if held != post.held:
            post.held = held
            post.due = 0.0
            self._metrics.gauge("source_posts", sum(each.held is not None for each in self._posts.values()))
        self._run_if_due(post)

    def _run_if_due(self, post: Post) -> None:
        if post.held is None or post.running or self._loop.now() < post.due - _EARLY:
            return
        post.running = True
        begun = self._loop.now()
        self._runners.ask(partial(self._run, post, post.held), partial(self._ran, post, begun))

    def _run(self, post: Post, held: bytes) -> bool | None:
        """A job: ask, compare, publish.

        Returns:
            Whether it published; None if the function failed.
        """
        source, channel = post.source, post.channel
        if not self._bus.replace(post.key, held, held, source.every):
            return False  # we were stopped, and another has the post
        newest = self._bus.read(channel, None, 1)
        try:
            with self._framework().around({}):
                data = source.take(post.params)
            if len(data) > self._limits.max_publication:
                raise DataError(
                    f"{source.what} gave {len(data)} bytes, "
                    f"over limits.max_publication = {self._limits.max_publication}"
                )
        except Exception:
            _log.exception("%s failed for %r", source.what, channel)
            return None
        publications = getattr(newest, "publications", ())
        if publications and publications[-1].data == data:
            return False
        if not self._bus.replace(post.key, held, held, source.every):
            return False  # it took so long that another has the post
        self._bus.publish(channel, data, source.channel.keep, key=f"source:{newest.position}")
        return True

    def _ran(self, post: Post, begun: float, published: bool | BusError | None) -> None:
        post.running = False
        self._metrics.add("source_runs")
        every = post.source.every
        if published is None:
            self._metrics.add("source_failures")
            post.failures += 1
            pause = min(every * 2.0 ** min(post.failures, 30), max(every, self._limits.source_backoff))
            post.due = self._loop.now() + pause
        elif isinstance(published, BusError):
            post.due = self._loop.now() + every
        else:
            post.failures = 0
            post.due = begun + every
            if published:
                self._metrics.add("source_publications")
                self._metrics.add("publications")
        self._loop.call_later(max(0.0, post.due - self._loop.now()), self._run_if_due, post)
