"""Where a channel's keys are.

Each channel, record and group of leases belongs to one of a fixed number of partitions. All its keys carry the
partition's hash tag, and so does the name its notifications go to: on a Cluster one script can reach them all.
"""

from __future__ import annotations

from binascii import crc_hqx
from zlib import crc32

SLOTS = 16_384


class Keys:
    """Names of keys. All begin with the prefix, which is what an ACL permits."""

    def __init__(self, prefix: str, partitions: int) -> None:
        self.partitions = partitions
        self._tags = [f"{prefix}{{{number}}}:".encode() for number in range(partitions)]
        self.slots = [crc_hqx(b"%d" % number, 0) % SLOTS for number in range(partitions)]
        """The hash slot of each partition: CRC16 of what stands in the braces."""

    def partition(self, name: str) -> int:
        return crc32(name.encode()) % self.partitions

    def log(self, channel: str) -> bytes:
        return self._tag(channel) + b"log:" + channel.encode()

    def history(self, channel: str) -> bytes:
        return self._tag(channel) + b"history:" + channel.encode()

    def idempotency(self, channel: str, key: str) -> bytes:
        return self._tag(channel) + f"key:{channel}:{key}".encode()

    def receipts(self, channel: str, publisher: str) -> bytes:
        """What a publisher published last at each of its places: one key for all channels of a partition."""
        return self._tag(channel) + f"receipts:{publisher}".encode()

    def receipt(self, name: str, publisher: str) -> bytes:
        """What else a publisher did last at one of its places; the number of the place comes after it."""
        return self._tag(name) + f"receipt:{publisher}:".encode()

    def record(self, key: str) -> bytes:
        return self._tag(key) + b"record:" + key.encode()

    def leases(self, group: str) -> tuple[bytes, bytes, bytes]:
        """Due, values and claims; see scripts/hold.lua."""
        tag, name = self._tag(group), group.encode()
        return tag + b"due:" + name, tag + b"values:" + name, tag + b"claims:" + name

    def lane(self, channel: str) -> bytes:
        """The name that notifications of a channel go to."""
        return self._tag(channel) + b"lane:" + channel.encode()

    def probe(self, partition: int, name: str) -> bytes:
        """The lane on which a process hears itself."""
        return self._tags[partition] + b"probe:" + name.encode()

    def _tag(self, name: str) -> bytes:
        return self._tags[crc32(name.encode()) % self.partitions]
