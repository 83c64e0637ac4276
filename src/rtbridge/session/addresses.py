"""Where mail for a client or a user goes: which mailbox, and under what address in it.

A mailbox is an ordinary log that a sixteenth of everybody shares, so that clients who are never written to cost the bus
nothing at all. A client's id begins with the number of its user's mailbox: so a session has both its private
channels in one log, and one position for the two.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode

from rtbridge.protocol.private import RESERVED

MAILBOXES = 16
"""How many there are. All processes on one bus must agree: it is no setting."""
ADDRESS = 16
"""Characters of an address: 96 bits, so that no two people ever share one."""

_CLIENT_ID = re.compile(r"c-([0-9a-f])[A-Za-z0-9_-]{16}")


def new_client_id(user_id: str | None) -> str:
    """A random id for a session of this user, or of somebody unknown."""
    number = secrets.randbelow(MAILBOXES) if user_id is None else mailbox_of_user(user_id)
    return f"c-{number:x}{secrets.token_urlsafe(12)}"


def user_address(user_id: str) -> bytes:
    """Where mail for all clients of a user goes."""
    return _address(b"user\0", user_id)


def client_address(client_id: str) -> bytes:
    """Where mail for one client goes."""
    return _address(b"client\0", client_id)


def mailbox_of_user(user_id: str) -> int:
    """The number of a user's mailbox."""
    return _number(b"user\0", user_id)


def mailbox_of_client(client_id: str) -> int:
    """The number of a client's mailbox; that of its user, where we made the id."""
    found = _CLIENT_ID.fullmatch(client_id)
    return _number(b"client\0", client_id) if found is None else int(found[1], 16)


def mailbox_channel(number: int) -> str:
    """The channel that is this mailbox."""
    return f"{RESERVED}mail/{number:x}"


def _address(kind: bytes, text: str) -> bytes:
    return urlsafe_b64encode(_digest(kind, text))


def _number(kind: bytes, text: str) -> int:
    return _digest(b"mailbox\0" + kind, text)[0] % MAILBOXES


def _digest(kind: bytes, text: str) -> bytes:
    return hashlib.blake2b(kind + text.encode("utf-8", "surrogateescape"), digest_size=12).digest()
