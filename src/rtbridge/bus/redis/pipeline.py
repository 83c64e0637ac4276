"""One connection that many callers share: what they ask while others wait for replies leaves together.

There is no thread or greenlet of its own, so it works the same in a server, a task and a shell. One of those
who wait *leads*: it reads the replies for all and sends what has gathered meanwhile; when its own reply is there it
hands on the lead. A few *flights* (commands sent together) are on their way at once: the first call leaves at
once, and the more callers there are, the larger the flights.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from rtbridge.bus.redis.link import Greeted, LinkLost, pack
from rtbridge.bus.redis.world import Waiter, World
from rtbridge.errors import BusUnavailable
from rtbridge.runtime import native_lock

FLIGHTS = 2
"""On their way at once: while the server works on one, we work on the other."""
FLIGHT_SIZE = 256
"""Most calls in one."""
IDLE = 1.0
"""Seconds after which it is worth while to look whether the server has closed an unused connection."""


class NotCopied(BusUnavailable):
    """The master did it, and no replica confirmed in time that it has it, too."""


class Call:
    """One command and its reply. Only the last of those that somebody waits for has a waiter."""

    __slots__ = ("early", "error", "flight", "lead", "packed", "reply", "waiter")

    def __init__(self, packed: bytes, waiter: Waiter | None = None) -> None:
        self.packed = packed
        self.reply: Any = _PENDING
        self.early: Any = None  # the reply while a replica's confirmation is awaited
        self.error: BusUnavailable | None = None
        self.waiter = waiter
        self.lead = False
        self.flight: list[Call] | None = None  # of a WAIT: those whose copies it asks for


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
        self._sent: deque[Call] = deque()
        self._flights: deque[int] = deque()
        self._sending = False
        self._led = False
        self._stall = stall
        self._quiet_since = time.monotonic()

    def ask(self, commands: Sequence[bytes], deadline: float) -> list[Any]:
        """The replies, errors among them.

        Raises:
            LinkLost: the connection broke, or no reply came in time; then the connection is given up.
        """
        calls = [Call(command) for command in commands]
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
            heir = next(
                (c for calls in (self._sent, self._unsent) for c in calls if c.waiter is not None), None
            )
            if heir is None:
                self._led = False
                return
            heir.lead = True
            waiter = heir.waiter
        if waiter is not None:
            waiter.wake()

    def _lead(self, mine: Call, deadline: float) -> None:
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
            self._world.wake(woken)
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
        unsent = self._unsent
        calls = [unsent.popleft() for _ in range(min(len(unsent), FLIGHT_SIZE))]
        if self._wait is not None:
            wait = Call(self._wait)
            wait.flight = list(calls)
            calls.append(wait)
        self._sent += calls
        self._flights.append(len(calls))
        return b"".join([call.packed for call in calls])

    def _distribute(self, replies: list[Any], mine: Call) -> list[Waiter]:
        """Give each reply to its call. Returns those to wake."""
        answered: list[Call] = []
        with self._lock:
            sent, flights = self._sent, self._flights
            for reply in replies:
                if not sent:
                    break  # it broke meanwhile
                call = sent.popleft()
                flights[0] -= 1
                if not flights[0]:
                    flights.popleft()
                if call.flight is not None:
                    answered += _copied(call.flight, reply)
                elif self._wait is None:
                    call.reply = reply
                    answered.append(call)
                else:
                    call.early = reply
            return [call.waiter for call in answered if call.waiter is not None and call is not mine]

    def _fail(self, error: LinkLost) -> None:
        """Give up: all calls fail, and each learns whether it had been sent."""
        with self._lock:
            if self.broken:
                return
            self.broken = True
            sent, unsent = self._sent, self._unsent
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
