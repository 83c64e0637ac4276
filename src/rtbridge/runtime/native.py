"""Locks and thread identities of the operating system, also where gevent has replaced Python's.

A monkey-patched lock switches greenlets when it is contended, and does not exclude real threads. Where a
critical section is short, never switches, and may be entered from real threads, the native lock is the
right one in both worlds.
"""

from __future__ import annotations

import _thread
import importlib
import sys
from collections.abc import Callable
from typing import Any


def native_lock() -> _thread.LockType:
    """A lock of the operating system, not reentrant. Hold it for a moment, and never across a switch."""
    lock: _thread.LockType = original("_thread", "allocate_lock")()
    return lock


def native_ident() -> Callable[[], int]:
    """The function that tells which OS thread it is called in."""
    ident: Callable[[], int] = original("_thread", "get_ident")
    return ident


def original(module: str, name: str) -> Any:
    """What a module had under this name before gevent replaced it, or has, if it did not."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else getattr(importlib.import_module(module), name)
