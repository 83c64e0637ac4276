"""WebSocket: one socket for everything, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_bytes

from rtbridge.client import events as e
from rtbridge.client.core import Core
from rtbridge.client.http import Response, ending_of
from rtbridge.client.link import Link, Owner
from rtbridge.client.origin import Origin
from rtbridge.client.pipe import Pipe
from rtbridge.client.responses import BadResponse, Done, Head, Part, ResponseParser
from rtbridge.errors import FrameError, HandshakeError, ProtocolError
from rtbridge.protocol import frames
from rtbridge.protocol.codecs import Codec
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.handshake import check_response, client_request
from rtbridge.protocol.messages import Bye, Call, Command, ErrorReply, Pong, parse_server_message
from rtbridge.runtime import Loop, Timer

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message of the server."""
MAX_HEAD = 65_536


class WebSocketLink(Link):
    """See `Link`."""

    def __init__(
        self,
        owner: Owner,
        core: Core,
        loop: Loop,
        codec: Codec,
        timeout: float,
        origin: Origin,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__("websocket", owner, core, loop, codec, timeout)
        self._origin = origin
        self._headers = dict(headers)
        if any(name.lower() == "cookie" for name in headers):
            # With cookies a server takes a socket only from its own site, and we are no other site's page.
            self._headers.setdefault("Origin", origin.site)
        self._pipe: Pipe | None = None
        self._parser: frames.FrameParser | None = None
        self._head = bytearray()
        self._refusal: _Refusal | None = None
        self._key = ""
        self._heard = 0.0
        self._timer: Timer | None = None
        self._sizes: dict[str, int] = {}

    def start(self) -> None:
        self._pipe = Pipe(self.loop, self._origin, self, self.timeout)
        self._timer = self.loop.call_later(self.timeout, self._late)

    def stir(self) -> None:
        if self.is_open and not self.over:
            self._say(self.core.changes(self.conversation, self.loop.now()))

    def disconnect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._pipe is None:
            return
        if self._parser is not None:
            self._pipe.write(frames.close_frame(1000, "", mask=token_bytes(4)))
        if self._pipe.open:
            self._pipe.close_when_sent()
        else:
            self._pipe.close()

    def say_goodbye(self) -> None:
        if self.is_open:
            self._say([Bye()])

    def pinged(self) -> None:
        self._say([Pong()])

    # -- what the pipe calls ------------------------------------------------------------------------------

    def on_open(self) -> None:
        assert self._pipe is not None
        target = f"{self._origin.path}ws?version=1&codec={self.codec.name}"
        request, self._key = client_request(self._origin.authority, target, self._headers)
        self._pipe.write(request)

    def on_bytes(self, data: bytes) -> None:
        if self.over:
            return
        self._heard = self.loop.now()
        try:
            if self._parser is None:
                self._on_head(data)
            else:
                self._on_frames(self._parser, data)
        except FrameError as error:
            self._break(error.code, error.message)
        except ProtocolError as error:
            self.refuse_garbage(error)

    def on_lost(self, why: str) -> None:
        if self._refusal is not None:
            self._refusal.eof()
        assert self._pipe is not None
        self.end(e.Ending("resume", why, reached=self._pipe.reached))

    # -- opening ------------------------------------------------------------------------------------------

    def _on_head(self, data: bytes) -> None:
        if self._refusal is not None:
            self._refusal.feed(data)
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > MAX_HEAD:
                self.end(e.Ending("lower", "the answer to the handshake is too long"))
            return
        head, rest = bytes(self._head[: end + 4]), bytes(self._head[end + 4 :])
        try:
            check_response(head, self._key)
        except HandshakeError as error:
            # Its body may say why; without one, something in between does not carry WebSockets.
            self._refusal = _Refusal(self, e.Ending("lower", error.message, error.status))
            self._refusal.feed(head + rest)
            return
        self._parser = frames.FrameParser(role="client", max_message=MAX_MESSAGE)
        self._say([self.core.hello(self.conversation)])
        if rest:
            self._on_frames(self._parser, rest)

    def _late(self) -> None:
        if not self.is_open:
            self.end(e.Ending("resume", "no hello came within the time given", reached=self._reached))
            return
        silence = self.loop.now() - self._heard
        patience = 2 * self._ping
        if silence >= patience:
            self.end(e.Ending("resume", f"nothing was heard for {silence:.0f} s"))
        else:
            self._timer = self.loop.call_later(patience - silence, self._late)

    @property
    def _reached(self) -> bool:
        return self._pipe is not None and self._pipe.reached

    @property
    def _ping(self) -> float:
        return self.core.terms.ping if self.core.terms is not None else 25.0

    # -- open ---------------------------------------------------------------------------------------------

    def _on_frames(self, parser: frames.FrameParser, data: bytes) -> None:
        for event in parser.feed(data):
            if self.over:
                return
            if isinstance(event, frames.CloseFrame):
                self._closed_by_server(event)
            elif isinstance(event, frames.PingFrame):
                self._write(frames.frame(frames.Opcode.PONG, event.data, mask=token_bytes(4)))
            elif isinstance(event, frames.TextMessage | frames.BinaryMessage):
                self._on_message(event.data)
        # Whatever was heard may have changed what there is to say: a hole, a refusal, a reply that makes room.
        self.stir()

    def _on_message(self, data: bytes) -> None:
        message = parse_server_message(self.codec.decode(data))
        if message is not None:
            self.take([message])

    def _closed_by_server(self, frame: frames.CloseFrame) -> None:
        if frame.code == 1009:
            self._blame_largest_call()
        self.end(e.ending_of_close(frame.code, frame.reason))

    def _blame_largest_call(self) -> None:
        """A message was too large for the server, and only calls are of a size that is not ours to choose.

        Sent again it would close the next connection as well.
        """
        waiting = [call.call_id for call in self.core.calls.values() if call.where is self.conversation]
        if waiting:
            largest = max(waiting, key=lambda call_id: self._sizes.get(call_id, 0))
            error = ErrorReply(None, ErrorCode.TOO_LARGE, "the server takes no message of this size")
            for event in self.core.fail_call(largest, error):
                self.owner.heard(event)

    def _break(self, code: int, message: str) -> None:
        self._write(frames.close_frame(code, message, mask=token_bytes(4)))
        self._parser = None
        self.end(e.Ending("lower", f"the server broke the WebSocket protocol: {message}", code))

    def _say(self, commands: list[Command]) -> None:
        opcode = frames.Opcode.TEXT if self.codec.name == "json" else frames.Opcode.BINARY
        pieces = []
        for command in commands:
            raw = self.codec.encode_command(command)
            if isinstance(command, Call):
                self._sizes[command.call_id] = len(raw)
            pieces.append(frames.frame(opcode, raw, mask=token_bytes(4)))
        self._write(b"".join(pieces))
        if len(self._sizes) > 256:
            self._sizes = {call: size for call, size in self._sizes.items() if call in self.core.calls}

    def _write(self, data: bytes) -> None:
        if self._pipe is not None and data:
            self._pipe.write(data)


class _Refusal:
    """The answer to a handshake that opened nothing: read to its end, because its body says why."""

    def __init__(self, link: Link, otherwise: e.Ending) -> None:
        self._link = link
        self._otherwise = otherwise
        self._parser = ResponseParser()
        self._head: Head | None = None
        self._body = b""

    def feed(self, data: bytes) -> None:
        try:
            self._take(self._parser.feed(data))
        except BadResponse:
            self._link.end(self._otherwise)

    def eof(self) -> None:
        try:
            self._take(self._parser.eof())
        except BadResponse:
            self._link.end(self._otherwise)

    def _take(self, events: list[Head | Part | Done]) -> None:
        for event in events:
            if isinstance(event, Head):
                self._head = event
            elif isinstance(event, Part):
                self._body += event.data[: MAX_HEAD - len(self._body)]
            elif self._head is not None:
                ending = ending_of(Response(self._head.status, self._head.headers, self._body))
                transient = ending.code is not None or self._head.status >= 500
                self._link.end(ending if transient else self._otherwise)
