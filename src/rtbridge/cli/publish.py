"""`rtbridge publish CHANNEL JSON`: publish from a shell or a cron job."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rtbridge.bus import LATEST, VOLATILE, History, Keep
from rtbridge.cli import bus
from rtbridge.cli.loading import CannotLoad
from rtbridge.errors import RtbridgeError
from rtbridge.protocol.data import encode


def declare(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser("publish", help="publish to a channel")
    parser.add_argument("channel", help="its name, for example groups/7/photos")
    parser.add_argument("json", help="what to publish; - reads it from standard input")
    bus.declare(parser)
    parser.add_argument("--key", help="an idempotency key: published again with the same one, it is not")
    parser.add_argument(
        "--keep",
        type=keep,
        metavar="SIZE[:SECONDS]|latest|volatile",
        help="without --app: how much of the channel to keep, as it is declared; default: 100:3600",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Publish, and say the position."""
    try:
        value = json.loads(sys.stdin.read() if given.json == "-" else given.json)
    except ValueError as error:
        raise CannotLoad(
            f"what is to be published is no JSON: {error}; a text needs its own quotes: '\"hello\"'"
        ) from None
    if given.app and given.keep:
        raise CannotLoad("--keep is for channels without a declaration; with --app the declaration says it")
    bridge = bus.bridge_of(given)
    if given.app:
        print(bridge.publish(given.channel, value, key=given.key).position)
        return 0
    kept = given.keep or History()
    print(bridge.bus.publish(given.channel, encode(value), kept, key=given.key))
    if given.keep is None:
        print(
            f"published without a look at any declaration, and kept as History({kept.size}, ttl={kept.ttl:g}); "
            "--app module:bridge validates and keeps as declared",
            file=sys.stderr,
        )
    return 0


def keep(text: str) -> Keep:
    """How much to keep, for argparse."""
    if text in ("latest", "volatile"):
        return LATEST if text == "latest" else VOLATILE
    size, _, ttl = text.partition(":")
    try:
        return History(int(size), float(ttl or 3600))
    except (ValueError, RtbridgeError):
        raise argparse.ArgumentTypeError(f"it takes 200:3600, latest or volatile, not {text!r}") from None
