"""Channels with a limit, which must not be followed on the link that we have: each is asked for by GET, by itself."""

from __future__ import annotations

from collections.abc import Callable

from rtbridge.client import events as e
from rtbridge.client.conversation import Channel
from rtbridge.client.core import Core
from rtbridge.client.http import Answer, Exchange, Http, Lost, Response, error_of
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codecs import Codec
from rtbridge.protocol.codes import remedy
from rtbridge.protocol.messages import FollowLimit
from rtbridge.protocol.polls import parse_channel_answer
from rtbridge.protocol.positions import Position
from rtbridge.runtime import Timer

EVERY_AT_LEAST = 0.1
"""Seconds between short polls, whatever the limit says."""
HURRY = 1.0
"""Seconds: a long poll that comes back sooner and with nothing was not parked, and the next one waits so long."""
AFTER_FAILURE = 5.0
"""Seconds until a channel is asked for again, where neither the server nor the limit says."""


class Apart:
    """Follows exactly the channels that have a limit and whose readers have room."""

    def __init__(
        self, core: Core, http: Http, codec: Codec, timeout: float, heard: Callable[[e.Event], None]
    ) -> None:
        self.core = core
        self.http = http
        self.codec = codec
        self.timeout = timeout
        self.heard = heard
        self._followers: dict[str, _Follower] = {}

    def sync(self) -> None:
        """The limits may have changed."""
        wanted = {name: c for name, c in self.core.channels.items() if c.limit is not None and not c.held}
        for name, follower in list(self._followers.items()):
            same = wanted.get(name) is follower.channel and follower.limit == follower.channel.limit
            if follower.over or not same:
                del self._followers[name]
                follower.close()
        for name, channel in wanted.items():
            if name not in self._followers and channel.limit is not None:
                self._followers[name] = _Follower(self, channel, channel.limit)

    def close(self) -> None:
        """Follow nothing."""
        for follower in self._followers.values():
            follower.close()
        self._followers.clear()


class _Follower:
    """Asks for one channel, again and again."""

    def __init__(self, apart: Apart, channel: Channel, limit: FollowLimit) -> None:
        self.channel = channel
        self.limit = limit
        self.over = False
        self._apart = apart
        self._token: str | None = None
        self._etag: str | None = None
        self._exchange: Exchange | None = None
        self._timer: Timer | None = None
        self._asked = 0.0
        self._ask()

    def close(self) -> None:
        if self._exchange is not None:
            self._exchange.cancel()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def _wait(self) -> float:
        terms = self._apart.core.terms
        if self.limit.transport == "shortpoll":
            return 0.0
        return terms.wait if terms is not None else 25.0

    def _ask(self) -> None:
        apart, position = self._apart, self.channel.cursor.position
        self._asked = apart.http.loop.now()
        target = f"channels/{self.channel.name}?" + ("recent=0" if position is None else f"after={position}")
        if self.channel.snapshot:
            target += "&snapshot=1"
        headers = {"Accept": apart.codec.content_type}
        if self._wait:
            target += f"&wait={self._wait:g}"
        elif self._etag is not None:
            headers["If-None-Match"] = self._etag
        token = self._token or apart.core.token
        if token is not None and not self.limit.public:
            headers["Rtbridge-Token"] = token
        self._exchange = apart.http.request(
            "GET",
            target,
            headers,
            timeout=self._wait + apart.timeout,
            on_answer=lambda answer: self._answered(answer, position),
        )

    def _answered(self, answer: Answer, after: Position | None) -> None:
        self._exchange = None
        if isinstance(answer, Lost):
            pause = max(self._every, AFTER_FAILURE)
        elif answer.status == 304:
            pause = self._every
        elif answer.status == 200:
            pause = self._take(answer, after)
        else:
            pause = self._refused(answer)
        core = self._apart.core
        if core.channels.get(self.channel.name) is self.channel and not self.channel.held:
            self._timer = self._apart.http.loop.call_later(pause, self._ask)
        else:
            self.over = True

    def _take(self, answer: Response, after: Position | None) -> float:
        """Merge an answer; seconds until the next question."""
        self._token = answer.headers.get("rtbridge-token", self._token)
        # It names the position that the answer brought us to, after which we ask next: unchanged if nothing came.
        self._etag = answer.headers.get("etag")
        try:
            page = parse_channel_answer(answer.decoded(self._apart.codec))
        except ProtocolError:
            return max(self._every, AFTER_FAILURE)
        for event in self._apart.core.receive_apart(self.channel.name, page, after):
            self._apart.heard(event)
        if page.more:
            return 0.0
        if self.limit.transport == "shortpoll":
            return self._every
        parked = page.publications or self._apart.http.loop.now() - self._asked >= HURRY
        return 0.0 if parked else HURRY

    def _refused(self, answer: Response) -> float:
        """The server does not let us ask: for good, or for now."""
        error = error_of(answer)
        self._token = None
        if error is None:
            return max(self._every, AFTER_FAILURE)
        if remedy(error.code) == "mend":
            for event in self._apart.core.refuse(self.channel.name, error, 0.0):
                self._apart.heard(event)
        return max(self._every, AFTER_FAILURE if error.retry_after is None else error.retry_after)

    @property
    def _every(self) -> float:
        return max(EVERY_AT_LEAST, self.limit.every)
