"""What the server says to this client or its user: messages, invitations and questions, read from `~me`.

One thread (greenlet) takes the letters in order and calls the application's functions; each question is answered in a
thread of its own, so that a slow answer holds nothing up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtbridge.client.feed import Gap, Item
from rtbridge.errors import DataError, ProtocolError
from rtbridge.protocol import data as _data
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.messages import Answer
from rtbridge.protocol.private import PRIVATE, Dismissal, Invitation, Note, Question, parse_letter

if TYPE_CHECKING:
    from rtbridge.client.client import Client

logger = logging.getLogger("rtbridge")
Handler = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Message:
    """What the application sent to this client, or to its user.

    Attributes:
        data: its value.
        to: `client` or `user`.
        position: of the letter.
        cause: the `call_id` of the call that sent it, if one did.
    """

    data: object
    to: str
    position: str
    cause: str | None = None


class Private:
    """See above. `answer` sends an answer; from any thread."""

    def __init__(self, client: Client, answer: Callable[[Answer], object]) -> None:
        self.handlers: dict[str, Handler] = {}
        self.on_message: Callable[[Message], object] | None = None
        self.on_invitation: Callable[[str, str | None], object] | None = None
        self.on_dismissal: Callable[[str], object] | None = None
        self.on_gap: Callable[[], object] | None = None
        self._client = client
        self._answer = answer
        self._started = False

    def start(self) -> None:
        """Follow `~me`, from now on."""
        if not self._started:
            self._started = True
            self._client.subscribe(PRIVATE, self._came, on_gap=self._lost)

    def _lost(self, gap: Gap) -> None:
        if self.on_gap is not None:
            self.on_gap()

    def _came(self, item: Item) -> None:
        try:
            letter = parse_letter(item.data)
        except ProtocolError:
            logger.exception("a letter in %s was passed over", PRIVATE)
            return
        if isinstance(letter, Note) and self.on_message is not None:
            self.on_message(Message(_data.decode(letter.data), letter.to, item.position, item.cause))
        elif isinstance(letter, Invitation) and self.on_invitation is not None:
            self.on_invitation(letter.channel, None if letter.position is None else str(letter.position))
        elif isinstance(letter, Dismissal):
            feed = self._client._feeds.get(letter.channel)
            if feed is not None:
                feed.close()
            if self.on_dismissal is not None:
                self.on_dismissal(letter.channel)
        elif isinstance(letter, Question):
            self._client._loop.spawn(self._ask, letter)

    def _ask(self, question: Question) -> None:
        handler: Any = self.handlers.get(question.name)
        if handler is None:
            self._refuse(question, ErrorCode.NO_SUCH_CALL, f"nobody here knows {question.name}")
            return
        try:
            data = _data.encode(handler(**question.params))
        except DataError as error:
            self._refuse(question, ErrorCode.FAILED, f"the answer cannot travel: {error}")
        except Exception as error:
            logger.exception("answering %s failed", question.name)
            self._refuse(question, ErrorCode.FAILED, f"{type(error).__name__}: {error}")
        else:
            self._answer(Answer(None, question.ask_id, data))

    def _refuse(self, question: Question, code: ErrorCode, message: str) -> None:
        self._answer(Answer(None, question.ask_id, code=int(code), message=message))
