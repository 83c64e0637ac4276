"""Questions to clients, as the workers see them: taken when a client was reached, answered when it answered.

The question itself is a letter in the client's private channel. What becomes of it stands in two records on the bus,
where whoever asked looks for it, in any process: that it was *taken* (some worker gave it to the client), and the
answer. Only the client that was asked can answer, and only once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtbridge.bus.contract import Bus
from rtbridge.errors import BusError
from rtbridge.protocol import messages as m
from rtbridge.protocol.publications import Publication

if TYPE_CHECKING:
    from rtbridge.session.services import Services
    from rtbridge.session.session import Session

_log = logging.getLogger("rtbridge")
_QUESTION = b'{"type":"call"'
_KEPT = 60.0  # seconds that a record outlives the time its question has


@dataclass(frozen=True, slots=True)
class Reply:
    """How a client answered: canonical JSON, or an error code and a message."""

    data: bytes | None
    code: int | None
    message: str | None

    def dump(self) -> bytes:
        data = None if self.data is None else self.data.decode()
        return json.dumps([data, self.code, self.message]).encode()

    @classmethod
    def load(cls, raw: bytes) -> Reply:
        data, code, message = json.loads(raw)
        return cls(None if data is None else data.encode(), code, message)


class Records:
    """The two records of each question. Blocks."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def ask(self, ask_id: str, client_id: str, timeout: float) -> None:
        """A question begins: from now on its client may answer."""
        self._bus.put(f"ask:{ask_id}", _waiting(client_id), timeout + _KEPT)

    def reply(self, ask_id: str) -> Reply | None:
        """The answer, if there is one."""
        raw = self._bus.get(f"ask:{ask_id}")
        return Reply.load(raw[1:]) if raw is not None and raw[:1] == b"D" else None

    def was_taken(self, ask_id: str) -> bool:
        """Whether the question was given to its client."""
        return self._bus.get(f"asked:{ask_id}") is not None

    def forget(self, ask_id: str) -> None:
        """Nobody waits for it any more."""
        self._bus.delete(f"ask:{ask_id}")

    def take(self, ask_id: str) -> None:
        """The question is being given to its client."""
        self._bus.put(f"asked:{ask_id}", b"1", _KEPT)

    def answer(self, ask_id: str, client_id: str, reply: Reply) -> None:
        """Its client answers; the first answer counts. Nothing happens where nobody waits for one of this client."""
        self._bus.replace(f"ask:{ask_id}", _waiting(client_id), b"D" + reply.dump(), _KEPT)


class Questions:
    """What sessions do about questions. In the turn."""

    def __init__(self, services: Services) -> None:
        self._bus = services.bus
        self._loop = services.loop
        self._records = Records(services.bus)

    def delivered(self, letters: Sequence[Publication]) -> None:
        """These letters are on their way to their client."""
        for letter in letters:
            if letter.data.startswith(_QUESTION):
                ask_id = json.loads(letter.data)["ask_id"]
                if self._bus.blocking:
                    self._loop.spawn(self._take, ask_id)
                else:
                    self._take(ask_id)

    def _take(self, ask_id: str) -> None:
        try:
            self._records.take(ask_id)
        except BusError as error:
            _log.warning("that a client took a question could not be told: %s", error)

    def answer(self, session: Session, command: m.Answer) -> None:
        """Carry out an answer command."""
        client_id = session.known_identity.client_id
        reply = Reply(command.data, command.code, command.message)

        def done(_: None) -> None:
            if command.id is not None:
                session.reply(m.Done(command.id))

        session.job(command, lambda: self._records.answer(command.ask_id, client_id, reply), done)


def _waiting(client_id: str) -> bytes:
    return b"W" + client_id.encode()
