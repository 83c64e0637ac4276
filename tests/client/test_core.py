"""The core's decisions one by one; test_core_machine.py has them all at once."""

from __future__ import annotations

from typing import Any

import pytest

from rtbridge.client import events as e
from rtbridge.client.core import RETRY_AFTER, WINDOW, Conversation, Core, PendingCall, State
from rtbridge.client.errors import CallError
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.polls import ChannelAnswer
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication

NOW = 1000.0


def at(offset: int, epoch: str = "E") -> Position:
    return Position(epoch, offset)


def publications(*offsets: int) -> tuple[Publication, ...]:
    return tuple(Publication(offset, b"%d" % offset) for offset in offsets)


def hello_reply(core: Core, conversation: Conversation, **fields: Any) -> m.HelloReply:
    values: dict[str, Any] = {
        "id": conversation.last_id, "version": 1, "client_id": "c-1", "resumed": True, "token": "t-1",
        "expires_in": 300, "transport": "websocket", "offers": ("websocket",), "ping": 25, "wait": 25, "interval": 5,
    }  # fmt: skip
    return m.HelloReply(**{**values, **fields})


class Talk:
    """A core and one conversation of it."""

    def __init__(self, core: Core | None = None, *, greet: bool = True, **reply: Any) -> None:
        self.core = core or Core("instance-1", "test/1")
        self.conversation = Conversation()
        self.hello = self.core.hello(self.conversation)
        if greet:
            self.hear(hello_reply(self.core, self.conversation, **reply))

    def hear(self, message: m.ServerMessage, now: float = NOW) -> list[e.Event]:
        return self.core.receive(self.conversation, message, now)

    def changes(self, now: float = NOW) -> list[m.Command]:
        return self.core.changes(self.conversation, now)

    def poll(self, now: float = NOW) -> list[m.Command]:
        return self.core.poll(self.conversation, now)[1:]

    def follow(self, name: str = "news", offset: int = 5) -> m.Subscribe:
        """Followed, confirmed, with a cursor at `offset`."""
        self.core.follow(name, None, None)
        (command,) = self.changes()
        assert isinstance(command, m.Subscribe) and command.id is not None
        self.hear(m.Subscribed(command.id, name, "history", at(offset)))
        return command

    def call(self, call_id: str = "call-0001", deadline: float = NOW + 30) -> m.Call:
        self.core.calls[call_id] = PendingCall(call_id, "add", {"a": 1}, deadline)
        (command,) = self.changes()
        assert isinstance(command, m.Call)
        return command


# -- hello and the session


def test_hello_names_the_instance_and_the_newest_token() -> None:
    talk = Talk(greet=False)
    assert talk.hello == m.Hello(1, 1, "instance-1", None, "test/1")
    (greeted,) = talk.hear(hello_reply(talk.core, talk.conversation))
    assert isinstance(greeted, e.Greeted)
    assert talk.core.hello(Conversation()).token == "t-1"
    assert talk.hear(m.TokenPush("t-2", 300)) == []
    assert talk.core.hello(Conversation()).token == "t-2"
    assert talk.core.client_id == "c-1"


def test_a_forgotten_token_begins_a_new_session_and_keeps_the_cursor() -> None:
    talk = Talk()
    talk.follow(offset=7)
    talk.core.forget_token()
    again = Talk(talk.core, client_id="c-2", token="t-9")
    assert again.hello.token is None and talk.core.client_id == "c-2"
    assert again.changes() == [m.Subscribe(2, "news", at(7))]


def test_of_two_first_hellos_the_first_answered_wins() -> None:
    core = Core("instance-1", "test/1")
    slow = Talk(core, greet=False)
    Talk(core, client_id="c-1", token="t-1")
    (over,) = slow.hear(hello_reply(core, slow.conversation, client_id="c-2", token="t-2"))
    assert isinstance(over, e.Over) and over.ending.step == "resume" and over.ending.retry_after == 0
    assert (core.client_id, core.token) == ("c-1", "t-1") and not slow.conversation.greeted
    slow.hear(m.TokenPush("t-3", 300))
    assert core.token == "t-1", "a token of that other session is not ours"


def test_a_refused_hello_ends_the_connection() -> None:
    talk = Talk(greet=False)
    (over,) = talk.hear(m.ErrorReply(1, ErrorCode.UNAVAILABLE, "no bus", retry_after=3.0))
    assert over == e.Over(e.Ending("resume", "200 unavailable: no bus", 200, 3.0))


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (ErrorCode.UNSUPPORTED_VERSION, "stop"), (ErrorCode.FORBIDDEN_ORIGIN, "stop"),
        (ErrorCode.TRANSPORT_UNAVAILABLE, "lower"), (ErrorCode.BAD_HANDSHAKE, "lower"),
        (ErrorCode.WRONG_CONTENT_TYPE, "lower"), (ErrorCode.TOO_MANY, "resume"), (ErrorCode.FAILED, "resume"),
        (199, "lower"), (299, "resume"),
    ],
)  # fmt: skip
def test_what_follows_from_a_refusal(code: int, step: str) -> None:
    assert e.ending_of_error(m.ErrorReply(None, code, "")).step == step


@pytest.mark.parametrize(
    ("code", "step"),
    [(4000, "resume"), (4001, "resume"), (4050, "resume"), (4100, "renew"), (4200, "lower"), (4301, "stop"),
     (1000, "resume"), (1009, "lower"), (1011, "resume"), (None, "resume")],
)  # fmt: skip
def test_what_follows_from_a_disconnect(code: int | None, step: str) -> None:
    assert e.ending_of_close(code, "").step == step


def test_disconnect_and_ping_pushes_are_passed_on() -> None:
    talk = Talk()
    (over,) = talk.hear(m.DisconnectPush(4000, "going away", 3.2))
    assert isinstance(over, e.Over) and (over.ending.code, over.ending.retry_after) == (4000, 3.2)
    assert talk.hear(m.PingPush()) == [e.Pinged()]
    assert talk.hear(m.PongReply(77)) == []


# -- following, on a socket


def test_a_channel_is_subscribed_once_from_now_on() -> None:
    talk = Talk()
    talk.core.follow("news", None, None)
    assert talk.changes() == [m.Subscribe(2, "news")]
    assert talk.changes() == []
    events = talk.hear(m.Subscribed(2, "news", "history", at(5)))
    assert events == [e.Confirmed("news", at(5))]
    events = talk.hear(m.Publications("news", at(7), publications(6, 7)))
    assert events == [e.Delivered("news", "E", publications(6, 7))]
    assert talk.hear(m.Publications("news", at(7), publications(6, 7))) == [], "once"
    assert talk.changes() == []


def test_recent_is_asked_for_only_while_there_is_no_position() -> None:
    talk = Talk()
    talk.core.follow("news", None, 20)
    assert talk.changes() == [m.Subscribe(2, "news", None, 20)]
    events = talk.hear(m.Subscribed(2, "news", "history", at(2), publications=publications(1, 2)))
    assert events == [e.Delivered("news", "E", publications(1, 2)), e.Confirmed("news", at(2))]
    assert Talk(talk.core).changes() == [m.Subscribe(2, "news", at(2))]


def test_a_given_position_is_sent_and_a_gap_is_told() -> None:
    talk = Talk()
    talk.core.follow("news", at(3), None)
    assert talk.changes() == [m.Subscribe(2, "news", at(3))]
    events = talk.hear(m.Subscribed(2, "news", "history", at(90), recovered=False))
    assert events == [e.GapFound("news", at(90)), e.Confirmed("news", at(90))]
    assert talk.hear(m.GapPush("news", at(120))) == [e.GapFound("news", at(120))]
    assert talk.hear(m.GapPush("news", at(100))) == [], "bridged already"


def test_a_hole_is_delivered_to_nobody_and_asked_for_again() -> None:
    talk = Talk()
    talk.follow(offset=5)
    assert talk.hear(m.Publications("news", at(8), publications(8))) == []
    assert talk.changes() == [m.Unsubscribe(None, "news"), m.Subscribe(3, "news", at(5))]
    assert talk.hear(m.Publications("news", at(9), publications(9))) == [], "of the old subscription"
    assert talk.changes() == []
    events = talk.hear(m.Subscribed(3, "news", "history", at(9), True, publications(6, 7, 8, 9)))
    assert events == [e.Delivered("news", "E", publications(6, 7, 8, 9)), e.Confirmed("news", at(9))]


def test_two_connections_ask_from_now_on_and_what_lies_between_is_not_lost() -> None:
    first = Talk()
    first.core.follow("news", None, None)
    second = Talk(first.core)
    assert first.changes() == second.changes() == [m.Subscribe(2, "news")]
    first.hear(m.Subscribed(2, "news", "history", at(5)))
    assert second.hear(m.Subscribed(2, "news", "history", at(8))) == []
    assert second.changes() == [m.Unsubscribe(None, "news"), m.Subscribe(3, "news", at(5))]


def test_unfollowing_unsubscribes() -> None:
    talk = Talk()
    talk.follow()
    talk.core.unfollow("news")
    assert talk.changes() == [m.Unsubscribe(None, "news")]
    assert talk.hear(m.Publications("news", at(6), publications(6))) == []
    talk.core.unfollow("never")


def test_following_anew_is_another_subscription() -> None:
    talk = Talk()
    talk.follow(offset=5)
    talk.core.unfollow("news")
    talk.core.follow("news", None, None)
    assert talk.hear(m.Publications("news", at(6), publications(6))) == [], "of the old one"
    assert talk.hear(m.UnsubscribedPush("news", ErrorCode.NO_SUCH_CHANNEL, "")) == [], "as well"
    assert talk.changes() == [m.Unsubscribe(None, "news"), m.Subscribe(3, "news")]


def test_a_reply_to_an_older_subscribe_is_ignored() -> None:
    talk = Talk()
    talk.core.follow("news", None, None)
    talk.changes()
    talk.core.unfollow("news")
    talk.core.follow("news", at(1), None)
    assert talk.hear(m.Subscribed(2, "news", "history", at(5))) == []
    assert talk.changes() == [m.Unsubscribe(None, "news"), m.Subscribe(3, "news", at(1))]
    assert talk.hear(m.Subscribed(2, "news", "history", at(5))) == []
    assert talk.hear(m.ErrorReply(2, ErrorCode.NO_SUCH_CHANNEL, "")) == []
    assert talk.core.channels["news"].cursor.position == at(1)


# -- refusals


def test_a_refused_channel_ends_its_feed() -> None:
    talk = Talk()
    talk.core.follow("secret", None, None)
    talk.changes()
    events = talk.hear(m.ErrorReply(2, ErrorCode.NO_SUCH_CHANNEL, "no"))
    assert events == [e.FeedOver("secret", 104, "no")]
    assert talk.changes() == [] and not talk.core.channels


def test_access_that_ends_ends_the_feed() -> None:
    talk = Talk()
    talk.follow()
    assert talk.hear(m.UnsubscribedPush("news", 104, "over")) == [e.FeedOver("news", 104, "over")]
    assert talk.hear(m.UnsubscribedPush("news", 104, "over")) == []


@pytest.mark.parametrize(("given", "pause"), [(2.5, 2.5), (None, RETRY_AFTER)])
def test_a_channel_refused_for_now_is_asked_for_later(given: float | None, pause: float) -> None:
    talk = Talk()
    talk.core.follow("news", None, None)
    talk.changes()
    assert talk.hear(m.ErrorReply(2, ErrorCode.UNAVAILABLE, "", retry_after=given)) == [e.Later(pause)]
    assert talk.changes(NOW + pause - 0.1) == []
    assert talk.changes(NOW + pause) == [m.Subscribe(3, "news")]


def test_a_forgotten_subscription_of_the_server_is_begun_anew() -> None:
    talk = Talk()
    talk.core.follow("news", at(4), None)
    talk.changes()
    assert talk.hear(m.ErrorReply(2, ErrorCode.ALREADY_SUBSCRIBED, "")) == []
    assert talk.changes() == [m.Unsubscribe(None, "news"), m.Subscribe(3, "news", at(4))]


def test_errors_that_answer_nothing_change_nothing() -> None:
    talk = Talk()
    talk.follow()
    assert talk.hear(m.ErrorReply(None, ErrorCode.NOT_SUBSCRIBED, "")) == []
    assert talk.hear(m.ErrorReply(99, ErrorCode.BAD_MESSAGE, "")) == []


# -- readers that are behind


def test_what_is_on_hold_is_unsubscribed_and_taken_up_from_the_cursor() -> None:
    talk = Talk()
    talk.follow(offset=5)
    talk.core.hold("news")
    assert talk.changes() == [m.Unsubscribe(None, "news")]
    assert talk.hear(m.Publications("news", at(6), publications(6))) == []
    assert talk.changes() == []
    talk.core.release("news")
    assert talk.changes() == [m.Subscribe(3, "news", at(5))]
    talk.core.hold("never")
    talk.core.release("never")


def test_what_was_thrown_away_while_on_hold_is_asked_for_again() -> None:
    """Even if the hold is over before the connection could say anything."""
    talk = Talk()
    talk.follow(offset=5)
    talk.core.hold("news")
    talk.hear(m.Publications("news", at(6), publications(6)))
    talk.core.release("news")
    assert talk.changes() == [m.Unsubscribe(None, "news"), m.Subscribe(3, "news", at(5))]


def test_a_subscription_confirmed_while_on_hold_begins_anew() -> None:
    talk = Talk()
    talk.core.follow("news", None, 3)
    talk.changes()
    talk.core.hold("news")
    assert talk.hear(m.Subscribed(2, "news", "history", at(3), publications=publications(1, 2, 3))) == []
    talk.core.release("news")
    assert talk.changes() == [m.Unsubscribe(None, "news"), m.Subscribe(3, "news", None, 3)]


def test_a_stream_has_to_be_replaced_when_what_is_followed_changes() -> None:
    talk = Talk()
    core, conversation = talk.core, talk.conversation
    talk.follow(offset=5)
    assert not core.differs(conversation, NOW)
    core.hold("news")
    assert core.differs(conversation, NOW)
    talk.hear(m.Publications("news", at(6), publications(6)))
    assert core.differs(conversation, NOW), "what is pushed in vain has to stop"
    talk.poll()
    assert not core.differs(conversation, NOW)
    core.release("news")
    assert core.differs(conversation, NOW)
    core.channels["news"].not_before = NOW + 1
    assert not core.differs(conversation, NOW)


# -- polls


def test_a_poll_names_every_channel_and_asks_for_a_reply_only_once() -> None:
    talk = Talk()
    talk.core.follow("a", at(1), None)
    talk.core.follow("b", None, None)
    assert talk.poll() == [m.Subscribe(3, "a", at(1)), m.Subscribe(4, "b")]
    talk.hear(m.Subscribed(3, "a", "history", at(2), True, publications(2)))
    # The answer had no more than that: the other one is asked with an id again.
    assert talk.poll() == [m.Subscribe(None, "a", at(2)), m.Subscribe(6, "b")]
    assert talk.core.missing(talk.conversation, NOW) == []
    talk.core.unfollow("a")
    assert talk.poll() == [m.Subscribe(8, "b")]


def test_a_poll_that_found_a_hole_asks_for_a_reply_again() -> None:
    talk = Talk()
    talk.follow(offset=5)
    assert talk.poll() == [m.Subscribe(None, "news", at(5))]
    talk.hear(m.Publications("news", at(8), publications(8)))
    assert talk.poll() == [m.Subscribe(5, "news", at(5))]


def test_a_limited_channel_is_left_out_and_followed_apart() -> None:
    talk = Talk()
    talk.core.follow("slow", None, None)
    talk.poll()
    limit = m.FollowLimit("shortpoll", 5.0, True)
    events = talk.hear(m.Subscribed(3, "slow", "history", at(5), limit=limit))
    assert events == [e.Confirmed("slow", at(5))]
    channel = talk.core.channels["slow"]
    assert channel.limit == limit and talk.poll() == [] and talk.changes() == []
    answer = ChannelAnswer("slow", at(7), publications(6, 7))
    assert talk.core.receive_apart("slow", answer, at(5))[0] == e.Delivered("slow", "E", publications(6, 7))
    gone = ChannelAnswer("slow", at(99), (), recovered=False)
    assert talk.core.receive_apart("slow", gone, at(7))[0] == e.GapFound("slow", at(99))
    # On another connection the limit may be gone.
    other = Talk(talk.core)
    assert other.changes() == [m.Subscribe(2, "slow", at(99))]
    other.hear(m.Subscribed(2, "slow", "history", at(99), True))
    assert channel.limit is None


def test_a_limit_repeated_from_behind_the_cursor_does_not_move_it() -> None:
    talk = Talk()
    talk.core.follow("slow", at(5), None)
    (command,) = talk.changes()
    talk.core.receive_apart("slow", ChannelAnswer("slow", at(7), publications(6, 7)), at(5))
    limit = m.FollowLimit("shortpoll", 5.0, True)
    talk.hear(m.Subscribed(2, "slow", "history", at(5), limit=limit))
    assert talk.core.channels["slow"].cursor.position == at(7)
    assert talk.conversation.standing["slow"].state is State.APART and talk.changes() == []
    assert isinstance(command, m.Subscribe)


def test_a_limited_channel_on_hold_takes_nothing_and_needs_no_unsubscribe() -> None:
    talk = Talk()
    talk.core.follow("slow", at(5), None)
    talk.changes()
    talk.hear(m.Subscribed(2, "slow", "history", at(5), limit=m.FollowLimit("shortpoll", 5.0, True)))
    talk.core.hold("slow")
    assert not talk.core.differs(talk.conversation, NOW)
    assert talk.core.receive_apart("slow", ChannelAnswer("slow", at(6), publications(6)), at(5)) == []
    assert talk.changes() == []
    talk.core.unfollow("slow")
    assert talk.core.receive_apart("slow", ChannelAnswer("slow", at(6), publications(6)), at(5)) == []
    assert talk.core.refuse("slow", m.ErrorReply(None, 104, ""), NOW) == []


# -- calls


def test_a_call_goes_once_to_one_connection_and_again_to_the_next() -> None:
    talk = Talk()
    command = talk.call()
    assert (command.call_id, command.name, command.params) == ("call-0001", "add", {"a": 1})
    other = Talk(talk.core)
    assert talk.changes() == other.changes() == []
    talk.core.end(talk.conversation)
    (again,) = other.changes()
    assert isinstance(again, m.Call) and again.call_id == command.call_id
    events = other.hear(m.Result(again.id, again.call_id, b"3", {}))
    assert events == [e.CallOver("call-0001", b"3")]
    assert other.hear(m.Result(again.id, again.call_id, b"3", {})) == [] and not talk.core.calls


def test_no_call_leaves_before_a_hello_was_answered() -> None:
    talk = Talk(greet=False)
    talk.core.calls["call-0001"] = PendingCall("call-0001", "add", {}, NOW + 30)
    assert talk.changes() == []
    talk.hear(hello_reply(talk.core, talk.conversation))
    assert len(talk.changes()) == 1


def test_only_so_many_calls_wait_on_one_connection() -> None:
    talk = Talk()
    for number in range(WINDOW + 10):
        talk.core.calls[f"call-{number:04}"] = PendingCall(f"call-{number:04}", "add", {}, NOW + 30)
    commands = talk.changes()
    assert [c.call_id for c in commands if isinstance(c, m.Call)] == [f"call-{n:04}" for n in range(WINDOW)]
    assert talk.changes() == []
    first = commands[0]
    assert isinstance(first, m.Call)
    talk.hear(m.Result(first.id, first.call_id, b"0", {}))
    assert len(talk.changes()) == 1


def test_a_call_of_a_lost_session_is_not_run_again() -> None:
    talk = Talk()
    talk.call("call-0001")
    talk.core.calls["call-0002"] = PendingCall("call-0002", "add", {}, NOW + 30)  # never sent
    talk.core.end(talk.conversation)
    talk.core.forget_token()
    other = Talk(talk.core, greet=False)
    events = other.hear(hello_reply(talk.core, other.conversation, client_id="c-2", resumed=False))
    assert isinstance(events[0], e.Greeted)
    (over,) = events[1:]
    assert isinstance(over, e.CallOver) and over.call_id == "call-0001"
    assert isinstance(over.answer, CallError) and over.answer.code == ErrorCode.OUTCOME_UNKNOWN
    (command,) = other.changes()
    assert isinstance(command, m.Call) and command.call_id == "call-0002"


@pytest.mark.parametrize("code", [106, 111, 105, 202, 300, 199, 399])
def test_an_error_that_is_for_the_caller(code: int) -> None:
    talk = Talk()
    command = talk.call()
    error = m.ErrorReply(command.id, code, "no", fields=(("a", "too big"),), data=b'{"min":3}')
    (over,) = talk.hear(error)
    assert isinstance(over, e.CallOver) and isinstance(over.answer, CallError)
    assert (over.answer.code, over.answer.message) == (code, "no")
    assert over.answer.fields == (("a", "too big"),) and over.answer.data == {"min": 3}
    assert not talk.core.calls


@pytest.mark.parametrize("code", [200, 201, 203, 299])
def test_a_call_refused_for_now_is_made_again_with_the_same_id(code: int) -> None:
    talk = Talk()
    command = talk.call()
    assert talk.hear(m.ErrorReply(command.id, code, "later", retry_after=2.0)) == [e.Later(2.0)]
    assert talk.changes(NOW + 1.9) == []
    (again,) = talk.changes(NOW + 2.0)
    assert isinstance(again, m.Call) and again.call_id == command.call_id and again.id != command.id
    error = talk.core.forget(command.call_id, "no answer in time")
    assert error is not None and error.code == code, "the last that was heard"


def test_a_call_refused_beyond_its_deadline_fails_at_once() -> None:
    talk = Talk()
    command = talk.call(deadline=NOW + 3)
    (over,) = talk.hear(m.ErrorReply(command.id, ErrorCode.TOO_MANY, "later", retry_after=3.0))
    assert isinstance(over, e.CallOver) and isinstance(over.answer, CallError)
    assert (over.answer.code, over.answer.retry_after) == (201, 3.0)


def test_a_call_given_up_says_whether_it_was_sent() -> None:
    talk = Talk(greet=False)
    talk.core.calls["call-0001"] = PendingCall("call-0001", "add", {}, NOW + 30)
    error = talk.core.forget("call-0001", "no answer")
    assert error is not None and error.code == ErrorCode.UNAVAILABLE and "was not sent" in error.message
    talk.hear(hello_reply(talk.core, talk.conversation))
    command = talk.call("call-0002")
    error = talk.core.forget("call-0002", "no answer")
    assert error is not None and error.code == ErrorCode.OUTCOME_UNKNOWN
    assert talk.core.forget("call-0002", "no answer") is None
    assert talk.hear(m.ErrorReply(command.id, ErrorCode.INVALID, "too late")) == []
    assert talk.core.fail_call("call-0002", m.ErrorReply(None, 108, "")) == []


# -- snapshots


def test_the_snapshot_comes_first_and_then_the_publications() -> None:
    talk = Talk()
    talk.core.follow("news", None, 3, snapshot=True)
    (command,) = talk.changes()
    assert command == m.Subscribe(2, "news", None, 3, snapshot=True)
    assert talk.hear(m.Subscribed(2, "news", "history", at(5), snapshot=True)) == []
    assert talk.core.channels["news"].cursor.position is None
    assert talk.hear(m.SnapshotPush("news", at(5), b"[1]")) == [
        e.SnapshotFound("news", at(5), b"[1]", gap=False),
        e.Confirmed("news", at(5)),
    ]
    assert talk.hear(m.Publications("news", at(6), publications(6))) == [
        e.Delivered("news", "E", publications(6))
    ]
    # On a poll it is asked for each time, should there be a gap.
    assert talk.poll() == [m.Subscribe(None, "news", at(6), snapshot=True)]
    assert talk.hear(m.SnapshotPush("news", at(2, "F"), b"[]", recovered=False)) == [
        e.SnapshotFound("news", at(2, "F"), b"[]", gap=True),
        e.Confirmed("news", at(2, "F")),
    ]


def test_a_snapshot_that_could_not_be_made_is_asked_for_again() -> None:
    talk = Talk()
    talk.core.follow("news", None, None, snapshot=True)
    talk.changes()
    talk.hear(m.Subscribed(2, "news", "history", at(5), snapshot=True))
    push = m.UnsubscribedPush("news", ErrorCode.FAILED, "the snapshot failed", retry_after=2.0)
    assert talk.hear(push) == [e.Later(2.0)]
    assert talk.changes(NOW + 1.9) == []
    assert talk.changes(NOW + 2.0) == [m.Subscribe(3, "news", snapshot=True)]


def test_a_snapshot_apart() -> None:
    talk = Talk()
    talk.core.follow("news", None, None, snapshot=True)
    talk.changes()
    limit = m.FollowLimit("shortpoll", 5.0, True)
    talk.hear(m.Subscribed(2, "news", "history", at(5), limit=limit, snapshot=True))
    found = talk.core.receive_apart("news", ChannelAnswer("news", at(6), (), snapshot=b"[]"), None)
    assert found[0] == e.SnapshotFound("news", at(6), b"[]", gap=False)
    answer = ChannelAnswer("news", at(1, "F"), (), False, snapshot=b"[1]")
    assert talk.core.receive_apart("news", answer, at(6))[0] == e.SnapshotFound(
        "news", at(1, "F"), b"[1]", True
    )


# -- gaps of the slower of two connections


def test_a_gap_of_a_connection_that_was_behind_is_no_gap_yet() -> None:
    slow = Talk()
    slow.follow(offset=5)
    slow.poll()
    fast = Talk(slow.core)
    (command,) = fast.changes()
    assert isinstance(command, m.Subscribe) and command.id is not None
    fast.hear(m.Subscribed(command.id, "news", "history", at(7), True, publications(6, 7)))
    assert slow.hear(m.GapPush("news", at(9))) == []
    assert slow.core.channels["news"].cursor.position == at(7)
    (again,) = slow.poll()
    assert isinstance(again, m.Subscribe) and again.position == at(7)
    (gap,) = slow.hear(m.Subscribed(again.id or 0, "news", "history", at(9), False))[:1]
    assert gap == e.GapFound("news", at(9))


def test_a_late_gap_to_another_log_is_one() -> None:
    slow = Talk()
    slow.follow(offset=5)
    slow.poll()
    fast = Talk(slow.core)
    (command,) = fast.changes()
    fast.hear(m.Subscribed(command.id or 0, "news", "history", at(7), True, publications(6, 7)))  # type: ignore[union-attr]
    assert slow.hear(m.GapPush("news", at(0, "F"))) == [e.GapFound("news", at(0, "F"))]


def test_a_late_gap_of_a_channel_apart_is_asked_again() -> None:
    talk = Talk()
    talk.follow(offset=5)
    answer = ChannelAnswer("news", at(9), (), recovered=False)
    assert talk.core.receive_apart("news", answer, at(3)) == []
    assert talk.core.receive_apart("news", answer, at(5))[:1] == [e.GapFound("news", at(9))]
