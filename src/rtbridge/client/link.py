"""One connection of the client, whatever carries it. Which one is used and what comes after it is for the switch.

A link says what the core wants said, hands every message to the core, and reports three things to its owner: that it
opened (its hello was answered), what was heard, and that it ended. It never tries again by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from rtbridge.client import events as e
from rtbridge.client.conversation import Conversation
from rtbridge.client.core import Core
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codecs import Codec
from rtbridge.protocol.messages import ServerMessage
from rtbridge.runtime import Loop


class Owner(Protocol):
    """Whoever made a link; called in the turn."""

    def opened(self, link: Link) -> None:
        """Its hello was answered. Said once."""

    def heard(self, event: e.Event) -> None:
        """Something for the application."""

    def outdated(self, link: Link) -> None:
        """It works, but follows what it should not, and cannot be told: replace it by a new one of its kind."""

    def ended(self, link: Link, ending: e.Ending) -> None:
        """It is over. Said once, and never after `close`."""


class Link:
    """What all links share. Everything is called in the turn.

    Args:
        transport: what it is to be called; see `rtbridge.client.ladder.RUNGS`.
        timeout: seconds for a connection, and for an answer beyond the time that the server may hold it.
    """

    def __init__(
        self, transport: str, owner: Owner, core: Core, loop: Loop, codec: Codec, timeout: float
    ) -> None:
        self.transport = transport
        self.owner = owner
        self.core = core
        self.loop = loop
        self.codec = codec
        self.timeout = timeout
        self.is_open = False
        self.over = False
        self.conversation = Conversation()

    def start(self) -> None:
        """Begin to connect."""
        raise NotImplementedError

    def stir(self) -> None:
        """The core may have something new to say. Does nothing before the link is open, or when it is over."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Let go of sockets and timers."""
        raise NotImplementedError

    def say_goodbye(self) -> None:
        """End the session for good. The link ends when the server heard it."""
        raise NotImplementedError

    def close(self) -> None:
        """Give it up; nothing more is reported. May be repeated."""
        if not self.over:
            self.over = True
            self.disconnect()
            self.core.end(self.conversation)

    def end(self, ending: e.Ending) -> None:
        """Close, and report why."""
        if not self.over:
            self.close()
            self.owner.ended(self, ending)

    def take(self, messages: Iterable[ServerMessage], conversation: Conversation | None = None) -> int:
        """Hand messages to the core and pass on what follows.

        Returns:
            How much of it was news, which the greeting is not.
        """
        news = 0
        for message in messages:
            if self.over:
                break
            for event in self.core.receive(conversation or self.conversation, message, self.loop.now()):
                news += not isinstance(event, e.Greeted | e.Pinged)
                self._on_event(event)
        return news

    def pinged(self) -> None:
        """The server wants a sign of life; only sockets owe one."""

    def refuse_garbage(self, error: ProtocolError) -> None:
        """What came is no message of the protocol: something in between does not carry this transport."""
        self.end(e.Ending("lower", f"what came is not of the protocol: {error.message}"))

    def _on_event(self, event: e.Event) -> None:
        if isinstance(event, e.Over):
            self.end(event.ending)
        elif isinstance(event, e.Pinged):
            self.pinged()
        elif isinstance(event, e.Greeted) and not self.is_open:
            self.is_open = True
            self.owner.heard(event)
            self.owner.opened(self)
        else:
            self.owner.heard(event)
