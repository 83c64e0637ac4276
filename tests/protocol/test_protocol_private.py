from __future__ import annotations

import pytest

from rtbridge.errors import ProtocolError
from rtbridge.protocol.positions import Position
from rtbridge.protocol.private import Dismissal, Invitation, Note, Question, parse_letter

LETTERS = [
    (Note("user", b'{"unread":3}'), {"type": "data", "to": "user", "data": {"unread": 3}}),
    (Note("client", b"null"), {"type": "data", "to": "client", "data": None}),
    (Invitation("rooms/7"), {"type": "subscribe", "channel": "rooms/7"}),
    (
        Invitation("rooms/7", Position("a", 3)),
        {"type": "subscribe", "channel": "rooms/7", "position": "a.3"},
    ),
    (Dismissal("rooms/7"), {"type": "unsubscribe", "channel": "rooms/7"}),
    (
        Question("q3Zf0LxQ4W2uYt1k", "photos.pick", 17.5, {"from": b"x"}),
        {
            "type": "call",
            "ask_id": "q3Zf0LxQ4W2uYt1k",
            "name": "photos.pick",
            "params": {"from": b"x"},
            "until": 17.5,
        },
    ),
]


@pytest.mark.parametrize(("letter", "value"), LETTERS)
def test_letters_are_read_and_written(letter, value):
    assert letter.to_value() == value
    assert parse_letter(value) == letter


def test_params_may_be_left_out():
    assert parse_letter({"type": "call", "ask_id": "x" * 8, "name": "n", "until": 1}) == Question(
        "x" * 8, "n", 1
    )


def test_later_letters_are_ignored():
    assert parse_letter({"type": "something new"}) is None


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"type": "data", "data": 1},
        {"type": "data", "to": "user"},
        {"type": "data", "to": "user", "data": object()},
        {"type": "subscribe"},
        {"type": "subscribe", "channel": "a//b"},
        {"type": "subscribe", "channel": "a", "position": "x"},
        {"type": "unsubscribe", "channel": 1},
        {"type": "call", "ask_id": "short", "name": "n", "until": 1},
        {"type": "call", "ask_id": "x" * 8, "name": "", "until": 1},
        {"type": "call", "ask_id": "x" * 8, "name": "n", "until": "later"},
        {"type": "call", "ask_id": "x" * 8, "name": "n", "until": 1, "params": []},
    ],
)
def test_bad_letters(value):
    with pytest.raises(ProtocolError):
        parse_letter(value)
