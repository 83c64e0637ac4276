"""The auction's own tables and rules, as the site had them before it became realtime. Nothing here knows rtbridge.

Amounts are whole euros, times are seconds since 1970. A *paddle* is a visitor's public number in the room; which
paddle is yours stands in your signed session cookie.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS lots (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sale INTEGER NOT NULL, number INTEGER NOT NULL,
    title TEXT NOT NULL, about TEXT NOT NULL, style TEXT NOT NULL, seed INTEGER NOT NULL,
    start INTEGER NOT NULL, step INTEGER NOT NULL, ends_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS bids (
    id INTEGER PRIMARY KEY AUTOINCREMENT, lot_id INTEGER NOT NULL REFERENCES lots (id), amount INTEGER NOT NULL,
    bidder TEXT NOT NULL, paddle INTEGER NOT NULL, at REAL NOT NULL, UNIQUE (lot_id, amount));
CREATE TABLE IF NOT EXISTS paddles (id INTEGER PRIMARY KEY AUTOINCREMENT);
INSERT OR IGNORE INTO paddles (id) VALUES (100);
"""

# title, about, style of the picture, start, step, minutes until the hammer falls
PRINTS = (
    ("Tidal Chart", "Nine tides laid over one another, with the sun that pulled them.", "waves", 80, 5, 6),
    (
        "Concrete Garden",
        "Eighty slabs, four turns each. The architect insists it is a lawn.",
        "tiles",
        120,
        10,
        12,
    ),
    (
        "Postcard from Saturn",
        "Posted in good light. The stamp was bigger than the card.",
        "orbits",
        150,
        10,
        20,
    ),
    (
        "Island, Surveyed Twice",
        "Both surveyors were certain. The coast has moved on since.",
        "contours",
        60,
        5,
        28,
    ),
    (
        "Radio Silence",
        "Thirty-four sweeps of a receiver on a night when nobody spoke.",
        "signal",
        200,
        20,
        36,
    ),
    ("Slow Volcano", "Six ridges and a sun that will not hurry.", "ridges", 90, 5, 45),
    ("Harvest, from the Plane", "Seat 14A, somewhere over the lowlands, late August.", "fields", 70, 5, 60),
    (
        "Orchard at Noon",
        "Twenty blossoms. No two of them agree on the number of petals.",
        "petals",
        50,
        5,
        80,
    ),
    ("Seven Harbours", "One rope, never cut. Follow it with a finger, count them.", "harbours", 110, 10, 110),
)

HIGHEST = 1_000_000


@dataclass(frozen=True)
class Bid:
    """One bid, as everybody may see it; `count` says how many there are on the lot with it."""

    id: int
    lot_id: int
    amount: int
    bidder: str
    paddle: int
    at: float
    count: int


class NotAccepted(Exception):
    """The auctioneer says no: the message is for the bidder, `data` for the page."""

    def __init__(self, message: str, **data: int) -> None:
        super().__init__(message)
        self.data = data


def connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5, isolation_level=None)  # None: we say BEGIN ourselves
    db.row_factory = sqlite3.Row
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """From here to the end nobody else writes: IMMEDIATE takes the write lock *before* the price is read."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def prepare(path: Path) -> None:
    """Make the database where there is none, and open a sale where none is running."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = connect(path)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        new_sale(db, only_if_over=True)
    finally:
        db.close()


def new_sale(db: sqlite3.Connection, only_if_over: bool = False) -> None:
    """Nine fresh prints under the hammer; the earlier sales stay in the books."""
    now = time.time()
    with transaction(db):
        if only_if_over and any(is_open(lot) for lot in lots(db)):
            return
        sale, seed = current_sale(db) + 1, secrets.randbelow(10**6)
        db.executemany(
            "INSERT INTO lots (sale, number, title, about, style, seed, start, step, ends_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (sale, number, title, about, style, seed + 3 * number, start, step, now + minutes * 60)
                for number, (title, about, style, start, step, minutes) in enumerate(PRINTS, 1)
            ],
        )


def new_paddle(db: sqlite3.Connection) -> int:
    return int(db.execute("INSERT INTO paddles DEFAULT VALUES").lastrowid or 0)


# --- questions ---------------------------------------------------------------------------------------------------

# A lot with what stands on it: amount, bidder and paddle of the highest bid, and how many there are.
LOTS = """
SELECT lots.*, bids.id AS bid_id, bids.amount, bids.bidder, bids.paddle, bids.at,
       (SELECT count(*) FROM bids WHERE lot_id = lots.id) AS count
FROM lots LEFT JOIN bids ON bids.id = (SELECT id FROM bids WHERE lot_id = lots.id ORDER BY amount DESC LIMIT 1)
"""


def current_sale(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(sale), 0) FROM lots").fetchone()[0])


def lots(db: sqlite3.Connection) -> list[sqlite3.Row]:
    """The lots of the newest sale."""
    return db.execute(f"{LOTS} WHERE sale = (SELECT max(sale) FROM lots) ORDER BY number").fetchall()


def lot(db: sqlite3.Connection, lot_id: int) -> sqlite3.Row | None:
    return db.execute(f"{LOTS} WHERE lots.id = ?", (lot_id,)).fetchone()


def bids(db: sqlite3.Connection, lot_id: int, limit: int = 50) -> list[Bid]:
    """The newest bids of a lot, highest first."""
    rows = db.execute(
        "SELECT *, row_number() OVER (ORDER BY id) AS count FROM bids WHERE lot_id = ? ORDER BY id DESC LIMIT ?",
        (lot_id, limit),
    )
    return [Bid(**dict(row)) for row in rows]


def bid_on(db: sqlite3.Connection, paddle: int) -> list[int]:
    """The lots that a paddle was raised for."""
    return [row[0] for row in db.execute("SELECT DISTINCT lot_id FROM bids WHERE paddle = ?", (paddle,))]


def standing(lot: sqlite3.Row, paddle: int, bid_on: list[int]) -> str:
    """How a lot stands, seen from a paddle: leading, outbid, open, won, sold or unsold."""
    if is_open(lot):
        return "leading" if lot["paddle"] == paddle else "outbid" if lot["id"] in bid_on else "open"
    return "unsold" if not lot["count"] else "won" if lot["paddle"] == paddle else "sold"


def highest(lot: sqlite3.Row) -> Bid | None:
    """The bid that leads on a lot."""
    if lot["bid_id"] is None:
        return None
    return Bid(lot["bid_id"], lot["id"], lot["amount"], lot["bidder"], lot["paddle"], lot["at"], lot["count"])


def minimum(lot: sqlite3.Row) -> int:
    """What the next bid must reach."""
    return int(lot["start"] if lot["amount"] is None else lot["amount"] + lot["step"])


def is_open(lot: sqlite3.Row) -> bool:
    return bool(time.time() < lot["ends_at"])


# --- the bid -----------------------------------------------------------------------------------------------------


def place_bid(db: sqlite3.Connection, lot_id: int, amount: int, bidder: str, paddle: int) -> Bid:
    """Put a bid on a lot, or raise NotAccepted. Two at once: one of them sees the other's."""
    bidder = " ".join(bidder.split())
    if not 1 <= len(bidder) <= 40:
        raise NotAccepted("please say who is bidding, in at most 40 letters")
    with transaction(db):
        item = lot(db, lot_id)
        if item is None:
            raise NotAccepted("there is no such lot")
        price, least, now = item["amount"] or 0, minimum(item), time.time()
        if now >= item["ends_at"]:
            raise NotAccepted("too late: the hammer has fallen", price=price)
        if item["paddle"] == paddle:
            raise NotAccepted(f"you are the highest bidder already, at {price}", price=price, minimum=least)
        if amount <= price:
            raise NotAccepted(f"somebody was faster: the price is {price}", price=price, minimum=least)
        if amount < least:
            raise NotAccepted(f"the next bid is at least {least}", price=price, minimum=least)
        if amount > HIGHEST:
            raise NotAccepted(f"nobody here has more than {HIGHEST:,}", price=price, minimum=least)
        bid_id = db.execute(
            "INSERT INTO bids (lot_id, amount, bidder, paddle, at) VALUES (?, ?, ?, ?, ?)",
            (lot_id, amount, bidder, paddle, now),
        ).lastrowid
        return Bid(int(bid_id or 0), lot_id, amount, bidder, paddle, now, item["count"] + 1)
