"""A live auction: an ordinary Flask site, and the few lines that made it realtime.

The site is what it was: views, templates, SQLite, a form that posts. What rtbridge added stands under "realtime", and
in four places below: `position()` in two views, `announce()` where a bid is accepted, and the middleware at the end.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MaxLen, MinLen
from flask import (
    Flask,
    Response,
    abort,
    flash,
    g,
    jsonify,
    redirect,
    render_template,
    request,
    session,
    url_for,
)

from rtbridge import Bridge, History, RealtimeMiddleware, Refused

from . import bots, pictures, store
from .store import Bid


def secret_key(path: Path) -> str:
    """The key that signs session cookies, made once. A real site has it in its environment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text()


app = Flask(__name__)
data_dir = Path(os.environ.get("DATA_DIR") or Path(__file__).parent / "var")
app.config.from_mapping(
    DATABASE=data_dir / "auction.sqlite3",
    SECRET_KEY=secret_key(data_dir / "secret_key"),
    SESSION_COOKIE_SAMESITE="Lax",
    MAX_CONTENT_LENGTH=64 * 1024,
)
store.prepare(app.config["DATABASE"])

# --- realtime ----------------------------------------------------------------------------------------------------


def paddle_of(environ: Mapping[str, Any]) -> int | None:
    """Who somebody is, for the bridge: the number on the paddle in the session cookie."""
    return session.get("paddle")


# In this process's memory; Bridge("redis://…") for several processes. Two auctions on one machine are two worlds.
rt = Bridge(lock_file=data_dir / "serving", authenticate=paddle_of)

# Every bid on a lot, in order: its page shows them all, so none may be missing. And it shows who is in the room.
lots = rt.channel("lots/{lot_id:int}", Bid, keep=History(100, ttl=3600), public=True, presence=True)

# The highest bid on a lot: the list shows the price, so only the newest counts.
prices = rt.channel("prices/{lot_id:int}", Bid, keep="latest", public=True)


def announce(bid: Bid) -> None:
    """Tell everybody who looks, from wherever the bid came: a call, the plain form, a bot's thread.

    Two bids of one moment may be told in either order. The pages go by the amount, which only ever rises.
    """
    lots(lot_id=bid.lot_id).publish(bid)
    prices(lot_id=bid.lot_id).publish(bid)


@rt.call("auction.bid")
def bid(ctx: Any, lot_id: int, amount: int, bidder: Annotated[str, MinLen(1), MaxLen(40)]) -> Bid:
    """The bid form, without leaving the page. Who is bidding stands in the session cookie, not in the call."""
    try:
        return accept_bid(lot_id, amount, bidder)
    except store.NotAccepted as no:
        raise Refused(str(no), data=no.data) from no


@rt.call("auction.bots")
def start_bots(ctx: Any, lot_id: int | None = None) -> int:
    """Let the bots bid for a while; how many seconds."""
    if not bots.start(app, announce, lot_id):
        raise Refused("the bots are bidding already")
    return bots.SECONDS


# --- the site as it was ------------------------------------------------------------------------------------------


def database() -> sqlite3.Connection:
    """This request's connection."""
    if "db" not in g:
        g.db = store.connect(app.config["DATABASE"])
    return g.db


@app.teardown_appcontext
def close_database(error: BaseException | None) -> None:
    if "db" in g:
        g.pop("db").close()


def accept_bid(lot_id: int, amount: int, bidder: str) -> Bid:
    """What form and call have in common."""
    if "paddle" not in session:
        raise store.NotAccepted("please open the lot's page first: it hands you your paddle")
    made = store.place_bid(database(), lot_id, amount, bidder, session["paddle"])
    announce(made)
    return made


def visitor() -> int:
    """The visitor's paddle; the first page hands it out, with the token that our forms must bring along."""
    if "paddle" not in session:
        session["paddle"] = store.new_paddle(database())
        session["csrf"] = secrets.token_urlsafe(16)
    return session["paddle"]


@app.before_request
def check_csrf() -> None:
    """A form of another site can post here with the visitor's cookie, but it cannot know the token."""
    if request.method == "POST":
        sent = request.form.get("csrf", "")
        if not secrets.compare_digest(sent.encode(), session.get("csrf", "").encode()) or not sent:
            abort(400, "This form is from an earlier visit. Please go back, reload the page and try again.")


@app.after_request
def secure(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


# --- pages -------------------------------------------------------------------------------------------------------


def lot_data(lot: sqlite3.Row) -> dict[str, Any]:
    """What a page's script needs to know of a lot."""
    return {
        "id": lot["id"],
        "title": lot["title"],
        "start": lot["start"],
        "step": lot["step"],
        "ends_at": lot["ends_at"],
        "highest": store.highest(lot),
    }


def lot_page(lot_id: int) -> dict[str, Any]:
    """A lot with its bids, and from where to follow it: the position first, so that nothing falls in between."""
    if store.lot(database(), lot_id) is None:
        abort(404)
    position = str(lots(lot_id=lot_id).position())
    lot, bids = store.lot(database(), lot_id), store.bids(database(), lot_id)
    data = {"lot": lot_data(lot), "bids": bids, "position": position, "now": time.time()}
    return {"lot": lot, "bids": bids, "data": data}


@app.get("/")
def home() -> str:
    paddle = visitor()
    positions = {lot["id"]: str(prices(lot_id=lot["id"]).position()) for lot in store.lots(database())}
    rows = store.lots(database())
    data = {
        "lots": [lot_data(lot) for lot in rows],
        "positions": positions,
        "bid_on": store.bid_on(database(), paddle),
        "paddle": paddle,
        "now": time.time(),
    }
    return render_template("home.html", lots=rows, sale=store.current_sale(database()), data=data)


@app.get("/lots/<int:lot_id>")
def lot(lot_id: int) -> str:
    paddle = visitor()
    page = lot_page(lot_id)
    page["data"] |= {"paddle": paddle, "bid_on": store.bid_on(database(), paddle)}
    return render_template("lot.html", **page, name=session.get("name", ""))


@app.get("/lots/<int:lot_id>.json")
def lot_json(lot_id: int) -> Response:
    """The same as data: a page that was told of a gap starts again from here."""
    return jsonify(lot_page(lot_id)["data"])


@app.get("/lots/<int:lot_id>/picture.svg")
def picture(lot_id: int) -> Response:
    lot = store.lot(database(), lot_id)
    if lot is None:
        abort(404)
    response = Response(pictures.draw(lot["style"], lot["seed"]), mimetype="image/svg+xml")
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"  # its URL names the seed
    return response


@app.post("/lots/<int:lot_id>/bids")
def bid_form(lot_id: int) -> Any:
    """The bid form of a browser without JavaScript. Those with it see the bid at once all the same."""
    session["name"] = request.form.get("bidder", "")[:40]
    try:
        made = accept_bid(lot_id, request.form.get("amount", 0, type=int), session["name"])
        flash(f"Your bid of {money(made.amount)} is in.", "good")
    except store.NotAccepted as no:
        flash(f"Sorry, {no}.", "bad")
    return redirect(url_for("lot", lot_id=lot_id) + "#bid")


@app.post("/bots")
def bots_form() -> Any:
    lot_id = request.form.get("lot_id", type=int)
    if not bots.start(app, announce, lot_id):
        flash("The bots are bidding already.", "bad")
    return redirect(url_for("lot", lot_id=lot_id) if lot_id else url_for("home"))


@app.post("/sales")
def sales_form() -> Any:
    """A new sale with new prints, for when the hammer fell on all of them."""
    store.new_sale(database())
    return redirect(url_for("home"))


# --- for the templates -------------------------------------------------------------------------------------------


@app.template_filter()
def money(amount: int) -> str:
    return f"€{amount:,}"


@app.template_filter()
def until(moment: float) -> str:
    """How long still, for pages without JavaScript."""
    seconds = int(moment - time.time())
    if seconds <= 0:
        return "ended"
    return (
        f"{seconds // 3600} h {seconds % 3600 // 60} min"
        if seconds >= 3600
        else f"{max(1, seconds // 60)} min"
    )


@app.template_filter()
def clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


# What a lot's standing is called: on its card, and on its page.
TAGS = {
    "open": "",
    "leading": "You lead",
    "outbid": "Outbid",
    "won": "Yours",
    "sold": "Sold",
    "unsold": "Not sold",
}

app.jinja_env.globals.update(standing=store.standing, minimum=store.minimum, tags=TAGS)

# --- one line to mount it ----------------------------------------------------------------------------------------

app.wsgi_app = RealtimeMiddleware(app.wsgi_app, rt)  # type: ignore[method-assign]

# The channels' memory begins with this process, the auction does not: tell the prices again to whoever still watches.
with app.app_context():
    for lot in store.lots(database()):
        if highest := store.highest(lot):
            prices(lot_id=highest.lot_id).publish(highest)
