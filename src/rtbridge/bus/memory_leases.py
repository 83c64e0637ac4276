"""The leases of `memory://`. Its caller holds the lock and says what time it is."""

from __future__ import annotations

from collections import OrderedDict

from rtbridge.bus.expiring import Expiring

LAPSED_KEPT = 86_400.0
"""Seconds after which a lapse that nobody claimed is forgotten."""


class _Lease:
    __slots__ = ("claimed_until", "expires", "value")

    def __init__(self) -> None:
        self.value = b""
        self.expires = 0.0
        self.claimed_until: float | None = None  # not claimed


class _Group:
    """`leases`: those longest not renewed first. `expires`: when even their lapses are forgotten."""

    __slots__ = ("expires", "leases")

    def __init__(self) -> None:
        self.leases: OrderedDict[str, _Lease] = OrderedDict()
        self.expires = 0.0

    def forget_oldest(self, now: float) -> None:
        """Two with each renewal: more than it adds."""
        for _ in range(2):
            name, lease = next(iter(self.leases.items()))
            if lease.expires + LAPSED_KEPT > now:
                return
            del self.leases[name]


class MemoryLeases:
    """See `Leases`."""

    def __init__(self) -> None:
        self._groups: Expiring[str, _Group] = Expiring()

    def sweep(self, now: float, limit: int) -> None:
        self._groups.sweep(now, limit)

    def hold(self, group: str, name: str, ttl: float, value: bytes, now: float) -> bool:
        ours = self._groups.get(group, now) or _Group()
        lease = ours.leases.get(name)
        missed = lease is None or lease.claimed_until is not None
        if lease is None:
            lease = ours.leases[name] = _Lease()
        lease.value, lease.expires, lease.claimed_until = value, now + ttl, None
        ours.leases.move_to_end(name)
        ours.expires = max(ours.expires, lease.expires + LAPSED_KEPT)
        self._groups.put(group, ours, ours.expires)
        ours.forget_oldest(now)
        return missed

    def release(self, group: str, name: str, only_lapsed: bool, now: float) -> bool:
        leases = self._leases(group, now)
        lease = leases.get(name)
        if lease is None or (only_lapsed and lease.expires > now):
            return False
        del leases[name]
        if not leases:
            self._groups.drop(group)
        return True

    def held(self, group: str, now: float) -> dict[str, bytes]:
        return {name: lease.value for name, lease in self._leases(group, now).items() if lease.expires > now}

    def lapsed(self, group: str, retry_in: float, limit: int, now: float) -> dict[str, bytes]:
        claimed: dict[str, bytes] = {}
        for name, lease in self._leases(group, now).items():
            if len(claimed) >= limit:
                break
            if lease.expires <= now and (lease.claimed_until is None or lease.claimed_until <= now):
                lease.claimed_until = now + retry_in
                claimed[name] = lease.value
        return claimed

    def _leases(self, group: str, now: float) -> OrderedDict[str, _Lease]:
        ours = self._groups.get(group, now)
        return ours.leases if ours is not None else OrderedDict()
