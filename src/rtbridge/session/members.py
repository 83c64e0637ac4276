"""Who was put into a channel by the server, whatever its authorize function says.

A record on the bus for each, so that any worker can look and nothing has to be trusted that a client brings back. It
lives `limits.member_ttl` seconds from the last time that its client or user was let in by it. Everything here blocks.
"""

from __future__ import annotations

from rtbridge.bus.contract import Bus
from rtbridge.config import Limits
from rtbridge.protocol.presence import PREFIX
from rtbridge.session.addresses import client_address, user_address


class Members:
    """Reads and writes the records."""

    def __init__(self, bus: Bus, limits: Limits) -> None:
        self._bus = bus
        self._limits = limits

    def add(self, address: bytes, channel: str) -> None:
        """Let a client or user into a channel."""
        self._bus.put(_key(address, channel), b"1", self._limits.member_ttl)

    def remove(self, address: bytes, channel: str) -> None:
        """Let it in no longer. What it was granted already has to be revoked besides."""
        self._bus.delete(_key(address, channel))

    def includes(self, client_id: str, user_id: str | None, channel: str) -> bool:
        """Whether a client, or its user, was let into a channel (or into the one whose presence this is)."""
        channel = channel.removeprefix(PREFIX)
        addresses = [client_address(client_id)] + ([] if user_id is None else [user_address(user_id)])
        for address in addresses:
            if self._bus.get(_key(address, channel)) is not None:
                self.add(address, channel)  # it came: its time begins anew
                return True
        return False


def _key(address: bytes, channel: str) -> str:
    return f"member:{address.decode()}:{channel}"
