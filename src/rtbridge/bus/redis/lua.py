"""The Lua scripts, one file per operation: scripts/*.lua. Each says its keys, arguments and promise."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

OF_LOGS = ("publish", "read", "positions")
"""Those that begin with log.lua."""
ONCE = ("add", "replace", "hold", "release")
"""Those that begin with once.lua."""
NAMES = (*OF_LOGS, *ONCE, "held", "lapsed")


@dataclass(frozen=True, slots=True)
class Script:
    """Source and SHA1, both as they go over the wire."""

    source: bytes
    sha: bytes

    def command(self, keys: list[bytes], *arguments: bytes) -> bytes:
        """The EVALSHA command, packed."""
        words = (b"EVALSHA", self.sha, b"%d" % len(keys), *keys, *arguments)
        packed = [b"*%d\r\n" % len(words)]
        packed += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        return b"".join(packed)


@cache
def script(name: str) -> Script:
    folder = files("rtbridge.bus.redis") / "scripts"
    parts = ["log", name] if name in OF_LOGS else ["once", name] if name in ONCE else [name]
    source = b"".join((folder / f"{part}.lua").read_bytes() for part in parts)
    return Script(source, hashlib.sha1(source).hexdigest().encode())
