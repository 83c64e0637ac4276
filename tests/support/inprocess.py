"""A WSGI server of one call: asks an application in this process, with the standard library's validator around it."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from wsgiref.validate import validator

from rtbridge import Bridge

WSGIApp = Callable[..., Iterable[bytes]]
PATIENCE = 10.0
"""Seconds after which a test gives up."""


def make_environ(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    script_name: str = "",
    multithread: bool = True,
) -> dict[str, Any]:
    split = urlsplit(url)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": script_name,
        "PATH_INFO": split.path,
        "QUERY_STRING": split.query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "testserver",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if body or method == "POST":
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key] = value
    return environ


class Answer:
    """A response whose body is read piece by piece, or all at once by `body`. Close it, or use it in a `with`."""

    def __init__(self, app: WSGIApp, environ: dict[str, Any]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.header_list: list[tuple[str, str]] = []
        self._written: list[bytes] = []
        self._result = app(environ, self._start_response)
        self._pieces: Iterator[bytes] = iter(self._result)
        self._closed = False

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        assert exc_info is not None or not self.status
        self.status = int(status[:3])
        self.header_list = list(headers)
        self.headers = {}
        for name, value in headers:
            known = self.headers.get(name.lower())
            self.headers[name.lower()] = value if known is None else f"{known}, {value}"
        return self._written.append

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            close = getattr(self._result, "close", None)
            if close is not None:
                close()

    def piece(self) -> bytes | None:
        """The next piece, None at the end."""
        return next(self._pieces, None)

    @property
    def body(self) -> bytes:
        """Everything, and closed."""
        if not self._closed:
            self._written += self._pieces
            self.close()
        return b"".join(self._written)

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks an application, and reads the answer unless it is an event stream.

    `valid`: wraps it in the validator, which raises AssertionError for whatever is not WSGI.
    """

    def __init__(self, app: WSGIApp, *, valid: bool = True, **environ: Any) -> None:
        self.app: WSGIApp = validator(app) if valid else app
        self.environ = environ

    def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        answer = Answer(self.app, make_environ(method, url, headers, body, **self.environ))
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer.body
        return answer

    def get(self, url: str, **headers: str) -> Answer:
        """`If_None_Match="…"` for a header."""
        return self.ask("GET", url, headers)

    def post(self, url: str, value: object, **headers: str) -> Answer:
        return self.ask(
            "POST", url, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()
        )

    def poll(self, *commands: object, wait: float = 0, **headers: str) -> dict[str, Any]:
        answer = self.post("/rt/poll", {"wait": wait, "commands": list(commands)}, **headers)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json()
        return found


class Background:
    """Runs `function` in a thread of its own; `result()` waits for it."""

    def __init__(self, function: Callable[[], Any], name: str | None = None) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        assert self.done, "it still waits"
        if self._error is not None:
            raise self._error
        return self._result


class Joined:
    """Waits, by `wait()`, until one more reader has joined a channel: until somebody is parked, that is."""

    def __init__(self, bridge: Bridge) -> None:
        fanout = bridge.services().fanout
        self._semaphore = threading.Semaphore(0)
        join = fanout.join

        def joining(channel: str, reader: Any) -> None:
            join(channel, reader)
            if channel[0] != "~":
                self._semaphore.release()

        fanout.join = joining  # type: ignore[method-assign]

    def wait(self) -> None:
        assert self._semaphore.acquire(timeout=PATIENCE), "nobody joined"


def settle(bridge: Bridge) -> None:
    """Return when what was published has reached the tails: they follow the bus a moment later."""
    done = threading.Event()
    bridge.services().loop.call_soon(done.set)
    assert done.wait(PATIENCE)


def close(bridge: Bridge) -> None:
    """End the loop's thread, if it was started."""
    if bridge._services is not None:
        bridge._services.loop.close()


HELLO = {"type": "hello", "id": 1, "version": 1, "instance": "instance-1"}


def subscribe(channel: str, position: object = None, **fields: Any) -> dict[str, Any]:
    command = {"type": "subscribe", "channel": channel, **fields}
    return command if position is None else {**command, "position": str(position)}
