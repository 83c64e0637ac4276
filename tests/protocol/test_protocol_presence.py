from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.vector_files import each
from rtbridge.errors import ProtocolError
from rtbridge.protocol.presence import Roster, Tab, Telling, parse_snapshot, parse_telling, presence_channel


def shown(roster: Roster) -> dict[str, object]:
    found = {}
    for key, person in roster.people().items():
        found[key] = {"tabs": person.tabs, "info": dict(person.info), "data": dict(person.data)}
        if person.user is not None:
            found[key]["user"] = person.user
    return found


@each("presence.json", "cases")
def test_tellings_add_up(case):
    roster = Roster()
    for step in case["steps"]:
        telling = parse_telling(step["telling"])
        assert telling.to_value() == step["telling"]
        for _ in range(2):  # taking it twice is as good as once
            roster.apply(telling)
            assert shown(roster) == step["people"]
            assert (roster.count, roster.complete) == (step["count"], step["complete"])


@each("presence.json", "bad")
def test_bad_tellings(case):
    with pytest.raises(ProtocolError):
        parse_telling(case["telling"])
    with pytest.raises(ProtocolError):
        parse_snapshot([case["telling"]])


def test_a_snapshot_is_a_list_of_tellings():
    snapshot = [{"holder": "w1", "all": {"t1": {"at": 1}}}, {"holder": "w2", "count": 7}]
    roster = Roster(parse_snapshot(snapshot))
    assert (roster.count, roster.complete) == (8, False)
    with pytest.raises(ProtocolError):
        parse_snapshot({})


def test_where_presence_is_told():
    assert presence_channel("groups/7/photos") == "~presence/groups/7/photos"


NAMES = st.sampled_from(["t1", "t2", "t3"])
TABS = st.builds(Tab, st.sampled_from([None, "1", "2"]), st.just({}), st.just({}), st.integers(0, 3))
TELLINGS = st.builds(
    lambda holder, kind, tabs, gone, count: {
        "all": Telling(holder, all=tabs),
        "count": Telling(holder, count=count),
        "change": Telling(holder, set=tabs, gone=tuple(gone)),
        "ended": Telling(holder, ended=True),
    }[kind],
    st.sampled_from(["w1", "w2"]),
    st.sampled_from(["all", "count", "change", "change", "ended"]),
    st.dictionaries(NAMES, TABS, max_size=2),
    st.lists(NAMES, max_size=2),
    st.integers(0, 5),
)


@given(st.lists(TELLINGS), st.integers(0))
def test_a_snapshot_may_overlap_with_what_follows(tellings, overlap):
    """Whoever begins with a later state and then hears some of it again ends where the others do."""
    everything = Roster(tellings)
    late = Roster(tellings)
    for telling in tellings[overlap % (len(tellings) + 1) :]:
        late.apply(telling)
    assert shown(late) == shown(everything) and late.count == everything.count
