"""The client without its sockets: what is followed and up to where, which calls wait, what each message means.

Think of it as a notebook. Links (connections) come to ask what they should say, and bring what they heard; several
of them at once are no trouble, because every channel has one cursor and `merge` decides what is new. What a link
said so far is in its `Conversation`. There is no clock here (times are passed in), no socket and no thread: all of it
is touched in the loop's turn only.
"""

from __future__ import annotations

from typing import TypeAlias

from rtbridge.client import events as e
from rtbridge.client.answers import Answers
from rtbridge.client.conversation import Channel, Conversation, PendingCall, Standing, State
from rtbridge.client.errors import CallError, not_sent, outcome_unknown
from rtbridge.protocol import data as _data
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode, remedy
from rtbridge.protocol.merge import Cursor, merge
from rtbridge.protocol.polls import ChannelAnswer
from rtbridge.protocol.positions import Position

WINDOW = 64
"""Calls that may wait for their replies on one connection; the server takes 256 commands."""
_AboutChannel: TypeAlias = m.Subscribed | m.Publications | m.GapPush | m.SnapshotPush
RETRY_AFTER = 5.0
"""Seconds before a refused subscription or call is tried again, where the server gave none."""


class Core:
    """See above.

    Args:
        instance: random id of this client.
        agent: name and version, for the server's log.
        by_site: the token comes from the site, and only the site can give another.

    Attributes:
        token_wanted: no connection can be opened before the site has given a token.
    """

    def __init__(self, instance: str, agent: str, by_site: bool = False) -> None:
        self.channels: dict[str, Channel] = {}
        self.calls: dict[str, PendingCall] = {}
        self.answers = Answers()
        self.token: str | None = None
        self.client_id: str | None = None
        self.terms: m.HelloReply | None = None
        self.token_wanted = by_site
        self._by_site = by_site
        self._instance = instance
        self._agent = agent

    # -- what the application wants -----------------------------------------------------------------------

    def follow(
        self,
        channel: str,
        position: Position | None,
        recent: int | None,
        snapshot: bool = False,
        presence: dict[str, object] | None = None,
    ) -> None:
        """Follow a channel, after `position` if there is one."""
        self.channels[channel] = Channel(channel, Cursor(position), recent, snapshot, presence)

    def unfollow(self, channel: str) -> None:
        """Follow a channel no more."""
        self.channels.pop(channel, None)

    def hold(self, channel: str) -> None:
        """Take nothing for a channel until `release`. Its history waits for us; that is what histories are for."""
        if channel in self.channels:
            self.channels[channel].held = True

    def release(self, channel: str) -> None:
        """Its reader caught up: go on from the cursor."""
        if channel in self.channels:
            self.channels[channel].held = False

    def forget(self, call_id: str, why: str) -> CallError | None:
        """Give a call up; what its caller is to be told, or None if it has its answer already."""
        call = self.calls.pop(call_id, None)
        if call is None:
            return None
        if call.last_error is not None:
            return call.last_error
        return not_sent(call.name, why) if call.sent_as is None else outcome_unknown(call.name, why)

    def forget_token(self) -> None:
        """The token holds no longer: begin a new session. The cursors stay valid. A site is shown the one we had, so
        that it may go on with our session."""
        if self._by_site:
            self.token_wanted = True
        else:
            self.token = self.client_id = None

    def take_token(self, token: str) -> None:
        """The site gave one."""
        self.token, self.token_wanted = token, False

    # -- what to say --------------------------------------------------------------------------------------

    def hello(self, conversation: Conversation) -> m.Hello:
        """Opens a connection or a poll."""
        conversation.hello_as = self.client_id
        hello = m.Hello(conversation.next_id(), m.VERSION, self._instance, self.token, self._agent)
        conversation.asked[hello.id] = hello
        return hello

    def poll(self, conversation: Conversation, now: float) -> list[m.Command]:
        """All that a poll or stream says: hello and every channel. Earlier polls of the conversation are over."""
        conversation.asked.clear()
        conversation.cancelled.clear()
        for name in self.outdated(conversation):
            del conversation.standing[name]
        commands: list[m.Command] = [self.hello(conversation)]
        for channel in self._wanted(now):
            standing = conversation.standing.get(channel.name)
            if standing is None or standing.state is State.ASKED:
                commands.append(self._subscribe(conversation, channel))
            elif standing.state is State.ON:
                standing.told, standing.after = channel.presence, channel.cursor.position
                commands.append(
                    m.Subscribe(
                        None,
                        channel.name,
                        channel.cursor.position,
                        snapshot=channel.snapshot,
                        presence=channel.presence,
                    )
                )
        return commands

    def changes(self, conversation: Conversation, now: float) -> list[m.Command]:
        """What a socket has yet to say: subscriptions that came, went or have to begin anew, and calls."""
        for name in self.outdated(conversation):
            conversation.drop(name)
        commands: list[m.Command] = [m.Unsubscribe(None, name) for name in conversation.cancelled]
        conversation.cancelled.clear()
        commands += [self._subscribe(conversation, channel) for channel in self.missing(conversation, now)]
        for standing in self.untold(conversation):
            standing.told = standing.channel.presence
            commands.append(m.SetPresence(None, standing.channel.name, standing.told or {}))
        return [*commands, *self.send_calls(conversation, now, WINDOW)]

    def missing(self, conversation: Conversation, now: float) -> list[Channel]:
        """Channels that should be followed on a connection and are not."""
        standing = conversation.standing
        return [c for c in self._wanted(now) if c.name not in standing or standing[c.name].channel is not c]

    def outdated(self, conversation: Conversation) -> list[str]:
        """Channels that are followed on a connection and should not be."""
        return [
            name
            for name, standing in conversation.standing.items()
            if standing.channel is not self.channels.get(name) or standing.channel.held
        ]

    def untold(self, conversation: Conversation) -> list[Standing]:
        """Where a connection does not know what we tell of ourselves."""
        standing = conversation.standing.values()
        return [s for s in standing if s.state is State.ON and s.told is not s.channel.presence]

    def differs(self, conversation: Conversation, now: float) -> bool:
        """Whether a stream, which cannot be told anything any more, has to be replaced by another one."""
        unwanted = (conversation.standing[name].state for name in self.outdated(conversation))
        gone = bool(conversation.cancelled) or any(state is not State.APART for state in unwanted)
        return gone or bool(self.missing(conversation, now) or self.untold(conversation))

    def send_calls(self, conversation: Conversation, now: float, most: int) -> list[m.Command]:
        """Calls that wait for a connection, oldest first, such that at most `most` wait on this one.

        None before a hello was answered: the stored reply of a call belongs to its session, and in another session a
        call that is sent again would run again.
        """
        if not conversation.greeted:
            return []
        room = most - sum(call.where is conversation for call in self.calls.values())
        ready = [call for call in self.calls.values() if call.where is None and call.not_before <= now]
        commands: list[m.Command] = []
        for call in ready[: max(0, room)]:
            call.where, call.sent_as = conversation, self.client_id
            command = m.Call(conversation.next_id(), call.call_id, call.name, call.params)
            conversation.asked[command.id] = command
            commands.append(command)
        return [*commands, *self.answers.send(conversation)]

    def _wanted(self, now: float) -> list[Channel]:
        return [c for c in self.channels.values() if not c.held and c.not_before <= now]

    def _subscribe(self, conversation: Conversation, channel: Channel) -> m.Subscribe:
        position = channel.cursor.position
        recent = channel.recent if position is None else None
        command_id = conversation.next_id()
        command = m.Subscribe(
            command_id,
            channel.name,
            position,
            recent,
            snapshot=channel.snapshot,
            presence=channel.presence,
        )
        conversation.asked[command_id] = command
        conversation.standing[channel.name] = Standing(
            channel, command_id, told=channel.presence, after=position
        )
        return command

    # -- what was heard -----------------------------------------------------------------------------------

    def receive(self, conversation: Conversation, message: m.ServerMessage, now: float) -> list[e.Event]:
        """Take one message, as the conversation understands it; what follows from it."""
        match message:
            case m.Publications() | m.GapPush() | m.SnapshotPush():
                # Otherwise it is of a subscription that is no more.
                pushed = conversation.pushed(self.channels.get(message.channel))
                return self._merge(conversation, message) if pushed else []
            case m.Subscribed():
                return self._subscribed(conversation, message)
            case m.Result():
                conversation.asked.pop(message.id, None)
                return self._call_over(message.call_id, message.data)
            case m.ErrorReply():
                return self._failed(conversation, message, now)
            case m.HelloReply():
                return self._greeted(conversation, message)
            case m.UnsubscribedPush():
                if not conversation.pushed(self.channels.get(message.channel)):
                    return []
                del conversation.standing[message.channel]
                error = m.ErrorReply(None, message.code, message.message, retry_after=message.retry_after)
                return self.refuse(message.channel, error, now)
            case m.TokenPush():
                if conversation.hello_as == self.client_id:
                    self.token = message.token
                return []
            case m.Done():
                self.answers.done(conversation.asked.pop(message.id, None))
                return []
            case m.PingPush():
                return [e.Pinged()]
            case m.DisconnectPush():
                return [e.Over(e.ending_of_push(message))]
            case _:
                return []

    def receive_apart(self, name: str, answer: ChannelAnswer, after: Position | None) -> list[e.Event]:
        """Take the answer to a GET of one channel that asked for what came after `after`."""
        channel = self.channels.get(name)
        if channel is None or channel.held:
            return []
        if answer.snapshot is not None:
            push = m.SnapshotPush(name, answer.position, answer.snapshot, answer.recovered)
            return self._merge(None, push)
        recovered = answer.recovered is not False if after is not None else None
        reply = m.Subscribed(
            1, name, channel.cursor.keep, answer.position, recovered, answer.publications, answer.more
        )
        return [] if _is_late(channel, reply, after) else self._merge(None, reply)

    def end(self, conversation: Conversation) -> None:
        """A link ended: its calls have to be sent again elsewhere, under the same call ids."""
        for call in self.calls.values():
            if call.where is conversation:
                call.where = None
        self.answers.release(conversation)

    def fail_call(self, call_id: str, error: m.ErrorReply) -> list[e.Event]:
        """End a call with an error."""
        return self._call_over(call_id, call_error(error))

    def refuse(self, name: str, error: m.ErrorReply, now: float) -> list[e.Event]:
        """The server does not let us follow a channel: for good, or for now."""
        channel = self.channels.get(name)
        if channel is None:
            return []
        if remedy(error.code) == "retry":
            pause = RETRY_AFTER if error.retry_after is None else error.retry_after
            channel.not_before = now + pause
            return [e.Later(pause)]
        del self.channels[name]
        return [e.FeedOver(name, error.code, error.message)]

    def _greeted(self, conversation: Conversation, message: m.HelloReply) -> list[e.Event]:
        conversation.asked.pop(message.id, None)
        if message.client_id != self.client_id and conversation.hello_as != self.client_id:
            # Two hellos were under way without a token, or with one that was refused, and each began a session.
            # The first answer made us who we are: this connection has to come again with that token.
            return [e.Over(e.Ending("resume", "another connection began the session", retry_after=0.0))]
        conversation.greeted = True
        conversation.hello_as = message.client_id
        self.client_id, self.terms = message.client_id, message
        self.token = message.token or self.token
        lost = [c for c in self.calls.values() if c.sent_as not in (None, message.client_id)]
        over: list[e.Event] = []
        for call in lost:
            why = "the session it belonged to is over"
            over += self._call_over(call.call_id, outcome_unknown(call.name, why))
        return [e.Greeted(message), *over]

    def _subscribed(self, conversation: Conversation, message: m.Subscribed) -> list[e.Event]:
        conversation.asked.pop(message.id, None)
        standing = conversation.standing.get(message.channel)
        if standing is None or standing.command_id != message.id:
            return []  # asked again since, or not wanted any more
        standing.state = State.ON if message.limit is None else State.APART
        standing.channel.limit = message.limit
        if standing.channel is not self.channels.get(message.channel):
            return []
        return self._merge(conversation, message)

    def _merge(self, conversation: Conversation | None, message: _AboutChannel) -> list[e.Event]:
        channel = self.channels.get(message.channel)
        if channel is None:
            return []
        followed_here = conversation is not None and conversation.pushed(channel)
        if channel.held:
            if conversation is not None and followed_here:
                conversation.drop(channel.name)  # what was thrown away has to be asked for again
            return []
        if conversation is not None and followed_here:
            standing = conversation.standing[channel.name]
            after, standing.after = standing.after, message.position
            if _is_late(channel, message, after):
                conversation.drop(channel.name)
                return []
        merged = merge(channel.cursor, message)
        channel.cursor = merged.cursor
        found: list[e.Event] = []
        if merged.snapshot and isinstance(message, m.SnapshotPush):
            found.append(e.SnapshotFound(channel.name, message.position, message.data, merged.gap))
            found.append(e.Confirmed(channel.name, message.position))
        elif merged.gap:
            found.append(e.GapFound(channel.name, message.position))
        if merged.deliver:
            found.append(e.Delivered(channel.name, message.position.epoch, merged.deliver))
        if merged.resubscribe and conversation is not None and followed_here:
            conversation.drop(channel.name)
        elif isinstance(message, m.Subscribed) and merged.cursor.position is not None:
            found.append(e.Confirmed(channel.name, merged.cursor.position))
        return found

    def _failed(self, conversation: Conversation, message: m.ErrorReply, now: float) -> list[e.Event]:
        match conversation.asked.pop(message.id or 0, None):
            case m.Hello():
                return [e.Over(e.ending_of_error(message))]
            case m.Subscribe() as command:
                return self._subscribe_failed(conversation, command, message, now)
            case m.Call() as command:
                return self._call_failed(command, message, now)
            case m.Answer() as command:
                self.answers.done(command)
                return []
            case _:
                return []

    def _subscribe_failed(
        self, conversation: Conversation, command: m.Subscribe, error: m.ErrorReply, now: float
    ) -> list[e.Event]:
        standing = conversation.standing.get(command.channel)
        if standing is None or standing.command_id != command.id:
            return []
        if error.code == ErrorCode.ALREADY_SUBSCRIBED:
            conversation.drop(
                command.channel
            )  # begin anew: from where that subscription goes, we do not know
            return []
        del conversation.standing[command.channel]
        return self.refuse(command.channel, error, now)

    def _call_failed(self, command: m.Call, error: m.ErrorReply, now: float) -> list[e.Event]:
        call = self.calls.get(command.call_id)
        if call is None:
            return []
        pause = RETRY_AFTER if error.retry_after is None else error.retry_after
        # A handler that raised is for the caller to know: running it again by ourselves could do its half twice.
        again = remedy(error.code) == "retry" and error.code != ErrorCode.FAILED
        if not again or now + pause >= call.deadline:
            return self.fail_call(call.call_id, error)
        call.where, call.not_before, call.last_error = None, now + pause, call_error(error)
        return [e.Later(pause)]

    def _call_over(self, call_id: str, answer: bytes | CallError) -> list[e.Event]:
        if self.calls.pop(call_id, None) is None:
            return []
        return [e.CallOver(call_id, answer)]


def _is_late(channel: Channel, message: _AboutChannel, after: Position | None) -> bool:
    """Whether it tells of a gap to somebody who stood at `after`, while another connection brought us further in the
    same log. What comes after our cursor may well be there still: that has to be asked for."""
    here, there = channel.cursor.position, message.position
    gap = isinstance(message, m.GapPush) or (isinstance(message, m.Subscribed) and message.recovered is False)
    if not gap or here is None or here == after:
        return False
    return here.epoch == there.epoch and here.offset < there.offset


def call_error(error: m.ErrorReply) -> CallError:
    """An error reply as what the caller will see."""
    data = None if error.data is None else _data.decode(error.data)
    return CallError(error.code, error.message, fields=error.fields, data=data, retry_after=error.retry_after)
