"""Answers to what the server asks, until it says that it has them: sent again where a connection is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rtbridge.protocol import messages as m

if TYPE_CHECKING:
    from rtbridge.client.conversation import Conversation


class Answers:
    """See above. In the turn."""

    def __init__(self) -> None:
        self._waiting: dict[str, m.Answer] = {}
        self._where: dict[str, Conversation] = {}

    def add(self, answer: m.Answer) -> None:
        """Send this."""
        self._waiting[answer.ask_id] = answer

    def send(self, conversation: Conversation) -> list[m.Command]:
        """What waits for a connection, as commands on this one."""
        commands: list[m.Command] = []
        for ask_id, answer in self._waiting.items():
            if ask_id not in self._where:
                self._where[ask_id] = conversation
                command = replace(answer, id=conversation.next_id())
                assert command.id is not None
                conversation.asked[command.id] = command
                commands.append(command)
        return commands

    def release(self, conversation: Conversation) -> None:
        """A connection is over: what it did not confirm has to be sent again."""
        self._where = {ask_id: where for ask_id, where in self._where.items() if where is not conversation}

    def drop(self, conversation: Conversation) -> None:
        """What was sent there was refused as a whole."""
        for ask_id in [ask_id for ask_id, where in self._where.items() if where is conversation]:
            del self._where[ask_id], self._waiting[ask_id]

    def done(self, command: m.Command | None) -> None:
        """The server has it, or does not want it."""
        if isinstance(command, m.Answer):
            self._waiting.pop(command.ask_id, None)
            self._where.pop(command.ask_id, None)
