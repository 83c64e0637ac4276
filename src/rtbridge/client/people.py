"""The half of a client that is about people: what the server says to it, and who is on a channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar, cast

from rtbridge.client.attendance import Attendance
from rtbridge.client.private import Handler, Message, Private
from rtbridge.protocol.messages import Answer
from rtbridge.protocol.presence import presence_channel

if TYPE_CHECKING:
    from rtbridge.client.client import Client

Function = TypeVar("Function", bound=Handler)


class People:
    """See `Client`."""

    _private: Private | None = None

    def listen(
        self,
        on_message: Callable[[Message], object] | None = None,
        *,
        on_invitation: Callable[[str, str | None], object] | None = None,
        on_dismissal: Callable[[str], object] | None = None,
        on_gap: Callable[[], object] | None = None,
    ) -> None:
        """Hear what the server says to this client or its user, from now on. Functions given before are replaced.

        They are called one at a time, in a thread (greenlet) of their own; what they raise is logged.

        Args:
            on_message: `rt.user(…).publish(…)` and `rt.client(…).publish(…)`.
            on_invitation: `(channel, position)`: the server wants us in a channel, and will let us subscribe to it.
            on_dismissal: `(channel)`: the server wants us out of it; our feed of it has been closed.
            on_gap: messages may have been lost.
        """
        private = self._letters()
        private.on_message, private.on_gap = on_message, on_gap
        private.on_invitation, private.on_dismissal = on_invitation, on_dismissal

    def handle(self, name: str, function: Function) -> Function:
        """Answer what the server asks by this name: with what `function(**params)` returns. Each question has a thread
        (greenlet) of its own. What it raises, the server is told."""
        self._letters().handlers[name] = function
        return function

    def presence(self, channel: str) -> Attendance:
        """Follow who is on a channel, without being on it.

        Raises:
            ValueError: a malformed channel, or one whose presence is followed already.
            ClientError: the client is closed or was stopped.
        """
        return Attendance(self._client.subscribe(presence_channel(channel), snapshot=True))

    def present(self, channel: str, data: Mapping[str, object]) -> None:
        """Change what we tell of ourselves on a channel that we follow; it stands for all we told before."""
        self._client._loop.call_soon(self._present, channel, dict(data))

    @property
    def _client(self) -> Client:
        return cast("Client", self)

    def _letters(self) -> Private:
        if self._private is None:
            self._private = Private(self._client, self._send_answer)
        self._private.start()
        return self._private

    def _send_answer(self, answer: Answer) -> None:
        self._client._loop.call_soon(self._add_answer, answer)

    def _add_answer(self, answer: Answer) -> None:
        self._client._core.answers.add(answer)
        self._client._switch.stir()

    def _present(self, channel: str, data: dict[str, object]) -> None:
        followed = self._client._core.channels.get(channel)
        if followed is not None:
            followed.presence = data
            self._client._switch.stir()
