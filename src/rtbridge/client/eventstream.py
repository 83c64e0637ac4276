"""Event stream: one POST whose answer never ends. Calls travel beside it, see `lane`.

A stream cannot be told anything any more. When what is followed changes, its owner opens another one and then closes
this one.
"""

from __future__ import annotations

from rtbridge.client import events as e
from rtbridge.client.core import Core
from rtbridge.client.http import Answer, Exchange, Http, Lost, ending_of
from rtbridge.client.lane import Lane
from rtbridge.client.link import Link, Owner
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codecs import JSON, Codec
from rtbridge.protocol.messages import parse_server_message
from rtbridge.runtime import Timer

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one message of the server."""


class EventStreamLink(Link):
    """See `Link`."""

    def __init__(self, owner: Owner, core: Core, codec: Codec, timeout: float, http: Http) -> None:
        super().__init__("eventstream", owner, core, http.loop, codec, timeout)
        self._http = http
        self._exchange: Exchange | None = None
        self._lane = Lane(self, http)
        self._line = bytearray()
        self._heard = 0.0
        self._timer: Timer | None = None

    def start(self) -> None:
        commands = [
            self.codec.encode_command(command)
            for command in self.core.poll(self.conversation, self.loop.now())
        ]
        self._exchange = self._http.request(
            "POST",
            "poll",
            {"Content-Type": self.codec.content_type, "Accept": "text/event-stream"},
            self.codec.join_commands(commands),
            timeout=self.timeout,
            on_answer=self._answered,
            on_part=self._on_part,
        )
        self._timer = self.loop.call_later(self.timeout, self._late)

    def stir(self) -> None:
        if self.is_open and not self.over:
            if self.core.differs(self.conversation, self.loop.now()):
                self.owner.outdated(self)
            self._lane.stir()

    def disconnect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._exchange is not None:
            self._exchange.cancel()
        self._lane.close()

    def say_goodbye(self) -> None:
        self._lane.say_goodbye()

    def _answered(self, answer: Answer) -> None:
        self._exchange = None
        if isinstance(answer, Lost) or answer.status != 200:
            self.end(ending_of(answer))
        else:
            self.end(e.Ending("resume", "the stream ended"))

    def _on_part(self, data: bytes) -> None:
        self._heard = self.loop.now()
        *lines, rest = (self._line + data).split(b"\n")
        self._line = bytearray(rest)
        try:
            for line in lines:
                if not self.over:
                    self._on_line(bytes(line))
        except ProtocolError as error:
            self.refuse_garbage(error)
        if len(self._line) > MAX_LINE:
            self.end(e.Ending("lower", "the stream sent a line without an end"))
        self.stir()

    def _on_line(self, line: bytes) -> None:
        """Our streams hold each message in one line; other fields, comments and empty lines say nothing to us."""
        if line.startswith(b"data:"):
            message = parse_server_message(JSON.decode(line[5:].strip()))
            if message is not None:
                self.take([message])

    def _late(self) -> None:
        if not self.is_open:
            # Something in between may be keeping the stream to itself until it is whole.
            self.end(e.Ending("resume", "no hello came within the time given"))
            return
        silence = self.loop.now() - self._heard
        patience = 2 * (self.core.terms.ping if self.core.terms is not None else 25.0)
        if silence >= patience:
            self.end(e.Ending("resume", f"nothing was heard for {silence:.0f} s"))
        else:
            self._timer = self.loop.call_later(patience - silence, self._late)
