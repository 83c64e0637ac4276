"""Which link is live, what replaces it and when: with links that do what the test says, in the test's time."""

from __future__ import annotations

from collections.abc import Callable

from rtbridge.client import events as e
from rtbridge.client.core import Core
from rtbridge.client.ladder import REST, Ladder
from rtbridge.client.link import Link, Owner
from rtbridge.client.switch import Status, Switch
from rtbridge.protocol.codecs import JSON
from rtbridge.protocol.messages import HelloReply
from support.fakeloop import FakeLoop

BROKEN = e.Ending("resume", "broken")


class StubLink(Link):
    def __init__(self, transport: str, owner: Owner, core: Core, loop: FakeLoop) -> None:
        super().__init__(transport, owner, core, loop, JSON, 10.0)
        self.stirred = 0
        self.goodbyes = 0

    def start(self) -> None: ...

    def stir(self) -> None:
        self.stirred += 1

    def disconnect(self) -> None: ...

    def say_goodbye(self) -> None:
        self.goodbyes += 1

    def open(self, *offers: str) -> None:
        if offers:
            reply = HelloReply(1, 1, "c-1", True, "t", 300, self.transport, offers, 25, 25, 5)
            self.owner.heard(e.Greeted(reply))
        self.is_open = True
        self.owner.opened(self)


class Stage:
    """A switch and the links it made."""

    def __init__(self, choice: str = "auto", token: Callable[[str | None], str] | None = None) -> None:
        self.loop = FakeLoop()
        self.core = Core("instance-1", "test", by_site=token is not None)
        self.links: list[StubLink] = []
        self.shown: list[Status] = []
        self.endings: list[e.Ending] = []
        self.events: list[e.Event] = []
        ladder = Ladder(choice, lambda low, high: high)
        self.switch = Switch(self.loop, self.core, ladder, self, self.make, token)
        self.switch.start()

    def make(self, transport: str, owner: Switch) -> Link:
        self.links.append(StubLink(transport, owner, self.core, self.loop))
        return self.links[-1]

    def heard(self, event: e.Event) -> None:
        self.events.append(event)

    def changed(self, status: Status) -> None:
        self.shown.append(status)

    def stopped(self, ending: e.Ending) -> None:
        self.endings.append(ending)

    @property
    def last(self) -> StubLink:
        return self.links[-1]

    @property
    def status(self) -> tuple[str, str | None]:
        return self.switch.status.state, self.switch.status.transport

    @property
    def made(self) -> list[str]:
        return [link.transport for link in self.links]

    def alive(self) -> list[str]:
        return [link.transport for link in self.links if not link.over]


def test_it_connects_and_stays() -> None:
    stage = Stage()
    assert stage.status == ("connecting", None)
    stage.last.open()
    stage.loop.advance(3600)
    assert (stage.made, stage.status) == (["websocket"], ("open", "websocket"))


def test_a_link_that_ends_comes_back_after_a_pause() -> None:
    stage = Stage("websocket")
    stage.last.open()
    stage.last.end(BROKEN)
    assert stage.status == ("waiting", None) and stage.switch.status.error == "broken"
    stage.loop.advance(0.49)
    assert stage.made == ["websocket"]
    stage.loop.advance(0.01)
    assert stage.made == ["websocket"] * 2 and stage.status == ("connecting", None)
    stage.last.end(BROKEN)
    stage.loop.advance(0.99)
    assert len(stage.made) == 2
    stage.loop.advance(0.01)
    stage.last.open()
    assert stage.switch.status == Status("open", "websocket", None)


def test_it_stays_away_as_long_as_the_server_asks() -> None:
    stage = Stage()
    stage.last.open()
    stage.last.end(e.ending_of_close(4000, "bye", 7.0))
    stage.loop.advance(6.9)
    assert len(stage.made) == 1
    stage.loop.advance(0.1)
    assert len(stage.made) == 2


def test_what_takes_long_gets_a_poll_beside_it_and_whichever_works_delivers() -> None:
    stage = Stage()
    websocket = stage.last
    stage.loop.advance(0.3)
    assert stage.made == ["websocket", "longpoll"]
    poll = stage.last
    poll.open()
    assert stage.status == ("open", "longpoll") and not websocket.over
    websocket.open()
    assert stage.status == ("open", "websocket") and poll.over


def test_an_attempt_that_opens_first_needs_nothing_beside_it() -> None:
    stage = Stage()
    stage.loop.advance(0.3)
    websocket, poll = stage.links
    websocket.open()
    assert poll.over and stage.status == ("open", "websocket")


def test_down_where_one_fails_twice_and_up_again_later() -> None:
    stage = Stage()
    stage.last.end(BROKEN)
    stage.loop.advance(0.5)
    stage.last.end(BROKEN)
    stage.loop.run()
    assert stage.made == ["websocket", "websocket", "eventstream"]
    stage.last.open()
    stage.loop.advance(REST * 1.25)
    assert stage.made[3:] == ["websocket"] and stage.status == ("open", "eventstream")
    stage.last.open()
    assert stage.alive() == ["websocket"]


def test_a_failed_climb_leaves_the_live_link_alone() -> None:
    stage = Stage()
    stage.last.end(e.Ending("lower", "a proxy"))
    stage.loop.run()
    stage.last.open()
    stage.loop.advance(REST * 1.25)
    stage.last.end(e.Ending("lower", "a proxy"))
    assert stage.alive() == ["eventstream"] and stage.status == ("open", "eventstream")
    stage.loop.advance(REST * 1.25 + 1)
    assert stage.made == ["websocket", "eventstream", "websocket", "websocket"]


def test_the_servers_offers_are_obeyed() -> None:
    stage = Stage()
    stage.loop.advance(0.3)
    stage.last.open("longpoll", "shortpoll")
    stage.links[0].end(BROKEN)
    stage.loop.advance(3600)
    assert stage.made == ["websocket", "longpoll"] and stage.status == ("open", "longpoll")


def test_changing_the_transport_keeps_the_old_one_until_the_new_one_is_open() -> None:
    stage = Stage("websocket")
    stage.last.open()
    stage.switch.use("longpoll")
    assert stage.made == ["websocket", "longpoll"] and stage.status == ("open", "websocket")
    stage.last.open()
    assert stage.alive() == ["longpoll"] and stage.status == ("open", "longpoll")
    stage.switch.use("longpoll")
    assert len(stage.made) == 2


def test_changing_one_s_mind_in_between() -> None:
    stage = Stage("websocket")
    stage.last.open()
    stage.switch.use("longpoll")
    stage.switch.use("eventstream")
    assert stage.made == ["websocket", "longpoll", "eventstream"]
    assert stage.alive() == ["websocket", "eventstream"]
    stage.switch.use("websocket")
    assert stage.alive() == ["websocket"]
    stage.links[0].end(BROKEN)
    stage.switch.use("shortpoll")  # does not wait for the pause
    assert stage.last.transport == "shortpoll"
    stage.loop.advance(60)
    assert len(stage.made) == 4


def test_a_new_stream_replaces_one_that_follows_the_wrong_channels() -> None:
    stage = Stage("eventstream")
    first = stage.last
    first.open()
    stage.switch.outdated(first)
    stage.switch.outdated(first)
    assert stage.made == ["eventstream"] * 2
    # The server ends the older one when the newer arrives; that is our own doing.
    first.end(e.ending_of_close(4005, "replaced"))
    assert not stage.endings and stage.status == ("connecting", None)
    stage.last.open()
    assert stage.alive() == ["eventstream"] and len(stage.made) == 2
    stage.switch.outdated(first)  # too late to say that
    assert len(stage.made) == 2


def test_a_new_stream_goes_before_an_attempt_of_something_better() -> None:
    stage = Stage()
    stage.last.end(e.Ending("lower", "a proxy"))
    stage.loop.run()
    stream = stage.last
    stream.open()
    stage.loop.advance(REST * 1.25)
    assert stage.last.transport == "websocket"
    stage.switch.outdated(stream)
    assert stage.last.transport == "eventstream" and stage.links[-2].over
    stage.last.open()
    assert stream.over and stage.last.transport == "websocket", "and then that again"


def test_a_socket_that_we_gave_up_may_replace_the_live_one() -> None:
    stage = Stage("websocket")
    stage.last.open()
    stage.last.end(e.ending_of_close(4005, "replaced"))
    assert stage.status == ("waiting", None) and not stage.endings
    stage.loop.advance(0.5)
    assert stage.made == ["websocket"] * 2


def test_a_stop_ends_everything() -> None:
    stage = Stage()
    stage.loop.advance(0.3)
    stage.last.end(e.Ending("stop", "112 forbidden_origin", 112))
    assert stage.status == ("stopped", None) and stage.alive() == []
    assert [ending.code for ending in stage.endings] == [112]
    stage.loop.advance(60)
    assert len(stage.made) == 2


def test_a_stop_beside_a_link_that_works_only_rules_that_transport_out() -> None:
    stage = Stage("longpoll")
    stage.last.open()
    stage.switch.use("websocket")
    stage.last.end(e.Ending("stop", "112 forbidden_origin", 112))
    assert stage.status == ("open", "longpoll") and not stage.endings


def test_the_token_is_forgotten_where_the_server_says_so() -> None:
    stage = Stage()
    stage.core.token = "old"
    stage.last.open()
    stage.last.end(e.ending_of_close(4100, "credentials changed"))
    assert stage.core.token is None and not stage.endings


def test_a_live_link_lost_during_a_change_gets_a_poll_beside_the_attempt() -> None:
    stage = Stage()
    stage.loop.advance(0.3)
    websocket, poll = stage.links
    poll.open()
    poll.end(BROKEN)
    assert stage.status == ("connecting", None) and not websocket.over
    stage.loop.advance(0.3)
    assert stage.made == ["websocket", "longpoll", "longpoll"]


def test_what_is_to_be_said_goes_to_every_link_also_later() -> None:
    stage = Stage()
    stage.last.open()
    stage.switch.stir()
    stage.switch.heard(e.Later(2.0))
    stage.switch.heard(e.FeedOver("news", 104, ""))
    assert stage.events == [e.FeedOver("news", 104, "")] and stage.last.stirred == 1
    stage.loop.advance(2.1)
    assert stage.last.stirred == 2


def test_closing_says_goodbye_and_waits_for_the_server_to_hear_it() -> None:
    stage = Stage("websocket")
    stage.last.open()
    stage.switch.use("longpoll")
    gone: list[bool] = []
    stage.switch.close(lambda: gone.append(True))
    assert stage.status == ("closed", None) and stage.links[1].over
    assert stage.links[0].goodbyes == 1 and not gone
    stage.links[0].end(e.ending_of_close(4303, "ended"))
    assert gone and not stage.endings
    stage.switch.shut("closed")
    stage.switch.use("auto")
    stage.switch.outdated(stage.links[0])
    assert len(stage.made) == 2


def test_closing_without_a_connection_waits_for_nothing() -> None:
    stage = Stage()
    gone: list[bool] = []
    stage.switch.close(lambda: gone.append(True))
    assert gone and stage.alive() == []
    stage.loop.advance(60)
    assert stage.made == ["websocket"] and stage.shown == [Status("closed")]


def test_where_the_site_gives_tokens_nothing_is_opened_before_it_gave_one() -> None:
    asked: list[str | None] = []

    def site(previous: str | None) -> str:
        asked.append(previous)
        if len(asked) == 2:
            raise OSError("the site is away")
        return f"token {len(asked)}"

    stage = Stage("websocket", site)
    stage.switch.use("websocket")  # asks for no second one meanwhile
    assert stage.made == [] and len(stage.loop.jobs) == 1
    stage.loop.run()
    assert stage.made == ["websocket"] and stage.core.token == "token 1"

    stage.last.open()
    stage.last.end(e.ending_of_close(4100, "another, please"))
    stage.loop.advance(0.5)
    stage.loop.run()
    assert stage.status == ("waiting", None)
    assert stage.switch.status.error == "the site gave no token: OSError('the site is away')"
    assert stage.core.token == "token 1", "the site is shown the one it gave before"
    stage.loop.advance(30)
    stage.loop.run()
    assert stage.made == ["websocket"] * 2 and stage.core.token == "token 3"
    assert asked == [None, "token 1", "token 1"]
    stage.last.open()
    assert stage.status == ("open", "websocket") and stage.switch.status.error is None


def test_a_token_that_comes_too_late_opens_nothing() -> None:
    stage = Stage(token=lambda previous: "late")
    stage.switch.shut("closed")
    stage.loop.run()
    assert stage.made == []
