"""The Python client of rtbridge; see `rtbridge.client.client`."""

from rtbridge.client.client import Client, connect
from rtbridge.client.errors import CallError, ClientError, ConnectionStopped, FeedClosed, FeedError
from rtbridge.client.feed import Feed, Gap, Item, Snapshot
from rtbridge.client.switch import Status

__all__ = [
    "CallError",
    "Client",
    "ClientError",
    "ConnectionStopped",
    "Feed",
    "FeedClosed",
    "FeedError",
    "Gap",
    "Item",
    "Snapshot",
    "Status",
    "connect",
]
