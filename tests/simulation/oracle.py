"""The oracle: from what publishers were told and what clients saw, whether every promise was kept.

Publishers note each attempt and, where it was acknowledged, its position. Clients note each publication and gap, in the
order in which they came. Nothing else is needed: within an epoch offsets have no holes, so a client whose every
publication is the next one of its epoch, or comes after a gap that was reported, and who stands at the log's end
at last, has missed nothing in silence. What remains is that names are unique and payloads are real.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Position = tuple[str, int]
"""Epoch and offset."""
SHOWN = 20
"""Violations of one kind that are told in full."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One publication. Times are of the machine's monotonic clock. No position: it failed, or nobody knows."""

    began: float
    ended: float
    channel: str
    payload: str
    position: Position | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client saw: `start` (follows from here), `item` or `gap`."""

    when: float
    client: str
    channel: str
    kind: str
    position: Position
    payload: str = ""


@dataclass(frozen=True, slots=True)
class Final:
    """How a channel stands in the end: its position, and the history as far as it reaches."""

    position: Position
    history: tuple[tuple[int, str], ...]
    size: int
    """Publications that its declaration keeps."""


@dataclass
class Verdict:
    """Violations by kind, and figures."""

    violations: dict[str, list[str]] = field(default_factory=dict)
    figures: Counter[str] = field(default_factory=Counter)

    def blame(self, kind: str, what: str) -> None:
        self.violations.setdefault(kind, []).append(what)

    def __str__(self) -> str:
        lines = [", ".join(f"{count} {name}" for name, count in self.figures.items())]
        for kind, several in self.violations.items():
            lines += [f"{kind}: {len(several)}", *(f"    {what}" for what in several[:SHOWN])]
        return "\n".join(lines)


def judge(
    attempts: Sequence[Attempt],
    seen: Iterable[Seen],
    finals: dict[str, Final],
    losses: Sequence[tuple[float, float]] = (),
) -> Verdict:
    """
    Args:
        finals: of every channel.
        losses: when Redis lost data, from and to. An attempt that was repeated over such a time may have been carried
            out in the lost log and in the new one; between the two is a gap.

    Violations: `lost` in silence, `twice`, `disorder`, `two names` for one position, `invented`, `behind` in the end,
    and `needless` gaps within what the history keeps.
    """
    verdict = Verdict()
    names = _Names(verdict)
    real = {attempt.payload: attempt for attempt in attempts}
    followers: dict[tuple[str, str], _Follower] = {}
    _judge_publishers(verdict, attempts, names)
    for one in seen:
        where = (one.client, one.channel)
        if where not in followers:
            followers[where] = _Follower(one, verdict, finals[one.channel].size, losses)
        else:
            followers[where].take(one, real.get(one.payload))
        if one.kind == "item":
            names.name(one.channel, one.position, one.payload)
            if one.payload not in real:
                verdict.blame("invented", f"{one}")
    for channel, final in finals.items():
        for offset, payload in final.history:
            names.name(channel, (final.position[0], offset), payload)
    channels: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.position is not None:
            channels.setdefault(attempt.channel, []).append(attempt)
    for (_, channel), follower in followers.items():
        follower.finish(channels.get(channel, []), finals[channel].position)
    verdict.figures["clients"] = len({client for client, _ in followers})
    return verdict


def _judge_publishers(verdict: Verdict, attempts: Sequence[Attempt], names: _Names) -> None:
    """Who publishes one after the other in a channel is given rising offsets."""
    last: dict[tuple[str, str, str], int] = {}
    for attempt in attempts:
        if attempt.position is None:
            verdict.figures["unacknowledged"] += 1
            continue
        verdict.figures["acknowledged"] += 1
        names.name(attempt.channel, attempt.position, attempt.payload)
        epoch, offset = attempt.position
        line = (attempt.payload.rpartition(".")[0], attempt.channel, epoch)
        if offset <= last.get(line, 0):
            verdict.blame("disorder", f"{attempt} was acknowledged after offset {last[line]}")
        last[line] = offset


class _Names:
    """What every position names."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._named: dict[tuple[str, Position], str] = {}

    def name(self, channel: str, position: Position, payload: str) -> None:
        before = self._named.setdefault((channel, position), payload)
        if before != payload:
            self._verdict.blame("two names", f"{channel} {position} is {before!r} and {payload!r}")


class _Follower:
    """One client in one channel."""

    def __init__(
        self, start: Seen, verdict: Verdict, size: int, losses: Sequence[tuple[float, float]]
    ) -> None:
        self._who = f"{start.client} in {start.channel}"
        self._verdict = verdict
        self._size = size
        self._losses = losses
        self._began = start.when
        self._cursor = start.position
        self._gaps = _Gaps()
        self._got: dict[str, Position] = {}
        if start.kind != "start":
            verdict.blame("lost", f"{self._who} began with {start}")

    def take(self, seen: Seen, attempt: Attempt | None) -> None:
        if seen.kind == "gap":
            self._gap(seen)
        elif seen.kind == "item":
            self._item(seen, attempt)

    def _gap(self, seen: Seen) -> None:
        epoch, offset = seen.position
        self._gaps.add(self._cursor, seen)
        if epoch != self._cursor[0]:
            self._verdict.figures["gaps to another epoch"] += 1
        else:
            self._verdict.figures["gaps within an epoch"] += 1
            if offset - self._cursor[1] <= self._size:
                self._verdict.blame(
                    "needless",
                    f"{self._who} stood at {self._cursor}, was given {seen}; {self._size} are kept",
                )
        self._cursor = seen.position

    def _item(self, seen: Seen, attempt: Attempt | None) -> None:
        self._verdict.figures["deliveries"] += 1
        epoch, offset = seen.position
        before = self._got.get(seen.payload)
        self._got[seen.payload] = seen.position
        if before is not None and before != seen.position:
            self._repeated(seen, before, attempt)
        elif epoch == self._cursor[0] and offset <= self._cursor[1]:
            kind = "disorder" if before is None else "twice"
            self._verdict.blame(kind, f"{self._who} stood at {self._cursor}, was given {seen}")
        if epoch != self._cursor[0]:
            self._verdict.blame(
                "lost", f"{self._who} stood at {self._cursor}, was given {seen}: another log, no gap"
            )
        elif offset > self._cursor[1] + 1:
            self._verdict.blame(
                "lost", f"{self._who} stood at {self._cursor}, was given {seen}: a hole, no gap"
            )
        self._cursor = seen.position

    def _repeated(self, seen: Seen, before: Position, attempt: Attempt | None) -> None:
        over_a_loss = (
            attempt is not None
            and before[0] != seen.position[0]
            and any(attempt.began <= end and begin <= attempt.ended for begin, end in self._losses)
        )
        if over_a_loss:
            self._verdict.figures["repeated after a lost log"] += 1
        else:
            self._verdict.blame("twice", f"{self._who} got {seen}, and before it at {before}")

    def finish(self, acknowledged: list[Attempt], final: Position) -> None:
        if self._cursor != final:
            self._verdict.blame("behind", f"{self._who} stands at {self._cursor}, the channel at {final}")
        for attempt in acknowledged:
            assert attempt.position is not None
            missed = attempt.payload not in self._got and attempt.began > self._began
            if missed and not self._gaps.cover(attempt.position, attempt.began):
                self._verdict.blame("lost", f"{self._who} never got {attempt}, which lies in no gap")


class _Gaps:
    """What was reported to one client as lost."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}  # epoch: from where on all of it is lost, as we went to another
        self._entered: dict[str, int] = {}  # epoch: up to where, as we came from another
        self._within: dict[str, list[tuple[int, int]]] = {}
        self._last = 0.0

    def add(self, here: Position, seen: Seen) -> None:
        there = seen.position
        self._last = seen.when
        if here[0] == there[0]:
            self._within.setdefault(here[0], []).append((here[1], there[1]))
        else:
            self._left[here[0]] = min(here[1], self._left.get(here[0], here[1]))
            self._entered[there[0]] = max(there[1], self._entered.get(there[0], 0))

    def cover(self, position: Position, began: float) -> bool:
        """Whether it lies in one. Of an epoch in which the client never was, the time tells."""
        epoch, offset = position
        if epoch not in self._left and epoch not in self._entered and epoch not in self._within:
            return self._last >= began
        return (
            (epoch in self._left and offset > self._left[epoch])
            or offset <= self._entered.get(epoch, 0)
            or any(begin < offset <= end for begin, end in self._within.get(epoch, ()))
        )


# The notes that processes leave.


def note_attempt(attempt: Attempt) -> str:
    epoch, offset = attempt.position or ("-", 0)
    return (
        f"{attempt.began:.6f}\t{attempt.ended:.6f}\t{attempt.channel}\t{attempt.payload}\t{epoch}\t{offset}\n"
    )


def note_seen(seen: Seen) -> str:
    epoch, offset = seen.position
    return f"{seen.when:.6f}\t{seen.client}\t{seen.channel}\t{seen.kind}\t{epoch}\t{offset}\t{seen.payload}\n"


def read_attempts(files: Iterable[Path]) -> list[Attempt]:
    found = []
    for began, ended, channel, payload, epoch, offset in _notes(files):
        position = None if epoch == "-" else (epoch, int(offset))
        found.append(Attempt(float(began), float(ended), channel, payload, position))
    return found


def read_seen(files: Iterable[Path]) -> Iterator[Seen]:
    for when, client, channel, kind, epoch, offset, payload in _notes(files):
        yield Seen(float(when), client, channel, kind, (epoch, int(offset)), payload)


def _notes(files: Iterable[Path]) -> Iterator[list[str]]:
    for file in files:
        with file.open() as lines:
            for line in lines:
                yield line.rstrip("\n").split("\t")
