"""Locks and thread identities of the operating system, also where gevent has replaced Python's.

A monkey-patched lock switches greenlets when it is contended, and does not exclude real threads. Where a
critical section is short, never switches, and may be entered from real threads, the native lock is the
right one in both worlds.
"""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable
from typing import Any


def native_lock() -> _thread.LockType:
    """A lock of the operating system, not reentrant. Hold it for a moment, and never across a switch."""
    lock: _thread.LockType = _original("allocate_lock")()
    return lock


def native_ident() -> Callable[[], int]:
    """The function that tells which OS thread it is called in."""
    ident: Callable[[], int] = _original("get_ident")
    return ident


def _original(name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("_thread", name) if monkey else getattr(_thread, name)
