"""Floor 6: the bridge, what an application's author holds in hand."""

from rtbridge.bridge.bridge import Bridge
from rtbridge.bridge.channel import Channel, Published
from rtbridge.bridge.finding import find_bridge

__all__ = ["Bridge", "Channel", "Published", "find_bridge"]
