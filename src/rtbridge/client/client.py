"""The Python client: follow channels and make calls, from any thread or greenlet, over whatever transport works.

    with Client("https://example.org/rt/", headers={"Cookie": "sessionid=…"}) as client:
        for photo in client.subscribe("groups/7/photos"):
            comment = client.call("photos.comment", {"photo_id": photo.data["id"], "text": "wow"})

How to read this package: `core` is what is followed and called, `link` one connection of it, `switch` chooses among
links, `websocket`, `eventstream` and `polling` are the links, `apart` asks for the channels that no link may carry.
All of that lives in the turn of one loop, which is one background thread, or under gevent one greenlet. This
module is the bridge between it and the threads of the application.
"""

from __future__ import annotations

import random
import re
import secrets
import ssl
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version

from rtbridge.client import events as e
from rtbridge.client.apart import Apart
from rtbridge.client.callbacks import Callbacks
from rtbridge.client.conversation import PendingCall
from rtbridge.client.core import Core
from rtbridge.client.errors import CallError, ClientError, ConnectionStopped, FeedClosed, FeedError, not_sent
from rtbridge.client.eventstream import EventStreamLink
from rtbridge.client.feed import INBOX, Feed, Gap, Item, Snapshot
from rtbridge.client.http import Http
from rtbridge.client.ladder import RUNGS, Ladder
from rtbridge.client.link import Link
from rtbridge.client.origin import origin_of
from rtbridge.client.people import People
from rtbridge.client.polling import PollLink
from rtbridge.client.switch import Status, Switch
from rtbridge.client.websocket import WebSocketLink
from rtbridge.errors import ProtocolError
from rtbridge.protocol import data as _data
from rtbridge.protocol.channels import check_channel
from rtbridge.protocol.codecs import codec_named
from rtbridge.protocol.messages import Call
from rtbridge.protocol.positions import Position
from rtbridge.runtime import Loop, Mailbox, choose_loop

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Client(People):
    """A session with one server. It connects at once, and again whenever it has to, until `close`.

    Args:
        url: of the mount, for example `http://localhost:8000/rt/`.
        transport: `auto`, or the only one to use: `websocket`, `eventstream`, `longpoll`, `shortpoll`.
        codec: `json`, or `msgpack` for channels that carry bytes.
        headers: sent with every request; what makes the server know the user: `Cookie`, `Authorization`.
        token: where the site hands out tokens (`token_for`): fetches one, given the one we had, or None. Called in a
            thread (greenlet) of its own whenever another is needed, and again after a pause if it raises.
        timeout: seconds for a connection to open, and for an answer beyond the time the server may hold it.
        inbox: items that wait for a slow reader of one feed, before its channel is put on hold.
        tls: for https, instead of the standard library's default.
        loop: for tests; otherwise the one that belongs here, for threads or for gevent.
        rng: for tests; the source of jitter.

    Raises:
        ValueError: one of these cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: str = "auto",
        codec: str = "json",
        headers: Mapping[str, str] | None = None,
        token: Callable[[str | None], str] | None = None,
        timeout: float = 10.0,
        inbox: int = INBOX,
        tls: ssl.SSLContext | None = None,
        loop: Loop | None = None,
        rng: random.Random | None = None,
    ) -> None:
        ladder = Ladder(transport, (rng or random.Random()).uniform)
        chosen = codec_named(codec)
        if chosen is None:
            raise ValueError(f"no such codec: {codec!r}; there are json, and msgpack with rtbridge[msgpack]")
        self._codec = chosen
        self._headers = _checked(headers or {})
        self._origin = origin_of(url, tls)
        self._timeout = timeout
        self._inbox = inbox
        self._loop = loop or choose_loop()
        self._core = Core(secrets.token_urlsafe(12), _agent(), by_site=token is not None)
        self._http = Http(self._loop, self._origin, self._headers, timeout)
        self._apart = Apart(self._core, self._http, chosen, timeout, self.heard)
        self._switch = Switch(self._loop, self._core, ladder, self, self._make_link, token)
        self._feeds: dict[str, Feed] = {}
        self._answers: dict[str, Mailbox] = {}
        self._waiters: list[tuple[str | None, Mailbox]] = []
        self._stopped: ClientError | None = None
        self._closed = False
        self._loop.call_soon(self._switch.start)

    # -- for the application, from any thread -------------------------------------------------------------

    @property
    def status(self) -> Status:
        """How the client is connected now."""
        return self._switch.status

    @property
    def client_id(self) -> str | None:
        """Who the server says we are; None until it said so."""
        return self._core.client_id

    def subscribe(
        self,
        channel: str,
        on_publication: Callable[[Item], object] | None = None,
        *,
        on_gap: Callable[[Gap], object] | None = None,
        on_snapshot: Callable[[Snapshot], object] | None = None,
        position: str | None = None,
        recent: int | None = None,
        snapshot: bool = False,
        presence: Mapping[str, object] | None = None,
    ) -> Feed:
        """Follow a channel.

        Args:
            on_publication: called for each publication, in a thread (greenlet) of the feed's own, one at a time. Do
                not iterate over the feed then. What it raises is logged.
            on_gap: called where something was lost, in the same thread.
            on_snapshot: called for each snapshot, in the same thread; asks for them as `snapshot` does.
            position: follow from here, a `position` of an earlier item or feed; else from now on.
            recent: begin with so many of the newest. Not with `position`.
            snapshot: begin with the channel's state, and get it anew where something was lost, if the channel
                has such; else it is as without.
            presence: what to tell of us to those who ask who is on the channel; `present` changes it.

        Returns:
            The feed, at once; `feed.wait()` waits until the server has confirmed it.

        Raises:
            ValueError: a malformed channel or position, or a channel that this client follows already.
            ClientError: the client is closed or was stopped.
        """
        start = _checked_start(channel, position, recent)
        self._check_open()
        feed = Feed(
            channel,
            position,
            self._loop,
            close=lambda: self._loop.call_soon(self._unfollow, feed),
            drained=lambda: self._loop.call_soon(self._release, feed),
            inbox=self._inbox,
        )
        if self._feeds.setdefault(channel, feed) is not feed:
            raise ValueError(f"{channel} is followed already; one feed for each channel of a client")
        callbacks = Callbacks(on_publication, on_gap, on_snapshot)
        about = None if presence is None else dict(presence)
        self._loop.call_soon(self._follow, feed, start, recent, snapshot or on_snapshot is not None, about)
        if callbacks.any:
            self._loop.spawn(callbacks.serve, feed)
        return feed

    def call(
        self,
        name: str,
        params: Mapping[str, object] | None = None,
        *,
        timeout: float = 30.0,
        call_id: str | None = None,
    ) -> object:
        """Ask the application to do something, and wait for what it returns.

        Whatever happens on the way, on whichever transport, it is the same call, and it runs at most once.

        Args:
            params: by name; plain values and bytes.
            timeout: seconds, in which a lost connection may come back.
            call_id: 8 to 64 of `A-Z a-z 0-9 _ -`, to recognise the `cause` of publications; random by default.

        Raises:
            CallError: there is no result; its `code` says what to do.
            DataError: the params cannot travel.
        """
        values = dict(params or {})
        call_id = call_id or secrets.token_urlsafe(16)
        self._codec.encode_command(Call(1, call_id, name, values))  # here, where it can be told
        self._check_open()
        box = self._loop.mailbox()
        self._loop.call_soon(self._begin_call, PendingCall(call_id, name, values, timeout), box)
        answer = box.get(timeout)
        if answer is None:
            self._loop.call_soon(self._give_up, call_id, box, f"no answer within {timeout:g} s")
            answer = box.get(self._timeout)
        if isinstance(answer, CallError):
            raise answer
        if isinstance(answer, bytes):
            return _data.decode(answer)
        raise not_sent(name, "the client was closed")

    def use(self, transport: str) -> None:
        """Change the transport in mid-stream; nothing is lost. `auto` leaves the choice to the client again.

        Returns at once: the old connection delivers until the new one is open, see `wait_until_open`.

        Raises:
            ValueError: there is no such transport.
        """
        if transport != "auto" and transport not in RUNGS:
            raise ValueError(f"no such transport: {transport!r}; there are auto, {', '.join(RUNGS)}")
        self._loop.call_soon(self._switch.use, transport)

    def wait_until_open(self, transport: str | None = None, timeout: float = 10.0) -> Status:
        """Wait until a connection is open, or the one of `transport`.

        Raises:
            TimeoutError: not within `timeout` seconds; it says what went wrong last.
            ConnectionStopped: the server does not want us back.
        """
        self._check_open()
        box = self._loop.mailbox()
        self._loop.call_soon(self._await, transport, box)
        answer = box.get(timeout)
        if isinstance(answer, Status):
            return answer
        if isinstance(answer, ClientError):
            raise answer
        status = self.status
        raise TimeoutError(
            f"not connected{f' by {transport}' if transport else ''} within {timeout:g} s: "
            f"{status.state}, {status.error or 'no error'}"
        )

    def close(self, timeout: float = 2.0) -> None:
        """End the session; feeds end, calls that wait fail.

        Args:
            timeout: seconds to wait until the server heard it. If it does not hear, it finds out by itself.
        """
        if self._closed:
            return
        self._closed = True
        box = self._loop.mailbox()
        self._loop.call_soon(self._switch.close, lambda: box.put(True))
        box.get(timeout)
        self._loop.call_soon(self._shut, box)
        box.get(timeout)
        self._loop.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientError("the client was closed")
        if self._stopped is not None:
            raise self._stopped.with_traceback(None)

    # -- in the turn --------------------------------------------------------------------------------------

    def heard(self, event: e.Event) -> None:
        """What the links and the channels apart bring."""
        if isinstance(event, e.CallOver):
            box = self._answers.pop(event.call_id, None)
            if box is not None:
                box.put(event.answer)
            return
        feed = self._feeds.get(getattr(event, "channel", ""))
        if feed is None:
            return
        if isinstance(event, e.Delivered):
            feed.put(event.epoch, event.publications)
            if feed.full():
                self._core.hold(feed.channel)
        elif isinstance(event, e.GapFound):
            feed.put_gap(event.position)
        elif isinstance(event, e.SnapshotFound):
            feed.put_snapshot(event.position, event.data, event.gap)
        elif isinstance(event, e.Confirmed):
            feed.confirm(event.position)
            self._apart.sync()
        elif isinstance(event, e.FeedOver):
            del self._feeds[feed.channel]
            feed.finish(FeedError(event.channel, event.code, event.message))
            self._apart.sync()

    def changed(self, status: Status) -> None:
        """The switch has another status."""
        for waiter in list(self._waiters):
            if _suits(status, waiter[0]):
                self._waiters.remove(waiter)
                waiter[1].put(status)

    def stopped(self, ending: e.Ending) -> None:
        """The server does not want us back."""
        self._finish(ConnectionStopped(f"the server ended it: {ending.message}", ending.code))

    def _make_link(self, transport: str, owner: Switch) -> Link:
        core, codec, timeout = self._core, self._codec, self._timeout
        if transport == "websocket":
            return WebSocketLink(owner, core, self._loop, codec, timeout, self._origin, self._headers)
        if transport == "eventstream":
            return EventStreamLink(owner, core, codec, timeout, self._http)
        return PollLink(transport, owner, core, codec, timeout, self._http)

    def _follow(
        self,
        feed: Feed,
        position: Position | None,
        recent: int | None,
        snapshot: bool,
        presence: dict[str, object] | None,
    ) -> None:
        if self._stopped is not None:
            feed.finish(self._stopped)
            return
        self._core.follow(feed.channel, position, recent, snapshot, presence)
        self._stir()

    def _unfollow(self, feed: Feed) -> None:
        if self._feeds.get(feed.channel) is feed:
            del self._feeds[feed.channel]
            self._core.unfollow(feed.channel)
            feed.finish(FeedClosed(f"the feed of {feed.channel} was closed"))
            self._stir()

    def _release(self, feed: Feed) -> None:
        if self._feeds.get(feed.channel) is feed:
            self._core.release(feed.channel)
            self._stir()

    def _stir(self) -> None:
        self._switch.stir()
        self._apart.sync()

    def _begin_call(self, call: PendingCall, box: Mailbox) -> None:
        if self._stopped is not None:
            box.put(not_sent(call.name, self._stopped.args[0]))
            return
        call.deadline += self._loop.now()
        self._core.calls[call.call_id] = call
        self._answers[call.call_id] = box
        self._switch.stir()

    def _give_up(self, call_id: str, box: Mailbox, why: str) -> None:
        self._answers.pop(call_id, None)
        error = self._core.forget(call_id, f"{why} ({self.status.error or self.status.state})")
        if error is not None:  # otherwise the answer came in this very moment and is in the box
            box.put(error)

    def _await(self, transport: str | None, box: Mailbox) -> None:
        if self._stopped is not None:
            box.put(self._stopped)
        elif _suits(self._switch.status, transport):
            box.put(self._switch.status)
        else:
            self._waiters.append((transport, box))

    def _finish(self, error: ClientError) -> None:
        """Nothing more will come for anybody."""
        self._stopped = error
        self._apart.close()
        self._http.close()
        for feed in self._feeds.values():
            feed.finish(error)
        self._feeds.clear()
        for call_id, box in list(self._answers.items()):
            self._give_up(call_id, box, str(error))
        for _, box in self._waiters:
            box.put(error)
        self._waiters.clear()

    def _shut(self, box: Mailbox) -> None:
        self._switch.shut("closed")
        if self._stopped is None:
            self._finish(FeedClosed("the client was closed"))
        box.put(True)


def connect(url: str, **options: object) -> Client:
    """A `Client` that has connected already; the options are the client's, and its `timeout` the time for it.

    Raises:
        TimeoutError: it could not connect in time.
        ConnectionStopped: the server refused for good.
    """
    client = Client(url, **options)  # type: ignore[arg-type]
    try:
        client.wait_until_open(timeout=client._timeout)
    except BaseException:
        client.close()
        raise
    return client


def _suits(status: Status, transport: str | None) -> bool:
    return status.state == "open" and transport in (None, status.transport)


def _agent() -> str:
    try:
        return f"rtbridge-python/{version('rtbridge')}"
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "rtbridge-python"


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if _HEADER.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise ValueError(f"the header {name!r} cannot be sent")
    return dict(headers)


def _checked_start(channel: str, position: str | None, recent: int | None) -> Position | None:
    if position is not None and recent is not None:
        raise ValueError("recent goes without position only")
    if recent is not None and recent < 0:
        raise ValueError("recent is a count")
    try:
        check_channel(channel)
        return None if position is None else Position.parse(position)
    except ProtocolError as error:
        raise ValueError(f"{channel!r}, {position!r}: {error.message}") from None
