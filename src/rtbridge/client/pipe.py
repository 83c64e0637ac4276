"""One TCP or TLS connection that never blocks: bytes in by callback, bytes out by `write`.

Name look-up blocks, so it runs outside the turn. TLS is a pair of memory buffers between us and the socket, so that
reading and writing look the same with it and without.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any, Protocol

from rtbridge.client.origin import Origin
from rtbridge.runtime import Loop, Timer, Watch

READ = 65_536
LINGER = 5.0
"""Seconds that a closed pipe has for what is still to be sent."""
_PENDING = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY})


class PipeUser(Protocol):
    """Whoever uses a pipe. Called in the turn, and never after `close`."""

    def on_open(self) -> None:
        """It is connected, and with TLS secured."""

    def on_bytes(self, data: bytes) -> None:
        """Something arrived."""

    def on_lost(self, why: str) -> None:
        """It is over; said once."""


class Pipe:
    """A connection to `origin`. Make it, and use it, in the turn.

    Args:
        timeout: seconds until it must be open.

    Attributes:
        reached: a TCP connection came about.
        user: may be exchanged between two requests.
    """

    def __init__(self, loop: Loop, origin: Origin, user: PipeUser, timeout: float) -> None:
        self.user = user
        self.reached = False
        self.open = False
        self.closed = False
        self._loop = loop
        self._origin = origin
        self._sock: socket.socket | None = None
        self._watch: Watch | None = None
        self._tls: _Tls | None = None
        self._unsent = bytearray()
        self._closing = False
        self._addresses: list[Any] = []
        self._timer: Timer | None = loop.call_later(
            timeout, self._lose, "no connection within the time given"
        )
        loop.spawn(self._look_up)

    def write(self, data: bytes) -> None:
        """Send `data`, now or as soon as the socket takes it."""
        if self.closed or self._closing:
            return
        self._unsent += data if self._tls is None else self._tls.encrypt(data)
        self._flush()

    def close_when_sent(self) -> None:
        """Close as soon as everything written has left; nothing more is read."""
        self._closing = True
        if not self._unsent:
            self.close()
        else:
            self._want()
            self._timer = self._loop.call_later(LINGER, self.close)

    def close(self) -> None:
        """Close at once. May be repeated."""
        self.closed = True
        self._stop_timer()
        self._disconnect()

    # -- opening ------------------------------------------------------------------------------------------

    def _look_up(self) -> None:
        try:
            found = socket.getaddrinfo(self._origin.host, self._origin.port, type=socket.SOCK_STREAM)
        except OSError as error:
            self._loop.call_soon(self._lose, f"{self._origin.host} was not found: {error}")
        else:
            self._loop.call_soon(self._connect, list(found))

    def _connect(self, addresses: list[Any]) -> None:
        """Try the first address; the others wait for its failure."""
        if self.closed:
            return
        family, kind, number, _, address = addresses.pop(0)
        self._addresses = addresses
        try:
            self._sock = socket.socket(family, kind, number)
            self._sock.setblocking(False)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._sock.connect_ex(address)
        except OSError as error:
            code = error.errno or errno.EINVAL
        if code not in _PENDING:
            self._not_connected(code)
            return
        assert self._sock is not None
        self._watch = self._loop.watch(self._sock, self._on_ready)
        self._watch.want(read=False, write=True)

    def _not_connected(self, code: int) -> None:
        self._disconnect()
        if self._addresses:
            self._connect(self._addresses)
        else:
            self._lose(f"{self._origin.host}:{self._origin.port}: {errno.errorcode.get(code, code)}")

    def _connected(self) -> None:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._not_connected(code)
            return
        self.reached = True
        if self._origin.tls is not None:
            self._tls = _Tls(self._origin.tls, self._origin.host)
            self._shake_hands(b"")
        else:
            self._opened()

    def _shake_hands(self, data: bytes) -> None:
        assert self._tls is not None
        done = self._tls.handshake(data)
        self._unsent += self._tls.outgoing()
        if done:
            self._opened()
        self._flush()

    def _opened(self) -> None:
        self.open = True
        self._stop_timer()
        self._want()
        self.user.on_open()
        if self._tls is not None and not self.closed:
            self._decrypted(b"")  # what came in one piece with the end of the handshake

    # -- moving bytes -------------------------------------------------------------------------------------

    def _on_ready(self, readable: bool, writable: bool) -> None:
        try:
            if not self.reached:
                self._connected()
                return
            if writable:
                self._flush()
            if readable and not self.closed and not self._closing:
                self._read()
        except ssl.SSLError as error:
            self._lose(f"TLS failed: {error.reason or error}")
        except OSError as error:
            self._lose(f"the connection was lost: {error.strerror or error}")

    def _read(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self._lose("the server closed the connection")
        elif self._tls is None:
            self.user.on_bytes(data)
        elif not self.open:
            self._shake_hands(data)
        else:
            self._decrypted(data)

    def _decrypted(self, data: bytes) -> None:
        assert self._tls is not None
        plain, ended = self._tls.decrypt(data)
        if plain:
            self.user.on_bytes(plain)
        if not self.closed:
            self._unsent += self._tls.outgoing()  # TLS 1.3 may want to answer on its own
            self._flush()
        if ended:
            self._lose("the server closed the connection")

    def _flush(self) -> None:
        if self.closed or not self.reached or self._sock is None:
            return
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent[:READ])]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # It takes no more, but may have said why before: reading finds that, or the end.
            self._unsent.clear()
        if self._closing and not self._unsent:
            self.close()
        else:
            self._want()

    def _want(self) -> None:
        if self._watch is not None:
            self._watch.want(read=not self._closing, write=bool(self._unsent))

    # -- the end ------------------------------------------------------------------------------------------

    def _lose(self, why: str) -> None:
        if not self.closed:
            self.close()
            self.user.on_lost(why)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _disconnect(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class _Tls:
    """TLS without a socket: bytes from the network in, bytes for the network out."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._in, self._out, server_hostname=host)

    def handshake(self, data: bytes) -> bool:
        """Go on with the handshake; True when it is done."""
        self._in.write(data)
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def encrypt(self, data: bytes) -> bytes:
        view = memoryview(data)
        while view:
            view = view[self._ssl.write(view) :]
        return self.outgoing()

    def decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """What `data` says, and whether the peer has closed."""
        self._in.write(data)
        pieces: list[bytes] = []
        try:
            while piece := self._ssl.read(READ):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces), False
        except ssl.SSLZeroReturnError:
            pass
        return b"".join(pieces), True

    def outgoing(self) -> bytes:
        return self._out.read()
