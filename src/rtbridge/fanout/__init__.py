"""Per process: the tail of each watched channel, and who reads it. See `fanout`."""

from rtbridge.fanout.fanout import Fanout, Reader
from rtbridge.fanout.tail import Entry, Tail

__all__ = ["Entry", "Fanout", "Reader", "Tail"]
