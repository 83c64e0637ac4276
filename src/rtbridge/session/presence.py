"""Who is on a channel: what this process knows of its own sessions, and how it tells the others.

A *tab* is one page load of one client. It is here as long as a session of it follows the channel, and a moment longer:
a socket that breaks comes back, a poll comes again. What changes within `limits.presence_window` seconds is written
down and told in one go (see `rosters`); a process that is thought dead, or that finds others dead, sees to it at its
heartbeat.
"""

from __future__ import annotations

import logging
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING

from rtbridge.bus.contract import new_epoch
from rtbridge.contract.context import Context
from rtbridge.errors import BusError, DataError, ProtocolError
from rtbridge.protocol import data as canonical
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.presence import PREFIX, Tab, Telling
from rtbridge.protocol.states import State
from rtbridge.session.room import Room
from rtbridge.session.rosters import REWRITE, Rosters

if TYPE_CHECKING:
    from rtbridge.session.services import Services
    from rtbridge.session.session import Session
    from rtbridge.session.subscription import Subscription

_log = logging.getLogger("rtbridge")
_RETRY = 1.0  # seconds
_SWEEP = 0.5  # seconds between looks for tabs whose time is over


class Presence:
    """One for each process. In the turn, but for what it says."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._loop = services.loop
        self._limits = services.limits
        self._rosters = Rosters(services.bus, services.limits)
        self._holder = new_epoch()
        self._rooms: dict[str, Room] = {}
        self._leaving: dict[tuple[str, str], None] = {}
        self._sweeping = False
        self._beating = False
        self._heard = 0.0
        self._silent = False  # whether it was logged that the bus is away
        self._steady_since = 0.0
        self._known: set[str] = set()
        self._checked: dict[str, float] = {}

    # -- sessions -----------------------------------------------------------------------------------------

    def follows(self, session: Session, subscription: Subscription, data: dict[str, object] | None) -> None:
        """A session begins to follow a channel, one with presence or the presence of one."""
        channel = subscription.channel
        if channel.startswith(PREFIX):
            self._start_beating()
            self._check(channel.removeprefix(PREFIX))
            return
        about = subscription.declaration.presence_told
        if about is None:
            return
        room = self._rooms.get(channel)
        if room is None:
            room = self._rooms[channel] = Room(about, subscription.params)
            self._start_beating()
        name = tab_name(session)
        here = room.tabs.get(name)
        if here is None:
            identity = session.known_identity
            tab = Tab(identity.user_id, {}, data or {}, self._now())
            here = room.add(name, tab, self._limits.presence_tabs)
            if about.info is not None:
                access = self._services.access
                room.unnamed[name] = access.context(identity, session.environ, session.outlet.transport)
            self._change(channel, room, name)
        elif data is not None and data != here.tab.data:
            self._set(channel, room, name, data)
        here.sessions += 1
        self._leaving.pop((channel, name), None)

    def left(self, session: Session, subscription: Subscription) -> None:
        """It follows the channel no more: its tab is gone, or, if its connection is, gone unless it comes back."""
        channel = subscription.channel
        room = self._rooms.get(channel)
        name = tab_name(session)
        here = None if room is None else room.tabs.get(name)
        if room is None or here is None:
            return
        here.sessions -= 1
        if here.sessions > 0:
            return
        if session.state is not State.ENDED:
            self._go(channel, room, name)
            return
        here.until = self._loop.now() + self._grace(session.outlet.transport)
        self._leaving[channel, name] = None
        self._start_sweeping()

    def change(self, session: Session, command: m.SetPresence) -> None:
        """Carry out a presence command."""
        channel = command.channel
        subscription = session.subscription_to(channel)
        if subscription is None:
            raise ProtocolError(ErrorCode.NOT_SUBSCRIBED, f"not subscribed to {channel!r} here")
        self.check_size(command.data)
        room, name = self._rooms.get(channel), tab_name(session)
        if room is not None and name in room.tabs and room.tabs[name].tab.data != command.data:
            self._set(channel, room, name, command.data)
        if command.id is not None:
            session.reply(m.Done(command.id))

    def check_size(self, data: dict[str, object]) -> None:
        """ProtocolError TOO_LARGE where a tab says too much of itself."""
        try:
            size = len(canonical.encode(data))
        except DataError as error:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, f"presence: {error}") from None
        if size > self._limits.presence_data:
            raise ProtocolError(
                ErrorCode.TOO_LARGE,
                f"presence has {size} bytes, over limits.presence_data = {self._limits.presence_data}",
            )

    def _grace(self, transport: str) -> float:
        limits = self._limits
        return limits.presence_grace + (limits.poll_interval if transport == "shortpoll" else 0.0)

    def _now(self) -> float:
        return round(self._services.access.wall(), 3)

    def _set(self, channel: str, room: Room, name: str, data: dict[str, object]) -> None:
        here = room.tabs[name]
        here.tab = Tab(here.tab.user, here.tab.info, data, self._now())
        self._change(channel, room, name)

    def _go(self, channel: str, room: Room, name: str) -> None:
        room.remove(name, self._limits.presence_tabs)
        room.unnamed.pop(name, None)
        self._leaving.pop((channel, name), None)
        self._change(channel, room, name)

    def _start_sweeping(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        """See off the tabs that did not come back in time."""
        now = self._loop.now()
        for channel, name in list(self._leaving):
            room = self._rooms[channel]
            if room.tabs[name].until <= now:
                self._go(channel, room, name)
        self._sweeping = False
        if self._leaving:
            self._start_sweeping()

    # -- telling ------------------------------------------------------------------------------------------

    def _change(self, channel: str, room: Room, name: str) -> None:
        room.changed[name] = None
        self._flush_later(channel, room, self._limits.presence_window)

    def _flush_later(self, channel: str, room: Room, seconds: float) -> None:
        if room.timer is None and not room.flushing:
            room.timer = self._loop.call_later(seconds, self._flush, channel, room)

    def _flush(self, channel: str, room: Room) -> None:
        room.timer = None
        room.flushing = True
        unnamed, room.unnamed = room.unnamed, {}
        self._loop.spawn(self._name_and_tell, channel, room, unnamed)

    def _name_and_tell(self, channel: str, room: Room, unnamed: dict[str, Context]) -> None:
        """Outside the turn."""
        infos = {name: self._info(room, context) for name, context in unnamed.items()}
        with self._loop.turn():
            roster, telling = self._tellings(channel, room, infos)
        failed = True
        try:
            if not self._heard:
                self._rosters.beat(roster.holder)
            self._rosters.write(channel, roster)
            if telling is not None:
                self._rosters.tell(channel, telling)
            failed = False
        except BusError as error:
            _log.warning("the presence of %r could not be told: %s", channel, error)
        except Exception:
            _log.exception("the presence of %r could not be told", channel)
        finally:
            self._loop.call_soon(self._flushed, channel, room, failed)

    def _info(self, room: Room, context: Context) -> dict[str, object]:
        assert room.about.info is not None
        try:
            with self._services.access.framework.around(context.environ):
                return room.about.info(context, room.params)
        except Exception:
            _log.exception(
                "the presence function of %s failed for client %s", room.about.what, context.client_id
            )
            return {}

    def _tellings(
        self, channel: str, room: Room, infos: dict[str, dict[str, object]]
    ) -> tuple[Telling, Telling | None]:
        """What is written down, and what is told, now."""
        for name, info in infos.items():
            here = room.tabs.get(name)
            if here is not None:
                here.tab = Tab(here.tab.user, info, here.tab.data, here.tab.at)
        changed, room.changed = room.changed, {}
        whole, room.whole = room.whole, False
        room.written = self._loop.now()
        was_counted = room.counted
        most = self._limits.presence_named
        room.counted = room.named > (most * 0.8 if was_counted else most)
        holder = self._holder
        if room.counted:
            counted = Telling(holder, count=len(room.tabs))
            return counted, counted if changed or whole else None
        named = room.to_name(self._limits.presence_tabs)
        everything = Telling(holder, all=named)
        if whole or was_counted:
            return everything, everything
        told = Telling(
            holder,
            set={name: named[name] for name in changed if name in named},
            gone=tuple(name for name in changed if name not in named),
        )
        return everything, told if changed else None

    def _flushed(self, channel: str, room: Room, failed: bool) -> None:
        room.flushing = False
        if failed:
            room.whole = True
            self._flush_later(channel, room, _RETRY)
        elif room.changed or room.whole:
            self._flush_later(channel, room, self._limits.presence_window)
        elif not room.tabs and self._rooms.get(channel) is room:
            del self._rooms[channel]

    # -- the heartbeat ------------------------------------------------------------------------------------

    def _start_beating(self) -> None:
        if not self._beating:
            self._beating = True
            self._steady_since = self._loop.now()
            self._beat()

    def _beat(self) -> None:
        self._loop.call_later(self._limits.presence_lease / 3, self._beat)
        self._loop.spawn(self._give_sign, self._holder)

    def _give_sign(self, holder: str) -> None:
        """Outside the turn."""
        try:
            new = self._rosters.beat(holder)
            living = self._rosters.living()
        except BusError as error:
            if not self._silent:
                _log.warning("this worker's presence could not be renewed: %s", error)
            self._silent = True
            self._loop.call_soon(self._missed_a_beat)
            return
        self._silent = False
        self._loop.call_soon(self._gave_sign, holder, new, living)

    def _missed_a_beat(self) -> None:
        self._steady_since = self._loop.now() + self._limits.presence_lease

    def _gave_sign(self, holder: str, new: bool, living: set[str]) -> None:
        now = self._loop.now()
        if holder != self._holder:
            return
        if self._heard and now - self._heard > self._limits.presence_lease:
            self._missed_a_beat()  # we slept; perhaps others did, too
        if new and self._heard:
            self._begin_anew(holder)
            return
        self._heard = now
        self._known |= living
        # Only who has been awake for a while can tell who is not.
        if now - self._steady_since >= self._limits.presence_lease:
            dead = self._known - living - {self._holder}
            self._known = living
            if dead:
                self._loop.spawn(self._bury, dead, self._concerned())
        for channel, room in self._rooms.items():
            if now - room.written > REWRITE:
                self._flush_later(channel, room, 0.0)

    def _concerned(self) -> list[str]:
        """Channels of whose presence somebody here wants to know, or has to do with."""
        watched = self._services.fanout.channels()
        return [*self._rooms, *(name.removeprefix(PREFIX) for name in watched if name.startswith(PREFIX))]

    def _bury(self, dead: set[str], channels: list[str]) -> None:
        """Outside the turn."""
        try:
            for holder in dead:
                self._rosters.bury(holder, channels)
        except BusError as error:
            _log.warning("the tabs of a worker that died could not be ended: %s", error)
            self._loop.call_soon(self._known.update, dead)  # try again

    def _begin_anew(self, old: str) -> None:
        """We were taken for dead: our tabs have left, and come again under another name."""
        self._holder = new_epoch()
        self._heard = 0.0
        for channel, room in self._rooms.items():
            room.whole = True
            self._flush_later(channel, room, 0.0)
        self._loop.spawn(self._give_sign, self._holder)
        self._loop.spawn(self._bury, {old}, list(self._rooms))

    def _check(self, channel: str) -> None:
        """Somebody begins to follow a channel's presence: see whether its holders live. Not all the time."""
        now = self._loop.now()
        if now - self._checked.get(channel, -1e9) < self._limits.presence_lease:
            return
        if len(self._checked) > 1_000:
            self._checked.clear()
        self._checked[channel] = now
        self._loop.spawn(self._look_for_dead, channel)

    def _look_for_dead(self, channel: str) -> None:
        """Outside the turn."""
        try:
            self._rosters.read(channel)
        except BusError as error:
            _log.warning("the presence of %r could not be checked: %s", channel, error)


def tab_name(session: Session) -> str:
    """The name of a session's tab: the same on every worker, and telling nothing.

    Everybody on the channel sees it, and a client chooses its instance: it is long enough that nobody can find one
    that has another's name, and so speak for that one.
    """
    text = f"{session.known_identity.client_id}\0{session.instance}"
    return urlsafe_b64encode(blake2b(text.encode(), digest_size=12).digest()).decode()
