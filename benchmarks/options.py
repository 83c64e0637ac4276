"""What all benchmark programs do first: which profile was asked for, and getting ready to measure."""

from __future__ import annotations

import argparse
import os
import time

from .harness import compile_c, end_on_sigterm, pin_load, raise_file_limit
from .loading import LOAD

PROFILES = ("quick", "standard", "full")


def choose(doc: str | None, arguments: list[str] | None) -> str:
    """The profile: quick, standard or full."""
    parser = parser_for(doc)
    return str(parser.parse_args(arguments).profile)


def parser_for(doc: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("--quick", action="store_const", dest="profile", const="quick", default="standard")
    parser.add_argument("--full", action="store_const", dest="profile", const="full")
    return parser


def within(seconds: float) -> float:
    """Seconds that may be spent: so many, but no more than are left until BENCH_END (Unix time) where that is set."""
    end = os.environ.get("BENCH_END")
    return min(seconds, max(0.0, float(end) - time.time())) if end else seconds


def begin() -> int:
    """Move to the load's core, allow many files, compile the load. How many files may be open."""
    limit = raise_file_limit()
    pin_load()
    end_on_sigterm()
    compile_c(LOAD)
    return limit
