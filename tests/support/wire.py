"""A client in a few lines, which speaks the protocol as its page says and knows nothing of the library.

Messages are plain dicts. `hello()` and `subscribe(...)` make commands; `poll`, `Stream` and `Socket` carry them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_websocket

Message = dict[str, Any]
PATIENCE = 10.0


class Answer:
    """What came back over HTTP."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


def request(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
) -> Answer:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def hello(**fields: Any) -> Message:
    return {"type": "hello", "id": 1, "version": 1, "instance": secrets.token_urlsafe(9), **fields}


def subscribe(channel: str, position: str | None = None, **fields: Any) -> Message:
    message = {"type": "subscribe", "channel": channel, **fields}
    return message if position is None else {**message, "position": position}


def call(name: str, params: Message, id: int = 7) -> Message:
    return {"type": "call", "id": id, "call_id": secrets.token_urlsafe(12), "name": name, "params": params}


JSON = {"Content-Type": "application/json"}


def poll(
    port: int, *commands: Message, wait: float = 0, headers: Mapping[str, str] | None = None
) -> list[Message]:
    """One poll: what it was answered."""
    return whole_poll(port, *commands, wait=wait, headers=headers)["messages"]


def whole_poll(
    port: int, *commands: Message, wait: float = 0, headers: Mapping[str, str] | None = None
) -> Message:
    """One poll: its answer, with the fields beside `messages`."""
    body = json.dumps({"wait": wait, "commands": list(commands) or [hello()]}).encode()
    answer = request(port, "POST", "/rt/poll", body, {**JSON, **(headers or {})}, timeout=wait + PATIENCE)
    assert answer.status == 200, (answer.status, answer.body)
    return answer.json()


def first(messages: list[Message], type_: str) -> Message:
    found = [message for message in messages if message["type"] == type_]
    assert found, f"no {type_} in {messages}"
    return found[0]


class _Conversation:
    """What stream and socket have in common: waiting for the message one is after."""

    def _receive(self, timeout: float) -> Message:
        raise NotImplementedError

    def until(self, type_: str, such: Callable[[Message], bool] = lambda _: True) -> Message:
        """The next message of this type that is such; pings and others are passed over."""
        end = time.monotonic() + PATIENCE
        seen = []
        while (left := end - time.monotonic()) > 0:
            try:
                message = self._receive(left)
            except TimeoutError:
                break
            if message["type"] == type_ and such(message):
                return message
            seen.append(message)
        raise AssertionError(f"no {type_} came within {PATIENCE:g} s, only {seen}")

    def published(self, channel: str) -> Any:
        """The data of the next publication in a channel."""
        push = self.until("publications", lambda message: message["channel"] == channel)
        return push["publications"][0]["data"]


class Stream(_Conversation):
    """An event stream by POST."""

    def __init__(self, port: int, *commands: Message, headers: Mapping[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        body = json.dumps({"commands": list(commands)}).encode()
        self._connection.request(
            "POST", "/rt/poll", body, {**JSON, "Accept": "text/event-stream", **(headers or {})}
        )
        self._response = self._connection.getresponse()
        assert self._response.status == 200, (self._response.status, self._response.read())
        assert self._response.headers.get_content_type() == "text/event-stream"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def _receive(self, timeout: float) -> Message:
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout)
        while True:
            line = self._response.readline()
            if not line:
                raise AssertionError("the stream ended")
            if line.startswith(b"data:"):
                return json.loads(line[5:])


class Socket(_Conversation):
    """A WebSocket."""

    def __init__(self, port: int, *commands: Message, headers: Mapping[str, str] | None = None) -> None:
        url = f"ws://127.0.0.1:{port}/rt/ws?version=1&codec=json"
        connecting = connect_websocket(
            url, additional_headers=dict(headers or {}), compression=None, ping_interval=None, proxy=None
        )
        self._socket = connecting.__enter__()  # its newer versions want to be asked like this
        self.send(*commands)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def closed(self) -> int:
        """The code that the server closes it with; what comes before is passed over."""
        end = time.monotonic() + PATIENCE
        try:
            while (left := end - time.monotonic()) > 0:
                self._socket.recv(left)
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else 1006
        except TimeoutError:
            pass
        raise AssertionError(f"not closed within {PATIENCE:g} s")

    def send(self, *commands: Message) -> None:
        self._socket.send(json.dumps(list(commands)))

    def _receive(self, timeout: float) -> Message:
        message = json.loads(self._socket.recv(timeout))
        if message["type"] == "ping":
            self.send({"type": "pong"})
        return message


@contextlib.contextmanager
def following(
    transport: str, port: int, channel: str, headers: Mapping[str, str] | None = None
) -> Iterator[Callable[[], Any]]:
    """Follow a channel on any transport; what is yielded waits for its next publication and returns the data."""
    opened = first(poll(port, hello(), subscribe(channel, id=2), headers=headers), "subscribed")
    commands = hello(), subscribe(channel, opened["position"])
    if transport in ("websocket", "eventstream"):
        kind = Socket if transport == "websocket" else Stream
        with kind(port, *commands, headers=headers) as conversation:
            assert conversation.until("hello")["transport"] == transport
            yield lambda: conversation.published(channel)
        return
    position = opened["position"]

    def by_polling() -> Any:
        nonlocal position
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            wait = 5 if transport == "longpoll" else 0
            answer = whole_poll(port, hello(), subscribe(channel, position), wait=wait, headers=headers)
            full = "interval" in answer  # no room to wait: the server says when to come again
            assert full or first(answer["messages"], "hello")["transport"] == transport
            for message in answer["messages"]:
                if message["type"] == "publications":
                    position = message["position"]
                    return message["publications"][0]["data"]
            time.sleep(answer.get("interval", 0.05))
        raise AssertionError(f"nothing was published in {channel} within {PATIENCE:g} s")

    yield by_polling
