"""Masking of WebSocket payloads (RFC 6455, section 5.3), never byte by byte.

The C helper of the `websockets` package does it if it is there. Without it, short payloads are one XOR of two
big integers; long ones go through four translation tables, one for each byte of the key, because XOR of big
integers slows down with their size.
"""

from __future__ import annotations

from collections.abc import Callable

_SHORT = 8_192
"""Bytes up to which the big integers win."""
_PIECE = 16_384
"""Bytes translated at a time, so that they stay in the cache; a multiple of four."""


def unmask_by_xor(payload: bytes, key: bytes) -> bytes:
    """`payload` with its mask taken off (or put on: it is the same) by one XOR."""
    size = len(payload)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")


def unmask_by_table(payload: bytes, key: bytes) -> bytes:
    """`payload` with its mask taken off (or put on) by translation."""
    every_byte = bytes(range(256))
    tables = [unmask_by_xor(every_byte, key[lane : lane + 1] * 4) for lane in range(4)]
    pieces = []
    for start in range(0, len(payload), _PIECE):
        piece = bytearray(payload[start : start + _PIECE])
        for lane, table in enumerate(tables):
            piece[lane::4] = piece[lane::4].translate(table)
        pieces.append(piece)
    return b"".join(pieces)


def unmask_in_python(payload: bytes, key: bytes) -> bytes:
    """The faster of the two above for this payload."""
    return unmask_by_xor(payload, key) if len(payload) <= _SHORT else unmask_by_table(payload, key)


def fastest() -> Callable[[bytes, bytes], bytes]:
    """The C helper, or what Python can do."""
    try:
        from websockets.speedups import apply_mask
    except ImportError:
        return unmask_in_python
    helper: Callable[[bytes, bytes], bytes] = apply_mask
    return helper


unmask = fastest()
"""`unmask(payload, key)`: `payload` with the mask of the four bytes `key` taken off, or put on."""
