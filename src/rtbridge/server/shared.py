"""Answers that are the same for everybody who asks the same: polls of public channels.

The request line is the question, as long as no other field of the head changes what is answered. The first to ask
has the answer made, in the ordinary way. It is kept as finished bytes for as long as the channel stands where it
stood, so that the next one costs a look-up and a `send`. Who asks for news when there is none waits with all
others who stand at that position: one reader of the channel for all of them, and one answer made for all.

Browsers repeat all fields to the letter for as long as a page lives, each its own: that a head's fields are sound, and
do not matter, is remembered by their digest. Then such a request need not be parsed at all.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from rtbridge.fanout import Fanout
from rtbridge.metrics import Metrics
from rtbridge.protocol.positions import Position
from rtbridge.runtime import Loop
from rtbridge.server.connection import Connection, State
from rtbridge.server.exchanges import Desk
from rtbridge.server.heads import Head
from rtbridge.transports.carrier import safely
from rtbridge.transports.onechannel import ChannelAnswer
from rtbridge.wsgi.later import Common, Headers, Parked

_QUESTIONS = 1_000  # that are remembered while nobody waits for their answer
_BYTES = 8_388_608  # of their answers
_HEADS = 20_000  # whose fields are known to be plain: some 3 MB
_AGAIN = 0.05  # seconds until another look, where the bus knew another position than we

# Fields of a head that would make an answer somebody's own.
_PERSONAL = ("HTTP_ORIGIN", "HTTP_IF_NONE_MATCH", "HTTP_LAST_EVENT_ID", "HTTP_RANGE")
_SAME_SITE = ("same-origin", "none")


def is_plain(head: Head) -> bool:
    """Whether the request line alone is the question."""
    fields = head.fields
    for name in _PERSONAL:
        if name in fields:
            return False
    accept = fields.get("HTTP_ACCEPT", "*/*")
    if accept != "*/*" and ("event-stream" in accept or "msgpack" in accept or accept != accept.lower()):
        return False
    if fields.get("HTTP_SEC_FETCH_SITE", "none") not in _SAME_SITE:
        return False
    return fields.get("HTTP_CONNECTION", "keep-alive") == "keep-alive"


class Questions:
    """Those of one mount. In the turn only."""

    def __init__(self, desk: Desk, fanout: Fanout, metrics: Metrics, loop: Loop) -> None:
        self.desk = desk
        self.fanout = fanout
        self.metrics = metrics
        self.loop = loop
        self._questions: OrderedDict[bytes, Question] = OrderedDict()  # longest unused first
        self._plain: set[bytes] = set()  # digests of field lines
        self._size = 0
        self._most, self._most_bytes = _QUESTIONS, _BYTES  # beyond which it is looked what can be forgotten
        metrics.measure("parked_polls", self._parked)

    def _parked(self) -> int:
        return sum(question.weight for question in list(self._questions.values()))

    def ask(self, connection: Connection, line: bytes) -> bool:
        """Have a question answered that was asked before; whether it was."""
        question = self._questions.get(line)
        if question is None:
            return False
        self._questions.move_to_end(line)
        question.ask(connection)
        return True

    def ask_again(self, connection: Connection, head: bytes, size: int) -> bool:
        """Have a request of `size` bytes answered that needs no parsing; whether it was.

        What a head says is settled for its request line and for its field lines apart (`heads`, `is_plain`). So
        where a line is a question, and these fields came, sound and plain, with one, they are so together.
        """
        line, _, lines = head.partition(b"\r\n")
        question = self._questions.get(line)
        if question is None or sha256(lines).digest() not in self._plain:
            return False
        self._questions.move_to_end(line)
        connection.take(size)
        question.ask(connection)
        return True

    def remember(self, head: Head) -> None:
        """These fields came with a question. They may hold secrets: only a digest is kept."""
        if len(self._plain) >= _HEADS:
            self._plain.clear()
        self._plain.add(sha256(head.lines).digest())

    def learn(
        self, connection: Connection, line: bytes, parked: Parked, common: Common, cors: Headers
    ) -> None:
        """Have a question answered that is new."""
        question = self._questions[line] = Question(self, parked, common, cors)
        question.ask(connection)
        self.forget()

    def grown(self, size: int) -> None:
        """So many bytes more are kept."""
        self._size += size
        if self._size > self._most_bytes:
            self.forget()

    def forget(self) -> None:
        """Bound what is kept. Nothing is lost by it: who asks again has the answer made again."""
        if len(self._questions) <= self._most and self._size <= self._most_bytes:
            return
        for line, question in list(self._questions.items()):
            if question.idle:
                del self._questions[line]
                self._size -= question.size
            if len(self._questions) <= _QUESTIONS // 2 and self._size <= _BYTES // 2:
                break
        # Where somebody waits for nearly all of them, looking through them brings nothing: not with each new one.
        self._most = max(_QUESTIONS, 2 * len(self._questions))
        self._most_bytes = max(_BYTES, 2 * self._size)


class Question:
    """One question: a reader of its channel while somebody waits, and the exchange of those who do."""

    __slots__ = (
        "_answer", "_asking", "_common", "_cors", "_count", "_everybody", "_joined", "_position", "_respond",
        "_scheduled", "_waiting",
    )  # fmt: skip

    def __init__(self, everybody: Questions, parked: Parked, common: Common, cors: Headers) -> None:
        self._everybody = everybody
        self._common = common
        self._respond = parked.respond
        self._cors = cors
        self._answer = b""
        self._position: Position | None = None  # where the channel stood when the answer was made
        self._count: int | None = 0  # publications in it; None for a gap or an error
        self._waiting: dict[Connection, None] = {}
        self._asking = False
        self._scheduled = False
        self._joined = False

    @property
    def weight(self) -> int:
        """(For the fanout.) How many clients wait."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Nobody waits for its answer."""
        return not self._waiting and not self._asking

    @property
    def size(self) -> int:
        """Bytes kept."""
        return len(self._answer)

    def ask(self, connection: Connection) -> None:
        """Answer now, or when there is something."""
        self._waiting[connection] = None
        connection.begin(self)
        if not self._asking:
            if self._is_fresh():
                self._settle(connection)
            else:
                self._ask()

    def _is_fresh(self) -> bool:
        if self._position is None:
            return False
        tail = self._everybody.fanout.tail(self._common.channel)
        return tail is not None and tail.position() is self._position

    def _ask(self) -> None:
        self._asking = True
        self._common.start(self)

    def _settle(self, connection: Connection) -> None:
        """One who has just come, and an answer that is still good."""
        if connection not in self._waiting:
            return  # answered meanwhile, or gone
        if self._count == 0 and self._common.wait > 0:
            self._park(connection)
        else:
            self._give(connection)

    def _park(self, connection: Connection) -> None:
        if not self._joined:
            try:
                self._everybody.fanout.join(self._common.channel, self)
            except LookupError:  # the channel was let go meanwhile: what was just found counts
                self._give(connection)
                return
            self._joined = True
            if self._position is None:
                self._everybody.loop.call_later(_AGAIN, self.news, self._common.channel)
        if connection.deadline == math.inf:
            connection.wait(self._common.wait)

    def _give(self, connection: Connection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            connection.answer(self._answer)
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        if self._joined and not self._waiting:
            self._joined = False
            self._everybody.fanout.leave(self._common.channel, self)

    # Of the fanout.

    def news(self, channel: str) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._everybody.loop.call_soon(safely, self._fail, self._look)

    def _look(self) -> None:
        self._scheduled = False
        if self._waiting and not self._asking:
            self._ask()

    def _fail(self) -> None:
        for connection in list(self._waiting):
            connection.close()

    # The exchange of those who wait.

    def left(self, connection: Connection) -> None:
        if connection.state is State.GONE:  # it has no deadline any more that would end its wait
            self._waiting.pop(connection, None)
            self._leave_if_idle()
        else:
            self.hurry(connection)

    def hurry(self, connection: Connection) -> None:
        if not self._asking:
            self._give(connection)

    def sent(self, connection: Connection) -> None:
        """A poll has no further piece."""

    # The carrier of the poll that asks.

    def run(self, job: Callable[[], None]) -> None:
        self._everybody.desk.spawn(job)

    def finish(self, answer: object) -> None:
        self._asking = False
        everybody = self._everybody
        try:
            response = self._respond(answer)
        except Exception as error:
            response = everybody.desk.failure(error)
        response.headers += self._cors
        before = len(self._answer)
        self._answer = everybody.desk.writer.whole(response, close=False)
        everybody.grown(len(self._answer) - before)
        found = answer if isinstance(answer, ChannelAnswer) else None
        self._count = found.count if found is not None and found.recovered else None
        tail = everybody.fanout.tail(self._common.channel)
        # What a page of the bus says may be behind the tail, or ahead of it; that is made anew for the next one.
        fresh = found is not None and tail is not None and tail.position() == found.position
        self._position = tail.position() if fresh and tail is not None else None
        waiting = list(self._waiting)
        if self._count:
            everybody.metrics.add("deliveries", self._count * (len(waiting) - 1))
        for connection in waiting:
            self._settle(connection)
