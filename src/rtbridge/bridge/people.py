"""What a server says to people rather than to channels: to one client, or to a user wherever it is.

All of it works from anywhere, like publishing: a view, a task, a shell. Letters go into the addressee's mailbox on the
bus, and whichever worker has its connection, or answers its next poll, gives them to it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rtbridge.bridge.channel import Channel, OneChannel, Present, Published
from rtbridge.contract.revocations import Revocation
from rtbridge.contract.types import Schema
from rtbridge.errors import AskFailed, AskTimeout, ClientGone, DataError, DeclarationError
from rtbridge.protocol import data as canonical
from rtbridge.protocol.codes import DisconnectCode
from rtbridge.protocol.presence import Roster
from rtbridge.protocol.private import PRIVATE, Dismissal, Invitation, Letter, Note, Question
from rtbridge.session.addresses import (
    client_address,
    mailbox_channel,
    mailbox_of_client,
    mailbox_of_user,
    user_address,
)
from rtbridge.session.calls import current_call
from rtbridge.session.mail import mail_keep, sealed
from rtbridge.session.members import Members
from rtbridge.session.questions import Records
from rtbridge.session.revocation import CONTROL, control_keep
from rtbridge.session.rosters import Rosters, snapshot_of

if TYPE_CHECKING:
    from rtbridge.bridge.bridge import Bridge

_ANYTHING = Schema(Any, "data of a letter")
_FIRST_LOOK, _LONGEST_PAUSE = 0.002, 0.05  # seconds between looks for an answer


class Addressee:
    """A client or a user; made by `Bridge.client` and `Bridge.user`."""

    __slots__ = ("_address", "_bridge", "_mailbox", "id")
    _kind = ""

    def __init__(self, bridge: Bridge, id: str, address: bytes, mailbox: int) -> None:
        self._bridge = bridge
        self.id = id
        self._address = address
        self._mailbox = mailbox_channel(mailbox)

    def __repr__(self) -> str:
        return f"<{self._kind} {self.id!r}>"

    def publish(self, value: object, *, key: str | None = None) -> Published:
        """Send it a letter. Who is away finds it on coming back, for `limits.mailbox_ttl` seconds at least.

        Inside a Django transaction it leaves with the commit.

        Args:
            value: any JSON value, bytes, a dataclass or a pydantic model.
            key: an idempotency key, as for `OneChannel.publish`.

        Raises:
            DataError: the value cannot travel, or is over `limits.max_publication`.
            BusUnavailable: the bus is out of reach.
        """
        data = _ANYTHING.dump(value)
        if len(data) > self._bridge.limits.max_publication:
            raise DataError(
                f"a letter to {self!r} has {len(data)} bytes, "
                f"over limits.max_publication = {self._bridge.limits.max_publication}"
            )
        published = Published(PRIVATE)

        def leave() -> None:
            published.position = self._send(Note(self._kind, data), key)

        self._bridge.framework.after_commit(leave)
        return published

    def subscribe(self, channel: str | OneChannel) -> None:
        """Put it into a channel: it may follow it from now on, whatever authorize says, and is told to.

        Clients that are connected, or come back within the life of a letter, subscribe by themselves. It may follow
        for `limits.member_ttl` seconds from the last time it was let in, until `unsubscribe`.

        Raises:
            DeclarationError: no such channel was declared.
            BusUnavailable: the bus is out of reach.
        """
        name = self._bridge.channel_name(channel)

        def leave() -> None:
            position = self._bridge.position(name)
            self._bridge.members.add(self._address, name)
            self._send(Invitation(name, position))

        self._bridge.framework.after_commit(leave)

    def unsubscribe(self, channel: str | OneChannel) -> None:
        """Take it out of a channel: what `subscribe` gave has ended, its subscriptions end within a second, and it is
        told not to follow any more. Where authorize lets it in by itself, it could come back.

        Raises:
            DeclarationError: no such channel was declared.
            BusUnavailable: the bus is out of reach.
        """
        name = self._bridge.channel_name(channel)

        def leave() -> None:
            self._bridge.members.remove(self._address, name)
            whose: dict[str, Any] = {self._kind: self.id}
            self._bridge.take_back(Revocation(time.time(), channel=name, **whose))
            self._send(Dismissal(name))

        self._bridge.framework.after_commit(leave)

    def _send(self, letter: Letter, key: str | None = None) -> Any:
        bridge, call = self._bridge, current_call.get()
        cause = None if call is None else call.call_id
        mail = sealed(self._address, letter)
        bridge.metrics.add("letters")
        return bridge.bus.publish(self._mailbox, mail, mail_keep(bridge.limits), cause=cause, key=key)


class UserAddressee(Addressee):
    """A user: all clients of it, now and as long as a letter is kept."""

    __slots__ = ()
    _kind = "user"


class ClientAddressee(Addressee):
    """One client: a tab, an app, a program."""

    __slots__ = ()
    _kind = "client"

    def call(self, name: str, params: Mapping[str, object] | None = None, *, timeout: float = 10.0) -> object:
        """Ask the client, and wait for its answer. Blocks this thread or greenlet, not the server.

        Args:
            name: what the client knows it by: `rt.handle(name, …)` in the browser, `client.handle` in Python.
            params: any JSON values and bytes, by name.
            timeout: seconds.

        Returns:
            What the client's function returned.

        Raises:
            ClientGone: the client was not reached within `limits.ask_taken` seconds (or within `timeout`): it is not
                connected, and does not poll.
            AskTimeout: it was reached, and did not answer in time; it may still act on it.
            AskFailed: it knows no such name, or its function failed.
            BusUnavailable: the bus is out of reach.
        """
        ask_id = secrets.token_urlsafe(16)
        bridge, records = self._bridge, Records(self._bridge.bus)
        records.ask(ask_id, self.id, timeout)
        # Whole seconds, and one more: a question that waits for a poller must not expire by rounding.
        self._send(Question(ask_id, name, int(time.time() + timeout) + 1, dict(params or {})))
        began = time.monotonic()
        taken, pause = False, _FIRST_LOOK
        reach = min(timeout, bridge.limits.ask_taken)
        while (reply := records.reply(ask_id)) is None:
            waited = time.monotonic() - began
            if not taken and waited >= reach:
                taken = records.was_taken(ask_id)
            if waited >= (timeout if taken else reach):
                records.forget(ask_id)
                raise _no_answer(self, name, waited, taken)
            bridge.pause(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        records.forget(ask_id)
        if reply.data is None:
            raise AskFailed(reply.code or 0, f"{name} at {self!r}: {reply.message}")
        return canonical.decode(reply.data)


def _no_answer(client: ClientAddressee, name: str, waited: float, taken: bool) -> Exception:
    if taken:
        return AskTimeout(f"{client!r} took {name} and did not answer within {waited:.1f} s")
    return ClientGone(f"{client!r} was not there to be asked {name} within {waited:.1f} s")


class People:
    """The half of a bridge that is about people. See `Bridge`."""

    def _as_bridge(self) -> Bridge:
        return self  # type: ignore[return-value]  # there is no other use of this class

    @property
    def members(self) -> Members:
        """Who was put into which channel."""
        return Members(self._as_bridge().bus, self._as_bridge().limits)

    def client(self, client_id: str) -> ClientAddressee:
        """One client, by its `ctx.client_id`."""
        address = client_address(client_id)
        return ClientAddressee(self._as_bridge(), client_id, address, mailbox_of_client(client_id))

    def user(self, user: object) -> UserAddressee:
        """A user, with all its clients.

        Args:
            user: its id as text or number, or the framework's own user.
        """
        user_id = self.user_id_of(user)
        return UserAddressee(self._as_bridge(), user_id, user_address(user_id), mailbox_of_user(user_id))

    def user_id_of(self, user: object) -> str:
        """The id of a user as text, given that, its number, or the framework's own user.

        Raises:
            DataError: it is nobody.
        """
        if isinstance(user, str | int) and not isinstance(user, bool):
            return str(user)
        found = None if user is None else self._as_bridge().framework.user_id(user)
        if found is None:
            raise DataError(f"{user!r} is no user: give its id, or the framework's user")
        return found

    def presence_of(self, name: str) -> Present:
        """Who is on a channel; what `OneChannel.presence` calls."""
        bridge = self._as_bridge()
        roster = Roster(Rosters(bridge.bus, bridge.limits).read(name))
        return Present(tuple(roster.people().values()), roster.count, roster.complete)

    def presence_snapshot(self, name: str) -> object:
        """The snapshot of a channel's presence."""
        bridge = self._as_bridge()
        return snapshot_of(Rosters(bridge.bus, bridge.limits).read(name))

    def subscribe(self, user: object, channel: str | OneChannel) -> None:
        """Put a user into a channel; `rt.client(id).subscribe(channel)` does it for one client. See
        `Addressee.subscribe`."""
        self.user(user).subscribe(channel)

    def unsubscribe(self, user: object, channel: str | OneChannel) -> None:
        """Take a user out of a channel; see `Addressee.unsubscribe`."""
        self.user(user).unsubscribe(channel)

    def revoke(
        self,
        *,
        user: object = None,
        client: str | None = None,
        channel: str | OneChannel | Channel | None = None,
    ) -> None:
        """Take back what a user or a client was granted: subscriptions end on every worker within a second, on every
        transport, and tokens no longer prove anything. Public channels stay. Whoever subscribes again is authorised
        anew, so take it out of the group first.

        Args:
            user, client: whose; one of the two.
            channel: where: a name, `photos(group_id=7)`, or a declared channel for all of its family. None: everywhere.

        Raises:
            DeclarationError: no such channel was declared.
            DataError: neither or both of user and client were given, or it is no user.
            BusUnavailable: the bus is out of reach.
        """
        where: str | None = None
        if isinstance(channel, Channel):
            where = channel.pattern.text
        elif channel is not None:
            where = self.channel_name(channel)
        whose = self._whose(user, client)
        self._as_bridge().framework.after_commit(
            lambda: self.take_back(Revocation(time.time(), channel=where, **whose))
        )

    def disconnect(self, *, user: object = None, client: str | None = None, come_back: bool = False) -> None:
        """End all sessions of a user, or that of a client, on every worker within a second: sockets, streams and polls.
        A page that is loaded anew is authenticated anew, so log the user out first.

        Args:
            user, client: whose; one of the two.
            come_back: whether its clients shall come back by themselves, as new sessions.

        Raises:
            DataError: neither or both of user and client were given, or it is no user.
            BusUnavailable: the bus is out of reach.
        """
        code = DisconnectCode.CREDENTIALS_CHANGED if come_back else DisconnectCode.ENDED
        whose = self._whose(user, client)
        self._as_bridge().framework.after_commit(
            lambda: self.take_back(Revocation(time.time(), code=int(code), **whose))
        )

    def _whose(self, user: object, client: str | None) -> dict[str, Any]:
        if (user is None) == (client is None):
            raise DataError("say whose: user=… or client=…, one of the two")
        return {"client": client} if user is None else {"user": self.user_id_of(user)}

    def take_back(self, revocation: Revocation) -> None:
        """Tell every process."""
        bridge = self._as_bridge()
        bridge.bus.publish(CONTROL, revocation.dump(), control_keep(bridge.limits))

    def channel_name(self, channel: str | OneChannel) -> str:
        """The name of a declared channel.

        Raises:
            DeclarationError: it was not declared.
        """
        name = str(channel)
        if self._as_bridge().registry.channel_for(name) is None:
            raise DeclarationError(f"no channel is declared for {name!r}")
        return name

    def pause(self, seconds: float) -> None:
        """Wait, letting other greenlets run where this process serves with gevent."""
        services = self._as_bridge().serving
        wait: Callable[[float], object] = time.sleep if services is None else services.loop.mailbox().get
        wait(seconds)
