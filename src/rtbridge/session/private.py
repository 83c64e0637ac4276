"""`~me`: what is meant for this client or its user, out of the mailbox that it shares with a sixteenth of everybody.

How to think about it: one reader for each mailbox and process looks at the address of every letter, once, and marks
only those whom it concerns. A session here is a `Place`: two addresses and a position in the mailbox. Nothing waits
in it; when its connection can take something, it reads the mailbox from its position, passing over what is for others.
So ten thousand sessions to whom nobody writes cost the bus nothing, and this process a few hundred bytes each.

A position that does not move, because there is nothing for this client, would fall out of the mailbox's history in
time. So now and then, and at the end of every poll, the client is told how far the mailbox has come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rtbridge.bus.contract import Keep
from rtbridge.errors import BusError, ProtocolError
from rtbridge.fanout import Fanout, Tail
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.positions import Position
from rtbridge.protocol.private import PRIVATE
from rtbridge.protocol.publications import Gap, Page, Publication
from rtbridge.runtime import Loop
from rtbridge.session.addresses import client_address, mailbox_channel, mailbox_of_client, user_address
from rtbridge.session.mail import address_of, mail_keep, opened
from rtbridge.session.subscription import page_on

if TYPE_CHECKING:
    from rtbridge.session.services import Services
    from rtbridge.session.session import Session

_REFRESHES = 4  # a client is told how far its mailbox has come after this part of the mailbox's size and life


class Place:
    """One session's place in its mailbox. In the turn.

    Attributes:
        position: up to where the client was told.
        start: the offset up to which nothing is for it that it does not have; at least that of `position`.
        dirty: there may be something after `start`.
    """

    __slots__ = ("addresses", "box", "dirty", "position", "session", "start")

    def __init__(
        self, session: Session, box: Mailbox, addresses: tuple[bytes, ...], position: Position
    ) -> None:
        self.session = session
        self.box = box
        self.addresses = addresses
        self.position = position
        self.start = position.offset
        self.dirty = True

    def mark(self, offset: int | None) -> None:
        """There is a letter at `offset`, or there may be any number (None)."""
        if not self.dirty and (offset is None or offset > self.start):
            self.dirty = True
            if offset is not None:
                self.start = offset - 1
            self.session.news(PRIVATE)

    def move_on(self, position: Position) -> None:
        """The client has all that is for it up to `position`."""
        self.position = position
        self.start = position.offset


class Mailbox:
    """One mailbox as this process follows it, on behalf of all its sessions. A reader of the fanout."""

    weight = 1
    """(For the fanout.)"""

    def __init__(self, channel: str, fanout: Fanout, tail: Tail, refresh_after: int) -> None:
        self.channel = channel
        self.places: dict[bytes, dict[Place, None]] = {}
        self._fanout = fanout
        self._seen = tail.position()
        self._refreshed = tail.last
        self._refresh_after = refresh_after
        fanout.join(channel, self)

    def add(self, place: Place) -> None:
        for address in place.addresses:
            self.places.setdefault(address, {})[place] = None

    def remove(self, place: Place) -> None:
        for address in place.addresses:
            found = self.places.get(address)
            if found is not None:
                found.pop(place, None)
                if not found:
                    del self.places[address]

    def everybody(self) -> list[Place]:
        """Each place once."""
        return list({place: None for found in self.places.values() for place in found})

    def news(self, channel: str) -> None:
        """(Fanout's callback.) Sort the mail that came."""
        tail = self._fanout.tail(channel)
        if tail is None:
            return
        found = tail.after(self._seen, tail.last, 1 << 60)
        self._seen = tail.position()
        if found is None or isinstance(found, Gap):
            for place in self.everybody():
                place.mark(None)
            return
        for entry in found:
            for place in self.places.get(address_of(entry.publication), ()):
                place.mark(entry.offset)
        if tail.last - self._refreshed >= self._refresh_after:
            self.refresh()

    def refresh(self) -> None:
        """Tell the clients how far the mailbox has come, where they do not know."""
        tail = self._fanout.tail(self.channel)
        if tail is None:
            return
        self._refreshed = tail.last
        for place in self.everybody():
            if place.position != tail.position():
                place.mark(tail.last + 1)


class Mailboxes:
    """All mailboxes that this process follows: those of its sessions, sixteen at most. In the turn."""

    def __init__(self, services: Services) -> None:
        self._fanout = services.fanout
        self._loop: Loop = services.loop
        self._limits = services.limits
        self._keep: Keep = mail_keep(services.limits)
        self._boxes: dict[str, Mailbox] = {}
        self._ticking = False

    def when_ready(self, client_id: str, then: Callable[[Mailbox | BusError], object]) -> None:
        """Call `then` with a client's mailbox, followed, or with what was in the way."""
        channel = mailbox_channel(mailbox_of_client(client_id))
        self._fanout.when_ready(channel, self._keep, lambda tail: then(self._followed(channel, tail)))

    def _followed(self, channel: str, tail: Tail | BusError) -> Mailbox | BusError:
        if isinstance(tail, BusError):
            return tail
        box = self._boxes.get(channel)
        if box is None:
            refresh_after = max(1, int(self._limits.mailbox_size / _REFRESHES))
            box = self._boxes[channel] = Mailbox(channel, self._fanout, tail, refresh_after)
            self._start_ticking()
        return box

    def _start_ticking(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(self._limits.mailbox_ttl / _REFRESHES, self._tick)

    def _tick(self) -> None:
        self._loop.call_later(self._limits.mailbox_ttl / _REFRESHES, self._tick)
        for box in self._boxes.values():
            box.refresh()


def begin(session: Session, command: m.Subscribe) -> None:
    """Carry out a subscribe command for `~me`. In the turn.

    Raises:
        ProtocolError: it can be refused at once.
    """
    if session.private is not None:
        raise ProtocolError(ErrorCode.ALREADY_SUBSCRIBED, f"already subscribed to {PRIVATE!r} here")
    resume = session.wait()
    session.services.mailboxes.when_ready(
        session.known_identity.client_id, lambda box: resume(command, partial(_enter, session, command), box)
    )


def _enter(session: Session, command: m.Subscribe, box: Mailbox | BusError) -> None:
    tail = None if isinstance(box, BusError) else session.services.fanout.tail(box.channel)
    if isinstance(box, BusError) or tail is None:
        raise ProtocolError(ErrorCode.UNAVAILABLE, str(box))
    identity = session.known_identity
    addresses: tuple[bytes, ...] = (client_address(identity.client_id),)
    if identity.user_id is not None:
        addresses += (user_address(identity.user_id),)
    place = Place(session, box, addresses, command.position or tail.position())
    if command.id is None:
        _join(session, place)
        session.news(PRIVATE)
        return

    def answer(found: Found | Gap | BusError) -> None:
        if isinstance(found, BusError):
            raise ProtocolError(ErrorCode.UNAVAILABLE, str(found))
        _join(session, place)
        _answer(session, command, place, found)

    found = look(place, tail, session.services.limits.page_bytes)
    if found is not None:
        answer(found)
    else:
        resume = session.wait()
        _read(place, lambda found: resume(command, answer, found))


def _join(session: Session, place: Place) -> None:
    session.private = place
    place.box.add(place)


def _answer(session: Session, command: m.Subscribe, place: Place, found: Found | Gap) -> None:
    assert command.id is not None
    whole = isinstance(found, Found)
    place.move_on(found.position)
    more = isinstance(found, Found) and found.more
    letters = found.letters if isinstance(found, Found) else ()
    session.reply(
        m.Subscribed(
            command.id,
            PRIVATE,
            "private",
            found.position,
            None if command.position is None else whole,
            tuple(_delivered(session, letters)),
            more,
        )
    )
    session.news(PRIVATE)  # something may have come while the bus was read


def leave(session: Session) -> None:
    """No longer follow `~me`. In the turn; idempotent."""
    place, session.private = session.private, None
    if place is not None:
        place.box.remove(place)


class Found:
    """What a look into the mailbox brought: letters for this place, opened, and how far it looked."""

    __slots__ = ("letters", "more", "position")

    def __init__(self, letters: Sequence[Publication], position: Position, more: bool) -> None:
        self.letters = letters
        self.position = position
        self.more = more


def pull(place: Place, max_bytes: int) -> bytes | None:
    """What is to be sent of `~me` now, if anything."""
    session = place.session
    tail = session.services.fanout.tail(place.box.channel)
    found = None if tail is None else look(place, tail, max_bytes)
    if found is None:
        _catch_up(session, place)
        return None
    return _push(session, place, found)


def parting_word(session: Session) -> list[bytes]:
    """How far the mailbox has come, for a poll that is answered now: its client comes again with this position."""
    place = session.private
    tail = None if place is None else session.services.fanout.tail(place.box.channel)
    if place is None or tail is None or place.dirty or place.position == tail.position():
        return []
    place.move_on(tail.position())
    return [page_on(session.outlet.wire, PRIVATE, place.position, (), False)]


def look(place: Place, tail: Tail, max_bytes: int) -> Found | Gap | None:
    """Look into the tail of the mailbox; None if that does not tell."""
    if place.position.epoch == tail.epoch and place.start >= tail.last == place.position.offset:
        return Found((), tail.position(), False)
    found = tail.after(Position(place.position.epoch, place.start), tail.last, 1 << 60)
    if found is None or isinstance(found, Gap):
        return found
    return _sorted(place, [entry.publication for entry in found], tail.position(), False, max_bytes)


def _sorted(place: Place, mail: Sequence[Publication], end: Position, more: bool, max_bytes: int) -> Found:
    now = place.session.services.access.wall()
    letters: list[Publication] = []
    size = 0
    for publication in mail:
        if address_of(publication) not in place.addresses:
            continue
        letter = opened(publication, now)
        if letter is None:
            continue
        size += len(letter.data)
        if letters and size > max_bytes:
            return Found(letters, Position(end.epoch, letter.offset - 1), True)
        letters.append(letter)
    return Found(letters, end, more)


def _read(place: Place, then: Callable[[Found | Gap | BusError], object]) -> None:
    """Look into the history of the mailbox, on the bus, one page at a time."""
    limits = place.session.services.limits

    def came(page: Page | Gap | BusError) -> None:
        if isinstance(page, Page):
            found = _sorted(place, page.publications, page.position, page.more, limits.page_bytes)
            if page.more and not found.letters:
                place.start = page.position.offset
                _read(place, then)
                return
            then(found)
        else:
            then(page)

    after = Position(place.position.epoch, place.start)
    place.session.services.fanout.read_bus(place.box.channel, after, limits.page_publications, came)


def _catch_up(session: Session, place: Place) -> None:
    """Read on from the bus, as a session does: one page at a time, whatever it is a page of."""
    if session._reading:
        session.mark(PRIVATE)
        return
    session._reading = True

    def came(found: Found | Gap | BusError) -> None:
        session._reading = False
        if session.private is place:
            if isinstance(found, BusError):
                session.services.loop.call_later(1.0, session.news, PRIVATE)
            else:
                piece = _push(session, place, found)
                if piece is not None:
                    session.owe(piece)
        session.go_on()

    _read(place, came)


def _push(session: Session, place: Place, found: Found | Gap) -> bytes | None:
    if isinstance(found, Gap):
        place.dirty = False
        place.move_on(found.position)
        session.services.metrics.add("gaps")
        return session._encode(m.GapPush(PRIVATE, found.position))
    tail = session.services.fanout.tail(place.box.channel)
    behind = tail is not None and tail.epoch == found.position.epoch and tail.last > found.position.offset
    place.dirty = found.more or behind
    if place.dirty:
        session.news(PRIVATE)
        session.more = session.more or found.more
    live = session.outlet.transport in ("websocket", "eventstream")
    if not found.letters and not (live and found.position != place.position):
        # Nothing for this client; a poll is told how far we looked when it is answered for another reason.
        place.start = max(place.start, found.position.offset)
        return None
    place.move_on(found.position)
    return page_on(
        session.outlet.wire, PRIVATE, found.position, _delivered(session, found.letters), found.more
    )


def _delivered(session: Session, letters: Sequence[Publication]) -> Sequence[Publication]:
    session.services.metrics.add("deliveries", len(letters))
    session.services.questions.delivered(letters)
    return letters
