"""The bus on Redis: plain, behind Sentinel, or a Cluster. See `bus`."""

from rtbridge.bus.redis.bus import RedisBus

__all__ = ["RedisBus"]
