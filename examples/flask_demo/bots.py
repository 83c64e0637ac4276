"""Bidders made of code, so that one person can see a live auction. One run at a time, of so many seconds and bids."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable

from flask import Flask

from . import store

SECONDS = 45
BIDS = 40
NAMES = ("Ada", "Mr Ostrich", "Lucinda", "The Baron", "Pim", "Yuki", "Aunt Vera", "Il Dottore")

running = threading.Lock()


def start(app: Flask, announce: Callable[[store.Bid], None], lot_id: int | None = None) -> bool:
    """Begin a run on one lot, or on all; False if one is under way."""
    if not running.acquire(blocking=False):
        return False
    threading.Thread(target=run, args=(app, announce, lot_id), name="bots", daemon=True).start()
    return True


def run(app: Flask, announce: Callable[[store.Bid], None], lot_id: int | None) -> None:
    db = store.connect(app.config["DATABASE"])
    try:
        people = [(name, store.new_paddle(db)) for name in random.sample(NAMES, 4)]
        end = time.monotonic() + SECONDS
        for _ in range(BIDS):
            time.sleep(random.uniform(0.4, 1.8))
            if time.monotonic() > end:
                break
            one_bid(db, announce, lot_id, *random.choice(people))
    finally:
        db.close()
        running.release()


def one_bid(
    db: sqlite3.Connection, announce: Callable[[store.Bid], None], lot_id: int | None, name: str, paddle: int
) -> None:
    """Bid a little more than is asked for, on a lot that somebody else leads."""
    choice = [lot for lot in store.lots(db) if lot_id in (None, lot["id"]) and lot["paddle"] != paddle]
    if not choice:
        return
    lot = random.choice(choice)
    amount = store.minimum(lot) + lot["step"] * random.choice((0, 0, 0, 1, 2))
    try:
        announce(store.place_bid(db, lot["id"], amount, name, paddle))
    except store.NotAccepted:
        pass  # somebody was faster, or the hammer fell
