"""The form of channel names.

Whether a channel is declared is for floor 4; this says only what can be a name at all.
"""

from __future__ import annotations

import re
from functools import lru_cache

from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode

MAX_CHANNEL = 200
"""Bytes of a channel name (all its characters are ASCII)."""

# A segment may hold dots but not be "." or "..": proxies and browsers would rewrite the URL of such a
# channel.
_FORM = re.compile(r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.~-]+(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9_.~-]+)*")


@lru_cache(maxsize=1_000)
def check_channel(name: str) -> str:
    """Return `name` when it has the form of a channel name.

    Raises:
        ProtocolError: NO_SUCH_CHANNEL otherwise, as for any other channel that does not exist.
    """
    if len(name) > MAX_CHANNEL or _FORM.fullmatch(name) is None:
        raise ProtocolError(ErrorCode.NO_SUCH_CHANNEL, "no such channel")
    return name
