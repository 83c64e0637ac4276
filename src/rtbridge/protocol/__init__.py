"""Floor 1: the wire protocol, without any I/O.

Think of this package as the page `docs/reference/protocol.md` in code: bytes and values in, values and bytes
out. There is no clock, no socket and no thread here, so that the server, the Python client and the tests all
stand on the very same lines. Import the module you need; nothing is re-exported.

    positions, publications, channels, codes     the words
    data, codecs, packed                         JSON and MessagePack
    messages (commands, replies, fields, polls)  what is said
    frames, masking, handshake                   RFC 6455
    merge, states                                what a client and a server must remember
"""
