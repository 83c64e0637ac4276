"""Floor 8: the command line. One module for each command: what it takes, and what it does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rtbridge import __version__
from rtbridge.cli import doctor, publish, serve, tail
from rtbridge.cli.loading import CannotLoad
from rtbridge.errors import RtbridgeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rtbridge", description="Make an existing site realtime.")
    parser.add_argument("--version", action="version", version=f"rtbridge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (serve, publish, tail, doctor):
        command.declare(commands)
    given = parser.parse_args(arguments)
    try:
        return int(given.run(given))
    except (CannotLoad, RtbridgeError) as error:
        print(error, file=sys.stderr)
        return 1
