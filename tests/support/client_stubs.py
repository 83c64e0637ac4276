"""What surrounds the client's links in tests: an owner that remembers, and HTTP that answers when the test says so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rtbridge.client import events as e
from rtbridge.client.http import Answer, Lost, Response
from rtbridge.client.link import Link
from support.fakeloop import FakeLoop


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for something that nothing announces."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


class StubOwner:
    """Remembers what a link reports."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.events: list[e.Event] = []
        self.ending: e.Ending | None = None

    def opened(self, link: Link) -> None:
        self.log.append("opened")

    def heard(self, event: e.Event) -> None:
        self.events.append(event)

    def outdated(self, link: Link) -> None:
        self.log.append("outdated")

    def ended(self, link: Link, ending: e.Ending) -> None:
        self.log.append("ended")
        self.ending = ending


@dataclass
class StubExchange:
    """A request; the test answers it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: Any
    timeout: float
    on_answer: Callable[[Answer], None]
    on_part: Callable[[bytes], None] | None
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True

    @property
    def commands(self) -> list[dict[str, Any]]:
        """Without the hello, which opens every poll."""
        commands: list[dict[str, Any]] = self.body["commands"]
        assert commands[0]["type"] == "hello"
        return commands[1:]

    def answer(self, *messages: dict[str, Any], interval: float | None = None) -> None:
        """Answer a poll with a hello and these messages."""
        body: dict[str, Any] = {"messages": [self.hello(), *messages]}
        if interval is not None:
            body["interval"] = interval
        self.reply(body)

    def reply(self, body: Any, status: int = 200, **headers: str) -> None:
        """Answer with a body: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.on_answer(Response(status, {"content-type": "application/json", **headers}, raw))

    def refuse(self, code: int, status: int = 400, **fields: Any) -> None:
        self.reply({"error": {"code": code, "reason": "", "message": "no", **fields}}, status)

    def lose(self) -> None:
        self.on_answer(Lost("gone", True))

    def stream(self, *messages: dict[str, Any]) -> None:
        assert self.on_part is not None
        self.on_part(b"".join(b"data: " + json.dumps(message).encode() + b"\n\n" for message in messages))

    def hello(self, **fields: Any) -> dict[str, Any]:
        return hello_reply(self.body["commands"][0]["id"], **fields)


def hello_reply(command_id: int, **fields: Any) -> dict[str, Any]:
    return {
        "type": "hello", "id": command_id, "version": 1, "client_id": "c-1", "resumed": True, "token": "t-1",
        "expires_in": 300, "transport": "longpoll", "offers": ["websocket", "eventstream", "longpoll", "shortpoll"],
        "ping": 25, "wait": 25, "interval": 5, **fields,
    }  # fmt: skip


class StubHttp:
    """In place of `rtbridge.client.http.Http`."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.exchanges: list[StubExchange] = []

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout: float,
        on_answer: Callable[[Answer], None],
        on_part: Callable[[bytes], None] | None = None,
    ) -> StubExchange:
        decoded = json.loads(body) if body else None
        self.exchanges.append(StubExchange(method, target, headers, decoded, timeout, on_answer, on_part))
        return self.exchanges[-1]

    @property
    def last(self) -> StubExchange:
        return self.exchanges[-1]
