from __future__ import annotations

import pytest

from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.messages import Bye, Call, Hello, Ping, Pong, Subscribe, Unsubscribe
from rtbridge.protocol.states import TABLE, Event, State, advance, event_of

COMMANDS = {Event.HELLO, Event.COMMAND, Event.BYE}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_the_table_decides_and_only_commands_can_be_out_of_turn(state, event):
    if (state, event) in TABLE:
        assert advance(state, event) is TABLE[state, event]
        return
    assert event in COMMANDS
    with pytest.raises(ProtocolError) as caught:
        advance(state, event)
    assert caught.value.code == ErrorCode.HELLO_EXPECTED


def test_a_life():
    state = State.OPENING
    for event, expected in [
        (Event.HELLO, State.OPEN),
        (Event.COMMAND, State.OPEN),
        (Event.BYE, State.ENDING),
        (Event.CLOSE, State.ENDED),
    ]:
        state = advance(state, event)
        assert state is expected


def test_only_hello_opens_and_only_once():
    assert {pair for pair, following in TABLE.items() if following is State.OPEN} == {
        (State.OPENING, Event.HELLO),
        (State.OPEN, Event.COMMAND),
    }
    with pytest.raises(ProtocolError, match="the first command must be hello"):
        advance(State.OPENING, Event.COMMAND)
    with pytest.raises(ProtocolError, match="hello was said already"):
        advance(State.OPEN, Event.HELLO)
    with pytest.raises(ProtocolError, match="this session has ended"):
        advance(State.ENDING, Event.COMMAND)


def test_an_end_is_final():
    for (state, _), following in TABLE.items():
        if state is State.ENDED:
            assert following is State.ENDED
        if state is State.ENDING:
            assert following in (State.ENDING, State.ENDED)


def test_commands_are_events():
    assert event_of(Hello(1, 1, "x" * 8)) is Event.HELLO
    assert event_of(Bye()) is Event.BYE
    others = [Subscribe(1, "c"), Unsubscribe(1, "c"), Call(1, "x" * 8, "n"), Ping(1), Pong()]
    assert {event_of(command) for command in others} == {Event.COMMAND}
