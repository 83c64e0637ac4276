"""Sources against a simple model, in any order: processes start, stop, die; watchers come and go; polls wander.

What must hold: the function never runs where nobody has watched for twice `every` (and one look); while somebody
watches in a process that works, it runs, and never rests for longer than the time in which it has to move; only one
process that works has the post; an older value is never published after a newer one, even by a process that was
stopped between its query and its publish; and at rest the newest value published is the newest there is.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rtbridge import History
from support.fleet import Fleet, Process, Reader

EVERY = 4.0
picks = st.integers(0, 9)
seconds = st.floats(0.1, 10.0)


class SourcesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet()
        self.value = 0
        self.runs: list[float] = []
        self.processes: list[Process] = []
        self.readers: list[Reader] = []
        self.watched_until = 0.0
        self.working_since: float | None = None
        self.unasked: list[float] = []
        self.stall = 0.0
        self.fleet.declare("photos", self._ask, EVERY, keep=History(1000, ttl=1e9))

    # -- the model ----------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.fleet.loop.time

    def _ask(self) -> int:
        self.runs.append(self.now)
        watched = any(not each.process.dead for each in self.readers)
        if not watched and self.now > self.watched_until + 2.5 * EVERY:
            self.unasked.append(self.now)
        taken, stall, self.stall = self.value, self.stall, 0.0
        if stall:
            self.value += 1
            self.working_since = None
            self.fleet.stall(stall)
            self._note()
        return taken

    def _watchers(self) -> list[Reader]:
        return [each for each in self.readers if not each.process.dead and not each.process.stopped]

    def _note(self) -> None:
        """After anything that may change whether somebody watches in a process that works."""
        if any(not each.process.dead for each in self.readers):
            self.watched_until = self.now
        if not self._watchers():
            self.working_since = None
        elif self.working_since is None:
            self.working_since = self.now

    # -- what happens -------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.start()

    @precondition(lambda self: len(self.processes) < 4)
    @rule()
    def start(self) -> None:
        self.processes.append(self.fleet.start())

    @precondition(lambda self: self.processes)
    @rule(pick=picks)
    def watch(self, pick: int) -> None:
        process = self.processes[pick % len(self.processes)]
        if not process.stopped:
            self.readers.append(process.watch("photos"))
        self._note()
        self.fleet.loop.run()

    @precondition(lambda self: self.readers)
    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        self._note()
        reader = self.readers.pop(pick % len(self.readers))
        if not reader.process.dead:
            reader.leave()
        self._note()

    @precondition(lambda self: self.processes)
    @rule(pick=picks)
    def poll(self, pick: int) -> None:
        process = self.processes[pick % len(self.processes)]
        if not process.stopped:
            process.poll("photos")
            self.watched_until = self.now
        self.fleet.loop.run()

    @precondition(lambda self: self.processes)
    @rule(pick=picks)
    def kill(self, pick: int) -> None:
        self._note()
        process = self.processes.pop(pick % len(self.processes))
        process.kill()
        self.readers = [each for each in self.readers if each.process is not process]
        self.working_since = None
        self._note()

    @precondition(lambda self: self.processes)
    @rule(pick=picks)
    def stop(self, pick: int) -> None:
        """SIGSTOP. It may have the post, and then that has to move."""
        self._note()
        self.processes[pick % len(self.processes)].stopped = True
        self.working_since = None
        self._note()

    @precondition(lambda self: self.processes)
    @rule(pick=picks)
    def go_on(self, pick: int) -> None:
        self.processes[pick % len(self.processes)].go_on()
        self.fleet.loop.run()
        self._note()

    @rule(step=seconds)
    def pass_time(self, step: float) -> None:
        self._note()
        self.fleet.loop.advance(step)
        self._note()

    @rule(step=seconds)
    def change(self, step: float) -> None:
        self.value += 1
        self.pass_time(step)

    @rule(step=seconds)
    def stall_the_next(self, step: float) -> None:
        """Whoever runs next is stopped in the middle of it."""
        self.value += 1
        self.stall = step
        self.pass_time(EVERY)

    @rule()
    def somebody_else_publishes(self) -> None:
        self.fleet.bus.publish("photos", b'"else"', self.fleet.keep("photos"))

    @rule()
    def the_bus_forgets(self) -> None:
        self.fleet.bus.delete("source:photos")

    # -- what must hold -----------------------------------------------------------------------------------

    @invariant()
    def it_runs_while_somebody_watches(self) -> None:
        """It has to move within twice `every`."""
        if self.working_since is not None and self.now - self.working_since > 2 * EVERY:
            assert self.runs and self.now - self.runs[-1] <= 2 * EVERY

    @invariant()
    def nobody_watches_nobody_asks(self) -> None:
        assert self.unasked == []

    @invariant()
    def never_an_older_value(self) -> None:
        values = [each for each in self.fleet.all_published("photos") if isinstance(each, int)]
        assert values == sorted(values)

    @invariant()
    def only_one_has_a_post_that_counts(self) -> None:
        record = self.fleet.bus.get("source:photos")
        holders = [
            p for p in self.processes if (post := p.sources._posts.get("photos")) and post.held == record
        ]
        assert record is None or len(holders) <= 1

    def teardown(self) -> None:
        """When the storm is over, the newest value is the newest published."""
        assert not self.fleet.loop.errors
        for process in self.processes:
            process.go_on()
        self.processes.append(self.fleet.start())
        self.readers.append(self.processes[-1].watch("photos"))
        self._note()
        self.fleet.loop.run()
        self.value += 1
        self.fleet.loop.advance(4 * EVERY)
        assert self.fleet.newest("photos") == self.value


TestSources = SourcesMachine.TestCase
TestSources.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
