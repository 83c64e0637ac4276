"""A bridge's inside, made for a test: real registry, bus, fanout and sessions, on a loop whose time the test tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rtbridge.bus.memory import MemoryBus
from rtbridge.config import Limits
from rtbridge.contract.calls import CallDeclaration
from rtbridge.contract.channels import ChannelDeclaration
from rtbridge.contract.presence_channel import PresenceChannel
from rtbridge.contract.registry import Registry
from rtbridge.contract.tokens import Tokens
from rtbridge.fanout import Fanout
from rtbridge.metrics import Metrics
from rtbridge.protocol.codecs import codec_named
from rtbridge.protocol.positions import Position
from rtbridge.session.access import Access
from rtbridge.session.calls import CallRunner
from rtbridge.session.hooks import SessionHooks
from rtbridge.session.outlet import Wire
from rtbridge.session.rosters import Rosters, presence_keep, snapshot_of
from rtbridge.session.services import Services
from rtbridge.session.session import Session
from support.fakeloop import FakeLoop


class FakeSite:
    """A framework whose user is the `USER` of the environ; counts how often it was asked."""

    name = "fake"

    def __init__(self) -> None:
        self.asked = 0

    def secret(self) -> list[str]:
        return ["a secret for tests"]

    def authenticate(self, environ: Mapping[str, Any]) -> object:
        self.asked += 1
        return environ.get("USER")

    def user_id(self, user: object) -> str | None:
        return str(user)

    def credentials(self, environ: Mapping[str, Any]) -> str:
        return str(environ.get("USER", ""))

    def around(self, environ: Mapping[str, Any]) -> AbstractContextManager[object]:
        return nullcontext()

    def after_commit(self, function: Callable[[], object]) -> None:
        function()


class House:
    """Everything below the transports. `wall` is the loop's clock, so that advancing it lets tokens expire."""

    def __init__(
        self, limits: Limits | None = None, *, loop: FakeLoop | None = None, bus: Any = None
    ) -> None:
        self.limits = limits or Limits()
        self.loop = loop or FakeLoop()
        self.site = FakeSite()
        self.registry = Registry()
        self.metrics = Metrics()
        self.bus = bus if bus is not None else MemoryBus(self.limits, clock=self.loop.now)
        self.fanout = Fanout(self.bus, self.loop, self.limits, self.metrics)
        self.bus.listen(self.fanout)
        tokens = Tokens(self.site.secret(), self.limits.token_ttl, self.loop.now)
        self.access = Access(self.site, None, tokens, self.limits, self.loop.now)
        self.hooks = SessionHooks(self.bus, self.loop, self.limits, lambda: self.site)
        calls = CallRunner(self.bus, self.loop, self.limits, self.metrics)
        self.services = Services(
            self.registry, self.access, self.bus, self.fanout, self.loop, calls, self.hooks, self.limits, self.metrics
        )  # fmt: skip

    def channel(self, pattern: str, type_: Any = Any, **options: Any) -> ChannelDeclaration:
        declared = ChannelDeclaration(pattern, type_, limits=self.limits, **options)
        self.registry.add_channel(declared)
        if declared.presence_told is not None:
            rosters = Rosters(self.bus, self.limits)
            read = PresenceChannel(declared, presence_keep(), lambda name: snapshot_of(rosters.read(name)))
            self.registry.add_channel(read)
        return declared

    def call(self, name: str, function: Callable[..., Any], **options: Any) -> None:
        self.registry.add_call(CallDeclaration(name, function, **options))

    def publish(self, channel: str, value: object) -> Position:
        found = self.registry.channel_for(channel)
        assert found is not None
        return self.bus.publish(channel, found[0].schema.dump(value), found[0].keep)

    def client(self, transport: str = "websocket", environ: Mapping[str, Any] | None = None) -> StubClient:
        return StubClient(self, transport, environ or {})


class StubClient:
    """A connection that takes whatever its session has, unless `blocked`; it keeps the decoded messages."""

    def __init__(self, house: House, transport: str, environ: Mapping[str, Any]) -> None:
        codec = codec_named("json")
        assert codec is not None
        self.house = house
        self.transport = transport
        self.wire = Wire(f"test/{transport}", codec, lambda message: message)
        self.blocked = False
        self.messages: list[dict[str, Any]] = []
        self.ended: tuple[int, str] | None = None
        self.session = Session(house.services, self, environ)

    # What the session calls.

    def due(self) -> None:
        self.house.loop.call_soon(self._take)

    def run(self, job: Callable[[], None]) -> None:
        self.house.loop.spawn(job)

    def finish(self, code: int, message: str, retry_after: float | None) -> None:
        self._take()
        self.ended = (int(code), message)

    def _take(self) -> None:
        while not self.blocked:
            pieces = [*self.session.take_greeting(), *self.session.collect(65_536)]
            self.messages += [json.loads(piece) for piece in pieces]
            if not self.session.more:
                return

    # What tests call.

    def send(self, *commands: dict[str, Any]) -> list[dict[str, Any]]:
        """Send commands, let everything happen, return what came."""
        self.session.receive(commands)
        return self.take()

    def take(self) -> list[dict[str, Any]]:
        """Let everything happen, return what came since the last look."""
        self.house.loop.run()
        messages, self.messages = self.messages, []
        return messages

    def hello(self, token: str | None = None, instance: str = "instance-1") -> dict[str, Any]:
        command = {"type": "hello", "id": 1, "version": 1, "instance": instance}
        (reply,) = self.send(command if token is None else {**command, "token": token})
        return reply

    def unblock(self) -> list[dict[str, Any]]:
        self.blocked = False
        self.due()
        return self.take()
