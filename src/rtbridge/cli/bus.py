"""The bus that a command works on: by `--url` or `RTBRIDGE_URL`, or that of an application's bridge."""

from __future__ import annotations

import argparse
import os

from rtbridge.bridge import Bridge
from rtbridge.cli.loading import CannotLoad, load_bridge


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="the bus, as redis://localhost:6379/0; default: RTBRIDGE_URL")
    where.add_argument(
        "--app", metavar="MODULE:BRIDGE", help="the application's bridge: its bus, and its declarations"
    )


def bridge_of(given: argparse.Namespace) -> Bridge:
    """The bridge to work with. Without `--app` it has a bus, and no declarations.

    Raises:
        CannotLoad: no bus is named, or one that lives in another process.
    """
    url = given.url or os.environ.get("RTBRIDGE_URL")
    if not (given.app or url):
        raise CannotLoad(
            "which bus? give --url redis://localhost:6379/0, RTBRIDGE_URL or --app module:bridge"
        )
    bridge = load_bridge(given.app) if given.app else Bridge(url)
    if not bridge.shared:
        raise CannotLoad(
            f"{bridge.url} lives in the process that serves, out of reach from here; with a bus of its own, as "
            "redis://localhost:6379/0, the site can be reached from anywhere"
        )
    return bridge
