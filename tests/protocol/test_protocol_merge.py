from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.vector_files import each
from rtbridge.protocol.merge import Cursor, merge
from rtbridge.protocol.messages import (
    GapPush,
    Publications,
    SnapshotPush,
    Subscribed,
    parse_server_message,
)
from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Publication


@each("merge.json", "cases")
def test_vectors(case):
    cursor = Cursor(Position.parse(case["position"]) if case["position"] else None, case["keep"])
    for step in case["steps"]:
        message = parse_server_message(step["message"])
        assert isinstance(message, Subscribed | Publications | GapPush | SnapshotPush)
        merged = merge(cursor, message)
        cursor = merged.cursor
        assert [item.offset for item in merged.deliver] == step["deliver"]
        assert (cursor.position and str(cursor.position)) == step["cursor"]
        assert cursor.keep == step["keep"]
        assert (merged.gap, merged.resubscribe) == (step["gap"], step["resubscribe"])
        assert merged.snapshot == step.get("snapshot", False)


def test_a_new_cursor_is_the_strictest():
    assert Cursor() == Cursor(None, "history")


def run(epoch: str, first: int, last: int) -> tuple[Publication, ...]:
    return tuple(
        Publication(offset, b'"%b.%d"' % (epoch.encode(), offset)) for offset in range(first, last + 1)
    )


# A server that is honest but slow: it answers from some cursor to some later point, in any order, again and
# again.
EPOCHS = st.sampled_from(["a", "b"])
SPANS = st.tuples(st.integers(0, 30), st.integers(0, 12))


@st.composite
def messages(draw):
    epoch, (after, size) = draw(EPOCHS), draw(SPANS)
    position = Position(epoch, after + size)
    kind = draw(
        st.sampled_from(["push", "push", "push", "reply", "recent", "gap", "unrecovered", "state", "mended"])
    )
    publications = run(epoch, after + 1, after + size)
    if kind == "gap":
        return GapPush("c", position)
    if kind == "unrecovered":
        return Subscribed(1, "c", "history", position, False)
    if kind in ("state", "mended"):
        return SnapshotPush("c", position, b"[]", None if kind == "state" else False)
    if kind == "push":
        return Publications("c", position, publications)
    return Subscribed(1, "c", "history", position, True if kind == "reply" else None, publications)


@given(st.integers(0, 30) | st.none(), st.lists(messages(), max_size=30))
def test_history_comes_once_in_order_and_whole_or_says_so(start, stream):
    cursor = Cursor(None if start is None else Position("a", start))
    for message in stream:
        before = cursor.position
        merged = merge(cursor, message)
        cursor = merged.cursor
        offsets = [item.offset for item in merged.deliver]
        assert not (merged.gap and merged.deliver)
        # A snapshot is given where nothing was known, or in place of what is missing; nowhere else.
        assert not merged.snapshot or before is None or merged.gap
        if merged.resubscribe:
            assert (merged.deliver, cursor.position, merged.gap) == ((), before, False)
        elif before is None or merged.gap:
            assert cursor.position == message.position
        else:
            # Exactly what lies between the two cursors, in one log.
            assert cursor.position is not None and cursor.position.epoch == before.epoch
            assert offsets == list(range(before.offset + 1, cursor.position.offset + 1))


@given(st.integers(1, 40), st.lists(SPANS, max_size=30))
def test_a_client_that_obeys_gets_everything_once(end, spans):
    cursor, seen = Cursor(Position("a", 0)), []
    for after, size in [*spans, (end - 1, 1)]:
        last = min(end, after + size)
        answers = [Publications("c", Position("a", last), run("a", after + 1, last))]
        while answers:
            merged = merge(cursor, answers.pop())
            cursor = merged.cursor
            seen += [item.offset for item in merged.deliver]
            if merged.resubscribe:
                assert cursor.position is not None
                missing = run("a", cursor.position.offset + 1, end)
                answers.append(Subscribed(1, "c", "history", Position("a", end), True, missing))
    assert seen == list(range(1, end + 1))


@given(st.sampled_from(["latest", "volatile"]), st.lists(messages(), max_size=30))
def test_other_channels_never_go_back_and_never_resubscribe(keep, stream):
    cursor = Cursor(Position("a", 5), keep)
    for message in stream:
        if isinstance(message, Subscribed):
            message = Publications("c", message.position, message.publications)
        before = cursor.position
        merged = merge(cursor, message)
        cursor = merged.cursor
        assert not merged.resubscribe
        assert before is not None and cursor.position is not None
        if before.epoch == cursor.position.epoch:
            assert cursor.position.offset >= before.offset
            assert all(item.offset > before.offset for item in merged.deliver)
