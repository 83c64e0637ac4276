"""One connection that many callers share: what they ask while others wait for replies leaves together.

There is no thread or greenlet of its own, so it works the same in a server, a task and a shell. One of those
who wait *leads*: it reads the replies for all and sends what has gathered meanwhile; when its own reply is there it
hands on the lead. A few *flights* (commands sent together) are on their way at once: the first call leaves at
once, and the more callers there are, the larger the flights. Of a flight all publications for one channel are one
command (`Shared`).

Those who got their replies together are likely to ask again together: while the world wakes them, nothing is sent, so
that they do not leave one by one.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from rtbridge.bus.redis.link import Greeted, LinkLost, pack
from rtbridge.bus.redis.publishing import Outgoing
from rtbridge.bus.redis.world import Waiter, World
from rtbridge.errors import BusUnavailable
from rtbridge.runtime import native_lock

FLIGHTS = 2
"""On their way at once: while the server works on one, we work on the other."""
FLIGHT_SIZE = 256
"""Most calls in one."""
SHARED, SHARED_BYTES = 128, 65_536
"""Most publications in one command, and the bytes of the command from which on it takes no more: while Redis works on
it, it does nothing else."""
IDLE = 1.0
"""Seconds after which it is worth while to look whether the server has closed an unused connection."""


class NotCopied(BusUnavailable):
    """The master did it, and no replica confirmed in time that it has it, too."""


class Call:
    """One question and its reply. Only the last of those that somebody waits for has a waiter."""

    __slots__ = ("early", "error", "flight", "lead", "question", "reply", "waiter")

    def __init__(self, question: bytes | Outgoing, waiter: Waiter | None = None) -> None:
        self.question = question
        self.reply: Any = _PENDING
        self.early: Any = None  # the reply while a replica's confirmation is awaited
        self.error: BusUnavailable | None = None
        self.waiter = waiter
        self.lead = False
        self.flight: list[Call] | None = None  # of a WAIT: those whose copies it asks for


class Shared:
    """The publications of one flight for one channel: one command, whose reply is a list."""

    __slots__ = ("calls", "first", "size")

    def __init__(self, call: Call, first: Outgoing) -> None:
        self.calls = [call]
        self.first = first
        self.size = len(first.words)

    def takes(self, call: Call, outgoing: Outgoing) -> bool:
        """Whether it took this one, too."""
        if outgoing.prepared is not self.first.prepared or not outgoing.prepared.joins:
            return False
        self.size += len(outgoing.words)
        if len(self.calls) >= SHARED or self.size > SHARED_BYTES:
            return False
        self.calls.append(call)
        return True

    def packed(self, fence: bytes) -> bytes:
        words = [call.question.words for call in self.calls]  # type: ignore[union-attr]  # all are Outgoing
        return self.first.prepared.pack(words, fence)


class Pipeline:
    """For the callers of one world. When it breaks, all its calls fail, and a new one has to be made.

    Args:
        durable: replies are given only when a replica has what was written.
        wait: seconds that it may take.
        stall: seconds without any reply, while some are awaited, after which the connection is given up.
    """

    def __init__(self, world: World, link: Greeted, durable: bool, wait: float, stall: float) -> None:
        self.fence = link.fence
        self.address = link.address
        self.broken = False
        self._world = world
        self._link = link
        self._wait = pack("WAIT", 1, int(wait * 1000)) if durable else None
        self._lock = native_lock()
        self._unsent: deque[Call] = deque()
        self._sent: deque[Call | Shared] = deque()
        self._flights: deque[int] = deque()
        self._sending = False
        self._led = False
        self._stall = stall
        self._quiet_since = time.monotonic()

    def ask(self, questions: Sequence[bytes | Outgoing], deadline: float) -> list[Any]:
        """The replies, errors among them.

        Raises:
            LinkLost: the connection broke, or no reply came in time; then the connection is given up.
        """
        calls = [Call(question) for question in questions]
        last = calls[-1]
        last.waiter = self._world.waiter()
        with self._lock:
            if self.broken:
                raise LinkLost(f"lost Redis at {self.address}")
            if not self._sent and not self._unsent:
                self._wake_up()
            self._unsent += calls
            if not self._led:
                self._led = last.lead = True
        try:
            if not self._world.rousing:
                self._send(deadline)
            if last.lead or (last.waiter.wait(math.inf) and last.lead):
                self._lead(last, deadline)
        finally:
            self._go(last)
        if last.error is not None:
            raise last.error
        return [call.reply for call in calls]

    def close(self) -> None:
        self._fail(LinkLost("the bus was closed", sent=True))

    def abandon(self) -> None:
        """In the child of a fork."""
        self._link.abandon()

    def _wake_up(self) -> None:
        """The first question for a while. With the lock held.

        Raises:
            LinkLost: the server has closed the connection meanwhile; nothing was sent.
        """
        now = time.monotonic()
        if now - self._quiet_since > IDLE and not self._led and self._link.has_ended():
            self.broken = True
            self._link.close()
            raise LinkLost(f"Redis at {self.address} closed the connection while it was idle")
        self._quiet_since = now

    def _go(self, call: Call) -> None:
        """Whoever leaves, also by an exception, hands on the lead if it has it."""
        with self._lock:
            call.waiter = None
            if not call.lead:
                return
            call.lead = False
            heir = next((c for c in chain(_calls(self._sent), self._unsent) if c.waiter is not None), None)
            if heir is None:
                self._led = False
                return
            heir.lead = True
            waiter = heir.waiter
        if waiter is not None:
            waiter.wake()

    def _lead(self, mine: Call, deadline: float) -> None:
        if self._unsent:
            if self._world.rousing:
                self._world.give_way()  # the others are about to ask, too
            self._send(deadline)
        while mine.reply is _PENDING and mine.error is None:
            try:
                replies = self._link.receive(deadline)
            except LinkLost as lost:
                self._fail(lost)
                break
            if not replies:
                late = LinkLost(f"Redis at {self.address} did not answer in time", sent=True)
                if time.monotonic() - self._quiet_since >= self._stall:
                    self._fail(late)
                else:
                    mine.error = late  # its own time is over; others may have more
                break
            self._quiet_since = time.monotonic()
            woken = self._distribute(replies, mine)
            self._send(deadline)
            # With nothing on its way Redis would wait for the last of them: let the first half leave before.
            self._world.wake(woken, twice=not self._flights)
        if self.broken and not self._sending:
            self._link.close()  # nobody else is waiting at the socket

    def _send(self, deadline: float) -> None:
        """Send what has gathered, unless enough is on its way or somebody else is at it."""
        while True:
            with self._lock:
                if self._sending or not self._unsent or len(self._flights) >= FLIGHTS or self.broken:
                    return
                self._sending = True
                data = self._take_flight()
            try:
                self._link.send(data, deadline)
            except LinkLost as lost:
                self._fail(lost)
                return
            except BaseException:
                # Interrupted, perhaps in the middle of a command: nothing that follows would be understood.
                self._fail(LinkLost(f"sending to Redis at {self.address} was interrupted", sent=True))
                raise
            finally:
                self._sending = False

    def _take_flight(self) -> bytes:
        unsent, fence = self._unsent, self.fence
        calls = [unsent.popleft() for _ in range(min(len(unsent), FLIGHT_SIZE))]
        flight: list[Call | Shared] = []
        shared: dict[str, Shared] = {}  # by channel: the newest, so that each channel's order stays
        for call in calls:
            question = call.question
            if isinstance(question, bytes):
                flight.append(call)
                continue
            channel = question.prepared.channel
            open_ = shared.get(channel)
            if open_ is None or not open_.takes(call, question):
                shared[channel] = one = Shared(call, question)
                flight.append(one)
        if self._wait is not None:
            wait = Call(self._wait)
            wait.flight = calls
            flight.append(wait)
        self._sent += flight
        self._flights.append(len(flight))
        return b"".join(
            [each.packed(fence) if isinstance(each, Shared) else each.question for each in flight]  # type: ignore[misc]
        )

    def _distribute(self, replies: list[Any], mine: Call) -> list[Waiter]:
        """Give each reply to its call. Returns those to wake."""
        answered: list[Call] = []
        with self._lock:
            sent, flights = self._sent, self._flights
            for reply in replies:
                if not sent:
                    break  # it broke meanwhile
                one = sent.popleft()
                flights[0] -= 1
                if not flights[0]:
                    flights.popleft()
                if isinstance(one, Shared):
                    each = reply if isinstance(reply, list) else [reply] * len(one.calls)  # an error is all's
                    answered += self._answered(one.calls, each)
                elif one.flight is not None:
                    answered += _copied(one.flight, reply)
                else:
                    answered += self._answered([one], [reply])
            return [call.waiter for call in answered if call.waiter is not None and call is not mine]

    def _answered(self, calls: list[Call], replies: list[Any]) -> Sequence[Call]:
        """Those whose reply is final: not while a replica's confirmation is awaited."""
        if self._wait is None:
            for call, reply in zip(calls, replies, strict=True):
                call.reply = reply
            return calls
        for call, reply in zip(calls, replies, strict=True):
            call.early = reply
        return ()

    def _fail(self, error: LinkLost) -> None:
        """Give up: all calls fail, and each learns whether it had been sent."""
        with self._lock:
            if self.broken:
                return
            self.broken = True
            sent, unsent = list(_calls(self._sent)), self._unsent
            self._sent, self._unsent = deque(), deque()
            self._flights.clear()
        held = [call for wait in sent for call in wait.flight or ()]
        for calls, were_sent in ((sent, True), (held, True), (unsent, False)):
            for call in calls:
                call.error = LinkLost(str(error), were_sent)
        self._link.hang_up()
        for call in (*sent, *held, *unsent):
            waiter = call.waiter
            if waiter is not None:
                waiter.wake()


def _calls(sent: Iterable[Call | Shared]) -> Iterator[Call]:
    for one in sent:
        if isinstance(one, Shared):
            yield from one.calls
        else:
            yield one


def _copied(flight: list[Call], replicas: Any) -> list[Call]:
    """What a WAIT said of the calls that left with it."""
    for call in flight:
        if isinstance(replicas, int) and replicas >= 1:
            call.reply = call.early
        else:
            call.error = NotCopied(
                f"done by the master, but no replica has confirmed it ({replicas}); see durability=replica"
            )
    return flight


_PENDING = object()
