"""`rtbridge tail CHANNEL`: follow a channel in a shell, one JSON object a line.

The bus's notifications only wake us; what is printed is checked against the position, and read from the history
where something is missing. So what holds for clients holds here: whole and in order, or a gap that is told.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import sys
from collections.abc import Callable
from typing import Any, TextIO

from rtbridge.bus import Bus
from rtbridge.cli import bus
from rtbridge.cli.loading import CannotLoad
from rtbridge.errors import BusUnavailable, ProtocolError
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication

_PAGE = 500
_LOOK = 3.0  # seconds after which the history is asked whether a notification was lost


def declare(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser("tail", help="print what is published to a channel")
    parser.add_argument("channel", help="its name, for example groups/7/photos")
    bus.declare(parser)
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "--from", dest="start", type=position, metavar="POS", help="what came after a position"
    )
    begin.add_argument("--recent", type=int, default=0, metavar="N", help="the newest N first; default: 0")
    parser.add_argument("--count", type=int, metavar="N", help="end after N publications")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Follow until Ctrl-C, or until as many as asked for were printed."""
    bridge = bus.bridge_of(given)
    if given.app and bridge.registry.channel_for(given.channel) is None:
        raise CannotLoad(f"no channel is declared for {given.channel!r}")
    follower = Follower(bridge.bus, given.channel, sys.stdout, sys.stderr, given.count)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        follower.begin(given.start, given.recent)
        while not follower.done:
            follower.step(_LOOK)
    with contextlib.suppress(OSError):
        sys.stdout.close()  # here, where a pipe that nobody reads is no error
    bridge.bus.close()
    return 0


class Follower:
    """Follows one channel.

    Args:
        out: takes the publications.
        notes: takes what is to be said about gaps.
        count: how many to print at most; None for no end.
    """

    def __init__(self, log: Bus, channel: str, out: TextIO, notes: TextIO, count: int | None = None) -> None:
        self._bus = log
        self._channel = channel
        self._out = out
        self._notes = notes
        self._left = count
        self._arrivals: queue.SimpleQueue[tuple[str, Publication] | None] = queue.SimpleQueue()
        self._position = Position("-", 0)
        self._away = False

    @property
    def done(self) -> bool:
        """Whether as many were printed as asked for."""
        return self._left is not None and self._left <= 0

    # What the bus calls, from any thread.

    def arrived(self, channel: str, epoch: str, *publications: Publication) -> None:
        for publication in publications:
            self._arrivals.put((epoch, publication))

    def suspect(self, channel: str | None) -> None:
        self._arrivals.put(None)

    def begin(self, start: Position | None, recent: int) -> None:
        """Watch the channel, and print what there is.

        Raises:
            BusUnavailable: the bus is out of reach.
        """
        self._bus.listen(self)
        self._bus.watch(
            self._channel
        )  # before the position is read: what comes in between arrives twice, not never
        if start is not None:
            self._position = start
        elif recent > 0:
            page = self._bus.read(self._channel, None, min(recent, _PAGE))
            self._take(page)
            return
        else:
            self._position = self._bus.position(self._channel)
        self._read_on()

    def step(self, seconds: float) -> None:
        """Print what arrives within `seconds`, and look whether something was missed."""
        try:
            arrival = self._arrivals.get(timeout=seconds)
        except queue.Empty:
            arrival = None
        if arrival is None:
            self._unless_away(self._read_on)
            return
        epoch, publication = arrival
        if epoch == self._position.epoch and publication.offset <= self._position.offset:
            return
        if epoch == self._position.epoch and publication.offset == self._position.offset + 1:
            self._print(epoch, publication)
        else:
            self._unless_away(self._read_on)

    def _unless_away(self, read: Callable[[], None]) -> None:
        try:
            read()
        except BusUnavailable as error:
            if not self._away:
                self._note(f"{error}; going on when it is back")
            self._away = True
        else:
            self._away = False

    def _read_on(self) -> None:
        more = True
        while more and not self.done:
            found = self._bus.read(self._channel, self._position, _PAGE)
            more = isinstance(found, Page) and found.more
            self._take(found)

    def _take(self, found: Page | Gap) -> None:
        if isinstance(found, Gap):
            self._note(f"gap: something between {self._position} and {found.position} is no longer kept")
        else:
            for publication in found.publications:
                self._print(found.position.epoch, publication)
        if not self.done:
            self._position = found.position

    def _print(self, epoch: str, publication: Publication) -> None:
        if self.done:
            return
        self._position = Position(epoch, publication.offset)
        said: dict[str, object] = {"position": str(self._position), "data": json.loads(publication.data)}
        if publication.cause is not None:
            said["cause"] = publication.cause
        print(json.dumps(said, ensure_ascii=False), file=self._out, flush=True)
        if self._left is not None:
            self._left -= 1

    def _note(self, sentence: str) -> None:
        print(f"{self._channel}: {sentence}", file=self._notes, flush=True)


def position(text: str) -> Position:
    """A position, for argparse."""
    try:
        return Position.parse(text)
    except ProtocolError:
        raise argparse.ArgumentTypeError(f"{text!r} is no position; take one that was printed") from None
