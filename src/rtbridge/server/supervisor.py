"""The supervisor: forks workers that accept from one socket, and keeps as many of them as were asked for.

How to think about it: a loop that compares what is with what is wanted, after every signal, every word of a
worker and every death. It never imports the application, so that a worker forked later begins with the code
that is there then: that is all a reload is.

The workers share one listening socket rather than each having its own by SO_REUSEPORT: there the kernel gives a
connection to one worker's queue at once, and what waits in the queue of a worker that stops is reset. From a
shared queue another worker takes it, so that nobody is refused while workers come and go.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from rtbridge.server.link import SupervisorEnd, WorkerEnd, linked

_log = logging.getLogger("rtbridge")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_LOOK = 1.0  # seconds between two looks around when nothing happens
_SHORT_LIFE = 10.0  # a worker that lived less died of something that may kill the next one, too
_FIRST_PAUSE, _LONGEST_PAUSE = (
    0.5,
    30.0,
)  # seconds before a second short-lived worker is replaced, and at most


class Scrapes(Protocol):
    """Who is told of the workers' counters and asks for a turn of the loop; see `scrape`."""

    def told(self, worker: int, values: Mapping[str, float]) -> None: ...

    def died(self, worker: int) -> None: ...

    def count(self, name: str) -> None: ...

    def sockets(self) -> list[socket.socket]: ...

    def turn(self, readable: list[socket.socket]) -> None: ...

    def close(self) -> None: ...


@dataclass(eq=False)
class _Worker:
    pid: int
    link: SupervisorEnd
    born: float
    generation: int
    replaces: _Worker | None = None
    ready: bool = False
    leaving: bool = False
    failure: str | None = None
    values: dict[str, float] = field(default_factory=dict)


class _InTheChild(BaseException):
    """Unwinds the supervisor's stack in a forked worker, so that the worker ends like any program."""

    def __init__(self, end: WorkerEnd) -> None:
        super().__init__()
        self.end = end


class Supervisor:
    """Runs workers until SIGTERM or SIGINT; a second one is impatient. SIGHUP replaces them one by one.

    Args:
        listener: the socket they accept from; the supervisor's copy is closed when it stops.
        count: how many.
        work: a worker's whole life, run in the child. It says `ready=True` when it serves, or `failed=…` why it
            cannot, and returns an exit status. With `ready` it may say `alone=True`: it cannot live beside
            another, and so is replaced by stopping it first.
        stop_timeout: seconds a worker has to stop in before it is killed.
        on_ready: called once, when all of them serve.
        scrapes: who collects their counters.
    """

    def __init__(
        self,
        listener: socket.socket,
        count: int,
        work: Callable[[WorkerEnd], int],
        *,
        stop_timeout: float = 30.0,
        on_ready: Callable[[], object] | None = None,
        scrapes: Scrapes | None = None,
    ) -> None:
        self._listener = listener
        self._count = count
        self._work = work
        self._stop_timeout = stop_timeout
        self._on_ready = on_ready
        self._scrapes = scrapes
        self._workers: list[_Worker] = []
        self._generation = 0
        self._started = False
        self._alone = False
        self._short_lives = 0
        self._not_before = 0.0
        self._kill_at: dict[int, float] = {}
        self._stopping = False
        self._status = 0
        self._caught: list[int] = []

    def run(self) -> int:
        """Supervise to the end; returns the exit status. In a forked worker: that worker's own."""
        try:
            with self._signals() as wake:
                while True:
                    self._turn(wake)
                    if self._stopping and not self._workers:
                        return self._status
        except _InTheChild as child:
            self._become_worker()
            return self._work(child.end)

    # -- one turn -----------------------------------------------------------------------------------------

    def _turn(self, wake: socket.socket) -> None:
        self._obey()
        self._listen_to_workers()
        self._bury()
        self._kill_the_late()
        if not self._stopping:
            self._announce()
            self._replace_old()
            self._fill_up()
        scraping = [] if self._scrapes is None else self._scrapes.sockets()
        speaking = [worker.link for worker in self._workers if not worker.link.ended]
        watched: list[SupervisorEnd | socket.socket] = [wake, *speaking, *scraping]
        readable, _, _ = select.select(watched, [], [], self._patience())
        if wake in readable:
            wake.recv(4096)
        if self._scrapes is not None:
            self._scrapes.turn([sock for sock in scraping if sock in readable])

    def _patience(self) -> float:
        now = time.monotonic()
        due = [moment - now for moment in (self._not_before, *self._kill_at.values()) if moment > now]
        return 0.0 if self._caught else min([_LOOK, *due])

    def _obey(self) -> None:
        caught, self._caught = self._caught, []
        for number in caught:
            if number == signal.SIGHUP and not self._stopping:
                self._generation += 1
                _log.info("reload: the workers are replaced one by one")
            elif number in (signal.SIGTERM, signal.SIGINT):
                if self._stopping:
                    _log.warning("told to stop twice: the workers are killed")
                    self._kill_at = {worker.pid: 0.0 for worker in self._workers}
                else:
                    self._stop(0)

    def _stop(self, status: int) -> None:
        self._stopping, self._status = True, status
        self._listener.close()
        for worker in self._workers:
            self._send_away(worker)

    def _send_away(self, worker: _Worker) -> None:
        if not worker.leaving:
            worker.leaving = True
            self._kill_at[worker.pid] = time.monotonic() + self._stop_timeout
            os.kill(worker.pid, signal.SIGTERM)

    def _kill_the_late(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if self._kill_at.get(worker.pid, now + 1) <= now:
                del self._kill_at[worker.pid]
                os.kill(worker.pid, signal.SIGKILL)
                if not self._stopping:
                    _log.warning(
                        "worker %d did not stop in %g s and was killed", worker.pid, self._stop_timeout
                    )

    # -- what workers say, and their end ------------------------------------------------------------------

    def _listen_to_workers(self) -> None:
        for worker in self._workers:
            for said in worker.link.heard():
                if said.get("ready"):
                    worker.ready = True
                    self._alone = bool(said.get("alone"))
                    _log.info("worker %d serves", worker.pid, extra={"worker": worker.pid})
                worker.failure = said.get("failed", worker.failure)
                if self._scrapes is not None and "values" in said:
                    self._scrapes.told(worker.pid, said["values"])

    def _bury(self) -> None:
        for worker in list(self._workers):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                continue
            self._listen_to_workers()  # its last words
            worker.link.close()
            self._workers.remove(worker)
            self._kill_at.pop(worker.pid, None)
            if self._scrapes is not None:
                self._scrapes.died(worker.pid)
                if not worker.leaving and not self._stopping:
                    self._scrapes.count("worker_deaths")
            if worker.leaving:
                _log.info("worker %d has stopped", worker.pid, extra={"worker": worker.pid})
            elif not self._stopping:
                self._lost(worker, os.waitstatus_to_exitcode(status))

    def _lost(self, worker: _Worker, code: int) -> None:
        how = f"killed by signal {-code}" if code < 0 else f"with exit status {code}"
        why = worker.failure or f"worker {worker.pid} ended unasked, {how}"
        if not self._started:
            _log.error("%s; nothing is served", why)
            self._stop(1)
        elif worker.generation == self._generation and not worker.ready and self._anybody_older():
            _log.error("%s; the reload is given up, the old workers go on", why)
            for other in self._workers:
                other.generation = self._generation
        else:
            pause = self._pause_after(time.monotonic() - worker.born)
            _log.error("%s; it is replaced %s", why, f"in {pause:g} s" if pause else "at once")

    def _anybody_older(self) -> bool:
        return any(worker.generation < self._generation for worker in self._workers)

    def _pause_after(self, lived: float) -> float:
        self._short_lives = self._short_lives + 1 if lived < _SHORT_LIFE else 1
        doubled = _FIRST_PAUSE * 2.0 ** min(self._short_lives - 2, 10)
        pause = 0.0 if self._short_lives < 2 else min(_LONGEST_PAUSE, doubled)
        self._not_before = time.monotonic() + pause
        return pause

    # -- how many there are -------------------------------------------------------------------------------

    def _announce(self) -> None:
        if not self._started and len(self._workers) == self._count and all(w.ready for w in self._workers):
            self._started = True
            if self._on_ready is not None:
                self._on_ready()

    def _staying(self) -> list[_Worker]:
        return [worker for worker in self._workers if not worker.leaving]

    def _replace_old(self) -> None:
        """At most one newcomer at a time: when it serves, the one whose place it takes is sent away."""
        if not self._started or any(worker.leaving for worker in self._workers):
            return
        for newcomer in self._staying():
            if newcomer.replaces is not None:
                if newcomer.replaces not in self._workers:
                    newcomer.replaces = None  # it died by itself
                elif newcomer.ready:
                    self._send_away(newcomer.replaces)
                    newcomer.replaces = None
                return
        for old in self._staying():
            if old.generation < self._generation:
                if self._alone:
                    self._send_away(old)
                else:
                    self._fork(replaces=old)
                return

    def _fill_up(self) -> None:
        while time.monotonic() >= self._not_before:
            here = [worker for worker in self._staying() if worker.replaces is None]
            too_early = self._alone and len(self._workers) > len(here)  # the old one has to be gone first
            if len(here) >= self._count or too_early:
                return
            self._fork()

    def _fork(self, replaces: _Worker | None = None) -> None:
        ours, theirs = linked()
        pid = -1
        signal.pthread_sigmask(
            signal.SIG_BLOCK, _SIGNALS
        )  # none may reach the child while it has our handlers
        try:
            pid = os.fork()
            if not pid:
                for end in [ours, *(worker.link for worker in self._workers)]:
                    end.close()
                raise _InTheChild(theirs)
        finally:
            if pid:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        theirs.close()
        self._workers.append(_Worker(pid, ours, time.monotonic(), self._generation, replaces))

    def _become_worker(self) -> None:
        """Forget what only the supervisor needs. Ctrl-C and a hang-up reach the whole group: it tells us by SIGTERM."""
        if self._scrapes is not None:
            self._scrapes.close()
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Handlers that note the signal and wake the loop through a socket; what was there before comes back."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)

        def note(number: int, frame: FrameType | None) -> None:
            self._caught.append(number)

        before = {number: signal.signal(number, note) for number in _SIGNALS}
        fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            ours.close()
            theirs.close()
