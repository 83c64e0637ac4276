"""The auction: its pages, its rules, and that whatever way a bid comes in, everybody hears of it."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient

from support import wire
from support.servers import started

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The app's module, imported as `flask run` would, with a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_DIR", str(tmp_path_factory.mktemp("auction")))
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.import_module("flask_demo.app")
    for name in [name for name in sys.modules if name.split(".")[0] == "flask_demo"]:
        del sys.modules[name]


@pytest.fixture
def lot_id(demo: ModuleType) -> int:
    """A lot of a fresh sale: nobody has bid, it starts at 80 and goes up by 5."""
    with demo.app.app_context():
        demo.store.new_sale(demo.database())
        return int(demo.store.lots(demo.database())[0]["id"])


@pytest.fixture
def client(demo: ModuleType) -> FlaskClient:
    return demo.app.test_client()


class Visitor:
    """Somebody with a browser that knows no JavaScript."""

    def __init__(self, demo: ModuleType) -> None:
        self.client = demo.app.test_client()
        self.client.get("/")
        with self.client.session_transaction() as session:
            self.paddle, self.csrf = session["paddle"], session["csrf"]

    def bid(self, lot_id: int, amount: int | str, bidder: str = "Ada") -> str:
        form = {"csrf": self.csrf, "amount": amount, "bidder": bidder}
        return self.client.post(f"/lots/{lot_id}/bids", data=form, follow_redirects=True).text

    def call(self, name: str, **params: Any) -> dict[str, Any]:
        """A call by a short poll, as the page's script would make it."""
        poll = {
            "commands": [
                {"type": "hello", "id": 1, "version": 1, "instance": "a-page-load"},
                {
                    "type": "call",
                    "id": 2,
                    "call_id": f"call-{time.time_ns()}",
                    "name": name,
                    "params": params,
                },
            ]
        }
        messages = self.client.post("/rt/poll", json=poll).json["messages"]
        return next(message for message in messages if message.get("id") == 2)


def page_data(html: str) -> dict[str, Any]:
    return json.loads(re.search(r'id="data">(.*?)</script>', html, re.S)[1])


def heard(client: FlaskClient, channel: str, after: str) -> list[dict[str, Any]]:
    """What was published in a channel after a position."""
    answer = client.get(f"/rt/channels/{channel}?after={after}").json
    assert answer.get("recovered") is not False
    return [publication["data"] for publication in answer["publications"]]


def test_the_list_shows_nine_open_lots(demo: ModuleType, client: FlaskClient, lot_id: int) -> None:
    html = client.get("/").text
    assert html.count('class="card"') == 9
    assert "Tidal Chart" in html and "€80" in html and "starting price" in html
    assert [lot["id"] for lot in page_data(html)["lots"]] == list(range(lot_id, lot_id + 9))


def test_pages_carry_no_script_of_their_own(demo: ModuleType, client: FlaskClient, lot_id: int) -> None:
    """The policy forbids it, so that no name or title can ever become one."""
    for path in ("/", f"/lots/{lot_id}"):
        answer = client.get(path)
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        for tag in re.findall(r"<script[^>]*>", answer.text):
            assert "src=" in tag or 'type="application/json"' in tag
        assert not re.search(r"\son\w+=|style=", answer.text)


def test_every_print_is_a_picture_and_always_the_same(demo: ModuleType) -> None:
    pictures = sys.modules["flask_demo.pictures"]
    for style in pictures.STYLES:
        drawn = pictures.draw(style, 7)
        ElementTree.fromstring(drawn)
        assert drawn == pictures.draw(style, 7) != pictures.draw(style, 8)


def test_pictures_may_be_cached(client: FlaskClient, lot_id: int) -> None:
    answer = client.get(f"/lots/{lot_id}/picture.svg?v=1")
    assert answer.mimetype == "image/svg+xml" and "immutable" in answer.headers["Cache-Control"]


def test_what_is_not_there_is_not_found(client: FlaskClient) -> None:
    for path in ("/lots/999999", "/lots/999999.json", "/lots/999999/picture.svg"):
        assert client.get(path).status_code == 404


def test_a_bid_by_the_plain_form_is_published(demo: ModuleType, client: FlaskClient, lot_id: int) -> None:
    data = page_data(client.get(f"/lots/{lot_id}").text)
    list_data = page_data(client.get("/").text)
    ada = Visitor(demo)
    html = ada.bid(lot_id, 80)
    assert "Your bid of €80 is in." in html and "You are the highest bidder." in html

    (bid,) = heard(client, f"lots/{lot_id}", data["position"])
    assert (bid["amount"], bid["bidder"], bid["paddle"], bid["count"]) == (80, "Ada", ada.paddle, 1)
    assert heard(client, f"prices/{lot_id}", list_data["positions"][str(lot_id)]) == [bid]
    assert client.get(f"/lots/{lot_id}.json").json["bids"] == [bid]
    assert page_data(client.get("/").text)["lots"][0]["highest"] == bid


def test_a_bid_by_call_is_published_and_returned(demo: ModuleType, client: FlaskClient, lot_id: int) -> None:
    data = page_data(client.get(f"/lots/{lot_id}").text)
    reply = Visitor(demo).call("auction.bid", lot_id=lot_id, amount=90, bidder="  Ada   Lovelace ")
    assert reply["type"] == "result" and reply["data"]["bidder"] == "Ada Lovelace"
    assert heard(client, f"lots/{lot_id}", data["position"]) == [reply["data"]]
    assert set(reply["positions"]) == {f"lots/{lot_id}", f"prices/{lot_id}"}


def test_too_low_is_refused_with_the_price(demo: ModuleType, lot_id: int) -> None:
    ada, bob = Visitor(demo), Visitor(demo)
    ada.call("auction.bid", lot_id=lot_id, amount=120, bidder="Ada")
    reply = bob.call("auction.bid", lot_id=lot_id, amount=120, bidder="Bob")
    assert (reply["code"], reply["message"]) == (111, "somebody was faster: the price is 120")
    assert reply["data"] == {"price": 120, "minimum": 125}
    assert (
        bob.call("auction.bid", lot_id=lot_id, amount=124, bidder="Bob")["message"]
        == "the next bid is at least 125"
    )
    assert "Sorry, somebody was faster: the price is 120." in bob.bid(lot_id, 100, "Bob")
    assert (
        "You were outbid by Bob." in [bob.bid(lot_id, 125, "Bob"), ada.client.get(f"/lots/{lot_id}").text][1]
    )


def test_nobody_outbids_themselves(demo: ModuleType, client: FlaskClient, lot_id: int) -> None:
    """What a double click would do otherwise."""
    ada = Visitor(demo)
    ada.call("auction.bid", lot_id=lot_id, amount=80, bidder="Ada")
    reply = ada.call("auction.bid", lot_id=lot_id, amount=85, bidder="Ada")
    assert reply["message"] == "you are the highest bidder already, at 80"
    assert len(client.get(f"/lots/{lot_id}.json").json["bids"]) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"bidder": ""}, "bidder"),
        ({"bidder": "x" * 41}, "bidder"),
        ({"amount": "80"}, "amount"),
        ({"amount": 80.5}, "amount"),
        ({"lot_id": None}, "lot_id"),
    ],
)
def test_what_does_not_fit_names_its_field(
    demo: ModuleType, lot_id: int, wrong: dict[str, Any], field: str
) -> None:
    reply = Visitor(demo).call("auction.bid", **({"lot_id": lot_id, "amount": 80, "bidder": "Ada"} | wrong))
    assert reply["code"] == 106 and [each["field"] for each in reply["fields"]] == [field]


@pytest.mark.parametrize("amount", [-5, 0, 10**18])
def test_absurd_amounts_are_refused(demo: ModuleType, lot_id: int, amount: int) -> None:
    assert Visitor(demo).call("auction.bid", lot_id=lot_id, amount=amount, bidder="Ada")["code"] == 111


def test_a_blank_name_and_an_unknown_lot_are_refused(demo: ModuleType, lot_id: int) -> None:
    ada = Visitor(demo)
    assert ada.call("auction.bid", lot_id=lot_id, amount=80, bidder="   ")["code"] == 111
    assert ada.call("auction.bid", lot_id=10**6, amount=80, bidder="Ada")["message"] == "there is no such lot"


def test_after_the_hammer_nothing_is_accepted(demo: ModuleType, lot_id: int) -> None:
    ada = Visitor(demo)
    ada.bid(lot_id, 80)
    with demo.app.app_context():
        demo.database().execute("UPDATE lots SET ends_at = ? WHERE id = ?", (time.time() - 1, lot_id))
    assert (
        Visitor(demo)
        .call("auction.bid", lot_id=lot_id, amount=500, bidder="Bob")["message"]
        .startswith("too late")
    )
    html = ada.client.get(f"/lots/{lot_id}").text
    assert "Sold to you." in html and "Hammer price" in html
    assert 'data-standing="won"' in ada.client.get("/").text


def test_without_a_paddle_there_is_no_bid(demo: ModuleType, lot_id: int) -> None:
    stranger = Visitor(demo)
    stranger.client = demo.app.test_client()
    assert "paddle" in stranger.call("auction.bid", lot_id=lot_id, amount=80, bidder="Eve")["message"]


@pytest.mark.parametrize("path", ["/lots/{}/bids", "/bots", "/sales"])
@pytest.mark.parametrize("token", ["", "wrong", "wröng"])
def test_forms_of_other_sites_are_refused(demo: ModuleType, lot_id: int, path: str, token: str) -> None:
    ada = Visitor(demo)
    for who in (ada.client, demo.app.test_client()):
        answer = who.post(path.format(lot_id), data={"csrf": token, "amount": 80, "bidder": "Eve"})
        assert answer.status_code == 400
    assert ada.client.get(f"/lots/{lot_id}.json").json["bids"] == []


def test_a_name_stays_a_name(demo: ModuleType, client: FlaskClient, lot_id: int) -> None:
    name = "<script>alert(1)</script>"
    Visitor(demo).bid(lot_id, 80, name)
    for path in ("/", f"/lots/{lot_id}"):
        assert "<script>alert" not in client.get(path).text
    assert "&lt;script&gt;alert(1)" in client.get(f"/lots/{lot_id}").text


def test_of_many_at_once_with_one_amount_one_is_accepted(
    demo: ModuleType, client: FlaskClient, lot_id: int
) -> None:
    position = page_data(client.get(f"/lots/{lot_id}").text)["position"]
    bidders = [Visitor(demo) for _ in range(12)]
    replies: list[dict[str, Any]] = []
    all_at_once(
        lambda who: replies.append(who.call("auction.bid", lot_id=lot_id, amount=80, bidder="Ada")), bidders
    )
    assert sorted(reply["type"] for reply in replies) == ["error"] * 11 + ["result"]
    assert len(heard(client, f"lots/{lot_id}", position)) == 1


def test_of_many_at_once_each_accepted_bid_is_higher_than_the_one_before(
    demo: ModuleType, client: FlaskClient, lot_id: int
) -> None:
    bidders = list(enumerate(Visitor(demo) for _ in range(12)))
    all_at_once(lambda who: who[1].bid(lot_id, 80 + 5 * who[0]), bidders)
    bids = list(reversed(client.get(f"/lots/{lot_id}.json").json["bids"]))
    amounts = [bid["amount"] for bid in bids]
    assert amounts == sorted(set(amounts)) and amounts[-1] == 80 + 5 * 11
    assert [bid["count"] for bid in bids] == list(range(1, len(bids) + 1))


def all_at_once(what: Any, whom: list[Any]) -> None:
    barrier = threading.Barrier(len(whom))

    def one(who: Any) -> None:
        barrier.wait()
        what(who)

    threads = [threading.Thread(target=one, args=(who,)) for who in whom]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_the_page_is_followed_from_before_its_data(
    demo: ModuleType, client: FlaskClient, lot_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bid that comes while the page is made is in the page, or comes after its position; never in neither."""
    query = demo.store.bids

    def slow_query(*args: Any) -> Any:
        monkeypatch.undo()
        found = query(*args)
        Visitor(demo).bid(lot_id, 80)  # too late for this page
        return found

    monkeypatch.setattr(demo.store, "bids", slow_query)
    data = client.get(f"/lots/{lot_id}.json").json
    assert data["bids"] == []
    assert [bid["amount"] for bid in heard(client, f"lots/{lot_id}", data["position"])] == [80]


def test_bots_bid_within_their_bounds(
    demo: ModuleType, client: FlaskClient, lot_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bots = sys.modules["flask_demo.bots"]
    monkeypatch.setattr(bots.time, "sleep", lambda seconds: None)
    position = page_data(client.get(f"/lots/{lot_id}").text)["position"]
    assert Visitor(demo).call("auction.bots", lot_id=lot_id)["data"] == bots.SECONDS
    with bots.running:  # the run is over
        bids = heard(client, f"lots/{lot_id}", position)
    assert 3 < len(bids) <= bots.BIDS
    assert all(later["paddle"] != earlier["paddle"] for earlier, later in itertools.pairwise(bids))


def test_one_run_of_bots_at_a_time(demo: ModuleType, lot_id: int) -> None:
    bots = sys.modules["flask_demo.bots"]
    ada = Visitor(demo)
    with bots.running:
        assert ada.call("auction.bots")["message"] == "the bots are bidding already"
        html = ada.client.post("/bots", data={"csrf": ada.csrf}, follow_redirects=True).text
    assert "The bots are bidding already." in html


def test_a_new_sale_has_new_lots(demo: ModuleType, client: FlaskClient, lot_id: int) -> None:
    ada = Visitor(demo)
    ada.bid(lot_id, 80)
    html = ada.client.post("/sales", data={"csrf": ada.csrf}, follow_redirects=True).text
    assert page_data(html)["lots"][0]["id"] == lot_id + 9 and page_data(html)["lots"][0]["highest"] is None
    assert client.get(f"/lots/{lot_id}").status_code == 200  # the old one stays in the books


def test_a_start_opens_a_sale_only_if_none_is_running(demo: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "auction.sqlite3"

    def sales_after_a_start() -> int:
        demo.store.prepare(path)
        with contextlib.closing(sqlite3.connect(path)) as db:
            return int(db.execute("SELECT count(DISTINCT sale) FROM lots").fetchone()[0])

    assert [sales_after_a_start(), sales_after_a_start()] == [1, 1]
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE lots SET ends_at = 0")
    assert sales_after_a_start() == 2


# --- how it is started -------------------------------------------------------------------------------------------

RUN = EXAMPLES / "flask_demo" / "run.py"


def test_run_says_where_it_is_and_ends_quietly(tmp_path: Path) -> None:
    with started("run", [sys.executable, str(RUN)], tmp_path, env={"DATA_DIR": str(tmp_path)}) as server:
        assert wire.request(server.port, "GET", "/").status == 200
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0
    assert server.log() == f"Auction: http://127.0.0.1:{server.port}/\n"


def test_run_takes_the_next_port_unless_it_was_told_one(tmp_path: Path) -> None:
    env = {**os.environ, "DATA_DIR": str(tmp_path)}
    env.pop("PORT", None)
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # somebody else has it: as good
            taken.bind(("127.0.0.1", 8001))
            taken.listen()
        process = subprocess.Popen([sys.executable, str(RUN)], env=env, stdout=subprocess.PIPE, text=True)
        with process:
            assert process.stdout
            said = process.stdout.readline()
            process.terminate()
        port = int(said.rsplit(":", 1)[1].strip("/\n"))
        assert 8001 < port <= 8050
        told = subprocess.run(
            [sys.executable, str(RUN)],
            env={**env, "PORT": "8001"},
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert told.returncode != 0 and "port 8001 is in use" in told.stderr and "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("folder", "app"), [(".", ["--app", "examples.flask_demo.app"]), ("examples/flask_demo", [])]
)
def test_it_runs_on_flasks_own_server(tmp_path: Path, folder: str, app: list[str]) -> None:
    command = [sys.executable, "-m", "flask", *app, "run", "--port", "{port}"]
    cwd = EXAMPLES.parent / folder
    with started("flask", command, tmp_path, cwd=cwd, env={"DATA_DIR": str(tmp_path)}) as server:
        page = wire.request(server.port, "GET", "/lots/1")
        position = page_data(page.body.decode())["position"]
        cookie = page.headers["Set-Cookie"].split(";")[0]
        bid = wire.call("auction.bid", {"lot_id": 1, "amount": 80, "bidder": "Ada"})
        with wire.Socket(server.port, wire.hello(), wire.subscribe("lots/1", position)) as watching:
            wire.poll(server.port, wire.hello(), bid, headers={"Cookie": cookie})
            assert watching.published("lots/1")["amount"] == 80
