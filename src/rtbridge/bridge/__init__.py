"""Floor 6: the bridge, what an application's author holds in hand."""

from rtbridge.bridge.bridge import Bridge
from rtbridge.bridge.channel import Channel, Published

__all__ = ["Bridge", "Channel", "Published"]
