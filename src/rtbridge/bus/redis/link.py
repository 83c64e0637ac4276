"""One connection to one Redis server: bytes out, replies in.

We speak the protocol ourselves over a non-blocking socket, with hiredis to read replies: one way for threads and
greenlets, and none of a client library's own retries, which turn one publish into two.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from _socket import socket as native_socket
from collections.abc import Sequence
from typing import Any, cast

import hiredis

from rtbridge.bus.redis.address import Address, Settings
from rtbridge.bus.redis.world import World
from rtbridge.errors import BusError, BusUnavailable
from rtbridge.runtime.native import native_lock, original

ReplyError = hiredis.ReplyError
CHUNK = 65_536


class LinkLost(BusUnavailable):
    """The connection failed. `sent`: whether what was asked had left, so that nobody knows if it was done."""

    def __init__(self, message: str, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


def pack(*words: str | bytes | int) -> bytes:
    """A command in its form on the wire."""
    packed: bytes = hiredis.pack_command(cast(Any, words))
    return packed


class Link:
    """A connected socket. One caller sends at a time, and one receives."""

    def __init__(self, world: World, settings: Settings, address: Address, deadline: float) -> None:
        """Raises LinkLost."""
        self.address = address
        self._world = world
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._tls: ssl.SSLObject | None = None
        self._tls_lock = native_lock()  # one thread may send while another one receives
        self._closed = False
        try:
            self._sock = _connect(world, address, deadline)
            if settings.tls is not None:
                self._begin_tls(settings.tls, address, deadline)
        except OSError as error:
            raise LinkLost(f"cannot connect to Redis at {address}: {error}") from error

    # Bytes.

    def send(self, data: bytes, deadline: float) -> None:
        """Raises LinkLost."""
        try:
            if self._tls is not None:
                with self._tls_lock:
                    self._tls.write(data)
                    data = self._outgoing.read()
            self._send_raw(data, deadline)
        except (OSError, ValueError) as error:
            raise LinkLost(f"lost Redis at {self.address}: {error}", sent=True) from error

    def receive(self, deadline: float) -> list[Any]:
        """What has come, at least one reply; none when the deadline passed.

        Raises:
            LinkLost: the other end has closed, or what it says is not Redis.
        """
        replies: list[Any] = []
        while True:
            try:
                data = self._receive_raw(deadline)
                if data is None:
                    return replies
                if not data:
                    raise LinkLost(f"Redis at {self.address} closed the connection", sent=True)
                self._reader.feed(data)
                while (reply := self._reader.gets()) is not _NOTHING:
                    replies.append(reply)
            except (OSError, ValueError, hiredis.ProtocolError) as error:
                raise LinkLost(f"lost Redis at {self.address}: {error}", sent=True) from error
            if replies:
                return replies

    def ask(self, commands: Sequence[bytes], deadline: float) -> list[Any]:
        """Send commands and wait for as many replies, errors among them. For a link of one's own.

        Raises:
            LinkLost: no, or not in time.
        """
        self.send(b"".join(commands), deadline)
        replies: list[Any] = []
        while len(replies) < len(commands):
            more = self.receive(deadline)
            if not more:
                raise LinkLost(f"Redis at {self.address} does not answer", sent=True)
            replies += more
        return replies

    def has_ended(self) -> bool:
        """Whether the other end has closed, while nothing is expected from it."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def hang_up(self) -> None:
        """Wake whoever receives, who then closes. From anywhere."""
        try:
            self._sock.shutdown(2)
        except OSError:
            pass

    def close(self) -> None:
        """By whoever receives, or when nobody does."""
        if not self._closed:
            self._closed = True
            self._sock.close()

    def abandon(self) -> None:
        """In the child of a fork, where the connection is the parent's: have it end here and not there.

        A greenlet copied from the parent may wait for this descriptor. Closing it would upset the event loop; so
        another socket, at its end, takes its place.
        """
        if not self._closed:
            ended, other = original("socket", "socketpair")()
            other.close()
            os.dup2(ended.fileno(), self._sock.fileno(), inheritable=False)
            ended.close()

    def _send_raw(self, data: bytes, deadline: float) -> None:
        view: bytes | memoryview = data
        while True:
            try:
                sent = self._sock.send(view)
            except BlockingIOError:
                self._wait(True, deadline)
                continue
            if sent == len(view):
                return
            view = memoryview(view)[sent:]

    def _receive_raw(self, deadline: float) -> bytes | None:
        """None: nothing came in time. Empty: the end."""
        while True:
            if self._tls is not None:
                try:
                    with self._tls_lock:
                        return self._tls.read(CHUNK)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:
                    return b""
            try:
                data = self._sock.recv(CHUNK)
            except BlockingIOError:
                if not self._world.wait_for(self._sock.fileno(), False, deadline - time.monotonic()):
                    return None
                continue
            if self._tls is None:
                return data
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
                return b""

    def _wait(self, write: bool, deadline: float) -> None:
        if not self._world.wait_for(self._sock.fileno(), write, deadline - time.monotonic()):
            raise TimeoutError("timed out")

    def _begin_tls(self, context: ssl.SSLContext, address: Address, deadline: float) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=address.host or None)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._send_raw(self._outgoing.read(), deadline)
                try:
                    data = self._sock.recv(CHUNK)
                except BlockingIOError:
                    self._wait(False, deadline)
                    continue
                if not data:
                    raise ConnectionResetError("closed during the TLS handshake") from None
                self._incoming.write(data)
        self._send_raw(self._outgoing.read(), deadline)
        self._tls = tls


class Greeted(Link):
    """A link to a master that knows who we are.

    Attributes:
        fence: the name of the server's run of replication; `-` where that is not to matter. See scripts/log.lua.
    """

    def __init__(self, world: World, settings: Settings, address: Address, deadline: float) -> None:
        """
        Raises:
            LinkLost: nobody is there, or it is no master now.
            BusError: we are not let in.
        """
        super().__init__(world, settings, address, deadline)
        try:
            self.fence = self._greet(settings, deadline).encode()
        except BaseException:
            self.close()
            raise

    def _greet(self, settings: Settings, deadline: float) -> str:
        commands = [*sign_in(settings.username, settings.password)]
        if settings.db:
            commands.append(pack("SELECT", settings.db))
        commands.append(pack("CLIENT", "SETNAME", f"rtbridge-{os.getpid()}"))
        commands.append(pack("INFO", "replication"))
        *replies, name, info = self.ask(commands, deadline)
        del name  # a name is a convenience; perhaps it is not permitted
        for reply in (*replies, info):
            if isinstance(reply, ReplyError):
                raise refusal(self.address, reply)
        fields = dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)
        if fields.get("role") != "master":
            raise LinkLost(f"Redis at {self.address} is a replica; the master is elsewhere")
        return fields["master_replid"] if settings.fence else "-"


def sign_in(username: str | None, password: str | None) -> list[bytes]:
    """The command that says who we are, if there is anything to say."""
    if password is None:
        return []
    return [pack("AUTH", username, password) if username else pack("AUTH", password)]


def refusal(address: Address, error: Exception) -> BusError:
    """The error for what a server would not do."""
    text = str(error)
    if text.startswith(("LOADING", "BUSY ", "TRYAGAIN", "NOREPLICAS")):
        return LinkLost(f"Redis at {address} is not ready: {text}")
    if text.startswith(("WRONGPASS", "NOAUTH", "NOPERM")) or "AUTH" in text:
        return BusError(
            f"Redis at {address} refuses: {text}. Check the user and password in the URL, "
            "and the user's ACL: see the page on Redis"
        )
    return BusError(f"Redis at {address} refuses: {text}")


def _connect(world: World, address: Address, deadline: float) -> native_socket:
    if address.path:
        return _connect_to(world, socket.AF_UNIX, 0, address.path, deadline)
    last: OSError = ConnectionError("the name has no address")
    for family, _, proto, _, where in world.resolve(address.host, address.port):
        try:
            sock = _connect_to(world, family, proto, where, deadline)
        except OSError as error:
            last = error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return sock
    raise last


def _connect_to(world: World, family: int, proto: int, where: Any, deadline: float) -> native_socket:
    sock = native_socket(family, socket.SOCK_STREAM, proto)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(where[:4] if family == socket.AF_INET6 else where)
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN):
            if not world.wait_for(sock.fileno(), True, deadline - time.monotonic()):
                raise TimeoutError("timed out")
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


class _Nothing:
    """What hiredis gives when a reply is not complete."""


_NOTHING = _Nothing()
