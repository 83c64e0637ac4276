"""Texts with a signature: the format of itsdangerous' `URLSafeSerializer`, in as few steps as it takes.

Ten thousand clients that come back at once bring ten thousand tokens, each to be proved once. itsdangerous derives
the key anew for every one of them, and goes through a dozen layers; here a key is derived when the process begins, and
a signature is one HMAC. What one of the two signs, the other reads.

    PAYLOAD.SIGNATURE     base64url without padding; a payload that begins with "." was compressed
"""

from __future__ import annotations

import hashlib
import hmac
import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from itsdangerous import Signer

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_WORTH = 200
"""Bytes of JSON from which on compressing is tried: less hardly ever gets shorter, and zlib begins with 256 KiB."""
_MOST = 1_048_576
"""Bytes that a payload may have when it is no longer compressed."""


class Signed:
    """Signs values, and reads those that were signed.

    Args:
        secrets: the first signs, all are accepted.
        salt: what is signed for one purpose proves nothing for another.
    """

    def __init__(self, secrets: Sequence[str], salt: str) -> None:
        self._keys = [_derived(secret, salt) for secret in secrets]

    def dumps(self, value: object) -> str:
        """The value as JSON, signed: ASCII, fit for a header."""
        payload = _encode(value).encode()
        packed = zlib.compress(payload) if len(payload) >= _WORTH else payload
        if len(packed) < len(payload) - 1:
            text = b"." + _base64(packed)
        else:
            text = _base64(payload)
        return (text + b"." + _signature(self._keys[0], text)).decode("ascii")

    def loads(self, signed: str) -> object:
        """The value that was signed.

        Raises:
            ValueError: it was not signed with one of our secrets.
        """
        text, _, signature = signed.encode("ascii").rpartition(b".")
        for key in self._keys:
            if hmac.compare_digest(_signature(key, text), signature):
                return json.loads(_payload(text).decode())
        raise ValueError("not signed by us")


def _derived(secret: str, salt: str) -> bytes:
    signer = Signer(secret, salt=salt.encode(), key_derivation="hmac", digest_method=hashlib.sha256)
    return signer.derive_key()


def _signature(key: bytes, text: bytes) -> bytes:
    return _base64(hmac.digest(key, text, "sha256"))


def _payload(text: bytes) -> bytes:
    if not text.startswith(b"."):
        return _bytes(text)
    whole = zlib.decompressobj()
    payload = whole.decompress(_bytes(text[1:]), _MOST)
    if not whole.eof:
        raise ValueError("a payload that is cut off, or too large")
    return payload


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _bytes(text: bytes) -> bytes:
    return urlsafe_b64decode(text + b"=" * (-len(text) % 4))
