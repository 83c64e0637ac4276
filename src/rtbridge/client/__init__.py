"""The Python client of rtbridge; see `rtbridge.client.client`."""

from rtbridge.client.attendance import Attendance, Change
from rtbridge.client.client import Client, connect
from rtbridge.client.errors import CallError, ClientError, ConnectionStopped, FeedClosed, FeedError
from rtbridge.client.feed import Feed, Gap, Item, Snapshot
from rtbridge.client.private import Message
from rtbridge.client.switch import Status

__all__ = [
    "Attendance",
    "CallError",
    "Change",
    "Client",
    "ClientError",
    "ConnectionStopped",
    "Feed",
    "FeedClosed",
    "FeedError",
    "Gap",
    "Item",
    "Message",
    "Snapshot",
    "Status",
    "connect",
]
