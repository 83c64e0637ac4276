"""memory:// against a model that keeps everything for ever and looks at the clock when asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtbridge.bus import LATEST, VOLATILE, History, Keep
from rtbridge.bus.memory import MemoryBus
from rtbridge.config import Limits
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication

LIMITS = Limits(
    position_ttl=100.0, idempotency_ttl=30.0, page_publications=6, page_bytes=40, memory_channels=1_000
)
KEEPS = [History(3, ttl=20.0), History(8, ttl=20.0), LATEST, VOLATILE]

channels = st.sampled_from(["a", "b", "c"])
names = st.sampled_from(["x", "y"])


@dataclass
class Log:
    """All that was ever published in one epoch, with its time and how it was kept."""

    epoch: str
    used: float
    published: list[tuple[float, Keep, Publication]] = field(default_factory=list)
    watched: bool = False

    @property
    def last(self) -> int:
        return len(self.published)

    def kept(self, now: float) -> list[Publication]:
        """What can still be read. Each of one kind with the newest is kept by the rules of its time."""
        found: list[tuple[float, Keep, Publication]] = []
        for time, keep, publication in self.published:
            if found and found[-1][1].kind != keep.kind:
                found = []
            found = [*found, (time, keep, publication)][-keep.size :] if keep.size else []
        while found and found[0][0] + found[0][1].ttl <= now:
            found.pop(0)
        return [publication for _, _, publication in found]


class MemoryModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.epochs = 0
        self.bus = MemoryBus(LIMITS, lambda: self.now, self.new_epoch)
        self.bus.listen(self)
        self.logs: dict[str, Log] = {}
        self.keys: dict[tuple[str, str], tuple[float, Position]] = {}
        self.records: dict[str, tuple[float, bytes]] = {}
        self.leases: dict[str, tuple[float, float | None, bytes]] = {}
        self.heard: list[tuple[str, str, Publication]] = []
        self.expected: list[tuple[str, str, Publication]] = []
        self.positions: list[tuple[str, Position]] = []

    def new_epoch(self) -> str:
        self.epochs += 1
        return f"e{self.epochs}"

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        for publication in publications:
            self.heard.append((channel, epoch, publication))

    def suspect(self, channel: str | None) -> None:
        raise AssertionError("memory:// misses nothing")

    def log(self, channel: str) -> Log:
        """The model's log, after the bus was asked something that makes one where there is none."""
        log = self.logs.get(channel)
        if log is None or (not log.watched and log.used + LIMITS.position_ttl <= self.now):
            log = self.logs[channel] = Log(f"e{self.epochs}", self.now)
        log.used = self.now
        return log

    # Rules.

    @rule(seconds=st.sampled_from([0.5, 5.0, 19.5, 31.0, 101.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        channel=channels,
        keep=st.sampled_from(KEEPS),
        size=st.integers(1, 30),
        key=st.none() | names,
    )
    def publish(self, channel: str, keep: Keep, size: int, key: str | None) -> None:
        data = b"x" * size
        position = self.bus.publish(channel, data, keep, key=key)
        known = self.keys.get((channel, key)) if key is not None else None
        if known is not None and known[0] > self.now:
            assert position == known[1]
            return
        log = self.log(channel)
        publication = Publication(log.last + 1, data)
        log.published.append((self.now, keep, publication))
        assert position == Position(log.epoch, log.last)
        self.positions.append((channel, position))
        if key is not None:
            self.keys[channel, key] = (self.now + LIMITS.idempotency_ttl, position)
        if log.watched:
            self.expected.append((channel, log.epoch, publication))

    @rule(channel=channels)
    def position(self, channel: str) -> None:
        position = self.bus.position(channel)
        log = self.log(channel)
        assert position == Position(log.epoch, log.last)
        self.positions.append((channel, position))

    @rule(channel=channels, limit=st.integers(0, 9))
    def read_newest(self, channel: str, limit: int) -> None:
        page = self.bus.read(channel, None, limit)
        log = self.log(channel)
        assert isinstance(page, Page)
        assert (page.position, page.more) == (Position(log.epoch, log.last), False)
        kept = log.kept(self.now)
        assert list(page.publications) == kept[len(kept) - len(page.publications) :]
        self.check_cut(list(reversed(page.publications)), list(reversed(kept)), limit)

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), channel=channels, limit=st.integers(1, 9), ahead=st.integers(0, 2))
    def read_on(self, data: st.DataObject, channel: str, limit: int, ahead: int) -> None:
        known = data.draw(st.sampled_from(self.positions))[1]
        after = Position(known.epoch, known.offset + ahead)
        found = self.bus.read(channel, after, limit)
        log = self.log(channel)
        here = Position(log.epoch, log.last)
        kept = log.kept(self.now)
        kind = log.published[-1][1].kind if log.published else "history"
        if kind == "latest":
            assert found == Page(here, tuple(kept) if after != here else ())
        elif kind == "volatile":
            assert found == Page(here, ())
        else:
            self.check_history(found, after, here, kept, limit)

    def check_history(
        self, found: Page | Gap, after: Position, here: Position, kept: list[Publication], limit: int
    ) -> None:
        missing = [publication for publication in kept if publication.offset > after.offset]
        whole = after.epoch == here.epoch and 0 <= here.offset - after.offset == len(missing)
        if not whole:
            assert found == Gap(here)
            return
        assert isinstance(found, Page)
        got = list(found.publications)
        assert got == missing[: len(got)]
        assert found.more == (len(got) < len(missing))
        assert found.position == Position(here.epoch, after.offset + len(got))
        self.check_cut(got, missing, limit)

    def check_cut(self, got: list[Publication], there: list[Publication], limit: int) -> None:
        """Cut neither too early nor too late."""
        limit = min(limit, LIMITS.page_publications)
        assert len(got) <= limit
        size = sum(len(publication.data) for publication in got)
        assert size <= LIMITS.page_bytes or len(got) == 1
        if len(got) < min(limit, len(there)):
            assert got and size + len(there[len(got)].data) > LIMITS.page_bytes

    @rule(channel=channels)
    def watch(self, channel: str) -> None:
        self.bus.watch(channel)
        self.log(channel).watched = True

    @rule(channel=channels)
    def unwatch(self, channel: str) -> None:
        self.bus.unwatch(channel)
        if channel in self.logs:
            self.logs[channel].watched = False

    @rule(key=names, value=st.binary(max_size=2), ttl=st.sampled_from([1.0, 10.0, 40.0]))
    def put(self, key: str, value: bytes, ttl: float) -> None:
        self.bus.put(key, value, ttl)
        self.records[key] = (self.now + ttl, value)

    @rule(key=names, value=st.binary(max_size=2), ttl=st.sampled_from([1.0, 10.0, 40.0]))
    def add(self, key: str, value: bytes, ttl: float) -> None:
        existing = self.record(key)
        assert self.bus.add(key, value, ttl) == existing
        if existing is None:
            self.records[key] = (self.now + ttl, value)

    @rule(key=names, expected=st.binary(max_size=2), value=st.binary(max_size=2))
    def replace(self, key: str, expected: bytes, value: bytes) -> None:
        same = self.record(key) == expected
        assert self.bus.replace(key, expected, value, 10.0) is same
        if same:
            self.records[key] = (self.now + 10.0, value)

    @rule(key=names)
    def get(self, key: str) -> None:
        assert self.bus.get(key) == self.record(key)

    @rule(key=names)
    def delete(self, key: str) -> None:
        self.bus.delete(key)
        self.records.pop(key, None)

    def record(self, key: str) -> bytes | None:
        expires, value = self.records.get(key, (0.0, b""))
        return value if expires > self.now else None

    @rule(name=names, ttl=st.sampled_from([1.0, 10.0, 40.0]), value=st.binary(max_size=2))
    def hold(self, name: str, ttl: float, value: bytes) -> None:
        before = self.leases.get(name)
        assert self.bus.hold("g", name, ttl, value) is (before is None or before[1] is not None)
        self.leases[name] = (self.now + ttl, None, value)

    @rule(name=names, only_lapsed=st.booleans())
    def release(self, name: str, only_lapsed: bool) -> None:
        lease = self.leases.get(name)
        there = lease is not None and not (only_lapsed and lease[0] > self.now)
        assert self.bus.release("g", name, only_lapsed=only_lapsed) is there
        if there:
            del self.leases[name]

    @rule(retry_in=st.sampled_from([1.0, 10.0]), limit=st.integers(1, 3))
    def lapsed(self, retry_in: float, limit: int) -> None:
        due = {
            name
            for name, (expires, claimed, _) in self.leases.items()
            if expires <= self.now and (claimed is None or claimed <= self.now)
        }
        claimed = self.bus.lapsed("g", retry_in, limit)
        assert len(claimed) == min(limit, len(due))
        assert set(claimed) <= due
        for name in claimed:
            expires, _, value = self.leases[name]
            self.leases[name] = (expires, self.now + retry_in, value)

    @rule()
    def held(self) -> None:
        expected = {name: value for name, (expires, _, value) in self.leases.items() if expires > self.now}
        assert self.bus.held("g") == expected

    @invariant()
    def everything_was_told_in_order(self) -> None:
        assert self.heard == self.expected


TestMemoryModel = MemoryModel.TestCase
TestMemoryModel.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
