"""A TCP proxy before Redis that loses notifications one by one: the connection stays whole, and nobody is told."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import hiredis

from support.tcp_proxy import TcpProxy


class LossyBus(TcpProxy):
    """Passes on what a subscriber is told, message by message.

    Attributes:
        share: of the notifications, how many are lost at random.
        loses: asked with each notification's payload; true loses it, whatever the share.
        lost: how many were.
    """

    def __init__(self, upstream: int, seed: int = 0) -> None:
        self.share = 0.0
        self.loses: Callable[[bytes], bool] = lambda payload: False
        self.lost = 0
        self._random = random.Random(seed)
        super().__init__(upstream)

    def filter(self) -> Callable[[bytes], bytes]:
        reader = hiredis.Reader(notEnoughData=None)

        def passed(data: bytes) -> bytes:
            reader.feed(data)
            out = []
            while (message := reader.gets()) is not None:
                if self._is_lost(message):
                    self.lost += 1
                else:
                    out.append(encoded(message))
            return b"".join(out)

        return passed

    def _is_lost(self, message: Any) -> bool:
        if (
            not isinstance(message, list)
            or message[0] not in (b"message", b"smessage")
            or b"probe:" in message[1]
        ):
            return False
        return self.loses(message[2]) or self._random.random() < self.share


def encoded(reply: Any) -> bytes:
    """A reply as it came; what was a simple string may leave as a bulk string, which means the same."""
    if isinstance(reply, list):
        return b"*%d\r\n%b" % (len(reply), b"".join(map(encoded, reply)))
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, Exception):
        return b"-%b\r\n" % str(reply).encode()
    raise AssertionError(f"no such reply is expected here: {reply!r}")
