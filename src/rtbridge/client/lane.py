"""The lane beside a poll or stream: calls go out at once, in requests of their own.

One request at a time, so that calls are carried out in the order in which they were made, as on a socket. A request
that fails ends the link; its calls go out again on the next one, under the same call ids.
"""

from __future__ import annotations

from rtbridge.client.conversation import Conversation
from rtbridge.client.http import Answer, Exchange, Http, Lost, ending_of, error_of
from rtbridge.client.link import Link
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import remedy
from rtbridge.protocol.messages import Bye, Command
from rtbridge.protocol.polls import parse_poll_answer

BATCH = 32
"""Calls in one request."""


class Lane:
    """Belongs to a link and reports through it."""

    def __init__(self, link: Link, http: Http) -> None:
        self._link = link
        self._http = http
        self._exchange: Exchange | None = None
        self._conversation = Conversation()
        self._batch = BATCH

    def stir(self) -> None:
        """There may be calls to send. Only after the link opened: calls belong to a session."""
        link = self._link
        if self._exchange is not None or link.over or not link.is_open:
            return
        self._conversation = Conversation(greeted=True)
        calls = link.core.send_calls(self._conversation, link.loop.now(), self._batch)
        if calls:
            self._exchange = self._post(calls)

    def say_goodbye(self) -> None:
        """End the session; the link ends when that was heard."""
        self.close()
        self._conversation = Conversation()
        self._exchange = self._post([Bye()])

    def close(self) -> None:
        """Give up what is under way."""
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None
        self._link.core.end(self._conversation)

    def _post(self, commands: list[Command]) -> Exchange:
        link, codec = self._link, self._link.codec
        everything = [link.core.hello(self._conversation), *commands]
        terms = link.core.terms
        return self._http.request(
            "POST",
            "poll",
            {"Content-Type": codec.content_type, "Accept": codec.content_type},
            codec.join_commands([codec.encode_command(command) for command in everything]),
            # A call may take its time; when we lose patience we ask again, and it is not run again.
            timeout=link.timeout + (terms.wait if terms is not None else 0.0),
            on_answer=self._answered,
        )

    def _answered(self, answer: Answer) -> None:
        self._exchange = None
        link = self._link
        if link.over:
            return
        if isinstance(answer, Lost) or answer.status != 200:
            if not self._refused(answer):
                link.end(ending_of(answer))
                return
        else:
            self._batch = BATCH
            try:
                link.take(parse_poll_answer(answer.decoded(link.codec)).messages, self._conversation)
            except ProtocolError as error:
                link.refuse_garbage(error)
        link.core.end(self._conversation)  # what was not answered goes out again
        self.stir()

    def _refused(self, answer: Answer) -> bool:
        """Whether the request was refused for what is in it: then the calls are to blame, and not the link."""
        error = None if isinstance(answer, Lost) else error_of(answer)
        if error is None or remedy(error.code) != "mend":
            return False
        core = self._link.core
        core.answers.drop(self._conversation)
        calls = [call.call_id for call in core.calls.values() if call.where is self._conversation]
        if len(calls) > 1:
            self._batch = 1  # one of them; find out which
        for call_id in calls if len(calls) == 1 else ():
            for event in core.fail_call(call_id, error):
                self._link.owner.heard(event)
        return True
