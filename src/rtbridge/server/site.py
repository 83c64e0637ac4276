"""The site's own pages, on gevent's pywsgi: one request at a time, on a greenlet that has the connection for just so
long.

What is between two requests is the reactor's. So pywsgi is given a socket and what was already read of it, and
its handler gives both back when the answer has left and the connection may go on.
"""

from __future__ import annotations

import io
import logging
import re
import socket
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Protocol

from gevent import Timeout
from gevent.pywsgi import Input, WSGIHandler, WSGIServer
from gevent.socket import socket as GeventSocket

from rtbridge.config import Limits
from rtbridge.runtime import Loop
from rtbridge.wsgi.sockets import DETACH

_log = logging.getLogger("rtbridge")
_BUFFER = 8_192  # bytes read at once, as by a socket's own file

# What pywsgi's parser makes something else of: it ends a line at a bare CR, and the fields at a line that is none.
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\r\n\0]*+\r?\n")
_FOLDED = re.compile(rb"[ \t][^\r\n\0]*+\r?\n")
_END = (b"\r\n", b"\n")
_LENGTH = re.compile(r"[0-9]{1,15}", re.ASCII)


class Accept(Protocol):
    """Takes a connection, in the turn."""

    def __call__(self, sock: socket.socket, received: bytes = b"", *, served: bool = False) -> object: ...


# Their type stubs leave out what is overridden and called here.
_Server: Any = WSGIServer
_Base: Any = WSGIHandler
_Input: Any = Input


class Site(_Server):  # type: ignore[misc]
    """Accepts connections for the reactor, and serves those that it hands over.

    Args:
        listener: a gevent socket that listens.
        limits: how long the rest of a head, and a body that the site does not read, may take.

    Attributes:
        accept: takes a new connection, and one whose request was answered; to be set before it starts.
        ending: whether a response is the last one of its connection.
        under_way: requests that are being answered.
    """

    accept: Accept
    max_accept = 1_000
    """Connections accepted in one turn. When ten thousand come at once, who is not accepted soon is dropped by the
    kernel, whose queue is full, and tries again a second later."""

    def __init__(self, listener: Any, app: Callable[..., Any], loop: Loop, limits: Limits) -> None:
        super().__init__(listener, app, log=None, error_log=_log, handler_class=_Handler)
        self.ending = False
        self.limits = limits
        self.under_way = 0
        self._turn_loop = loop
        self._family = int(listener.family)

    # pywsgi's own way to accept, without a greenlet for each connection. In gevent's hub.

    def do_read(self) -> Any:
        try:
            descriptor, address = self.socket._accept()
        except BlockingIOError:
            return None
        return _plain(self._family, descriptor), address

    def do_handle(self, *args: Any) -> None:
        self._turn_loop.call_soon(self.accept, args[0])

    # For the reactor, in the turn.

    def carry(self, sock: socket.socket, received: bytes) -> None:
        """Serve a connection's next request, of which `received` is here."""
        self.under_way += 1
        self._turn_loop.spawn(self._carry, sock, received)

    def _carry(self, sock: socket.socket, received: bytes) -> None:
        try:
            try:
                address: Any = sock.getpeername()
            except OSError:
                sock.close()
                return
            connection = GeventSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
            reader = _Reader(connection, received)
            rfile = io.BufferedReader(reader, max(_BUFFER, len(received)))
            _Handler(connection, address, self, rfile).handle()
        finally:
            self.under_way -= 1

    def take_back(self, descriptor: int, received: bytes) -> None:
        """The answer has left: the connection is the reactor's again."""
        sock = _plain(self._family, descriptor)
        with self._turn_loop.turn():
            self.accept(sock, received, served=True)


def _plain(family: int, descriptor: int) -> socket.socket:
    """The interpreter's bare socket: it takes less memory, and the loop's watchers do the waiting.

    What it is need not be asked of the system, for each connection anew.
    """
    import _socket

    sock = _socket.socket(family, socket.SOCK_STREAM, 0, descriptor)
    sock.setblocking(False)
    return sock  # type: ignore[return-value]


class _Reader(io.RawIOBase):
    """Reads what was received before, then the socket."""

    def __init__(self, sock: Any, received: bytes) -> None:
        self._sock = sock
        self._received = received

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._received:
            piece = self._received[: len(buffer)]
            buffer[: len(piece)] = piece
            self._received = self._received[len(piece) :]
            return len(piece)
        return 0 if self._sock is None else int(self._sock.recv_into(buffer))

    def let_go(self) -> None:
        """From here on there is nothing but what was received."""
        self._sock = None


class _Fields:
    """Reads a head's fields for pywsgi, and sees to it that they are what it takes them for."""

    def __init__(self, rfile: io.BufferedReader) -> None:
        self._rfile = rfile
        self._begun = False

    def readline(self, limit: int) -> bytes:
        line = self._rfile.readline(limit)
        if len(line) < limit and line not in _END:
            sound = _FIELD.fullmatch(line) or (self._begun and _FOLDED.fullmatch(line))
            if not sound:
                raise ValueError("a header line that is none")
        self._begun = True
        return line


def _check_framing(version: str, headers: Any) -> None:
    """ValueError where somebody in front of us may see the end of the body elsewhere (RFC 9112, section 6.3)."""
    codings, lengths = headers.get_all("transfer-encoding", []), headers.get_all("content-length", [])
    if codings and (
        lengths or version != "HTTP/1.1" or [coding.lower() for coding in codings] != ["chunked"]
    ):
        raise ValueError("a body whose end is not clear")
    if len(lengths) > 1 or not all(_LENGTH.fullmatch(length.strip(" \t")) for length in lengths):
        raise ValueError("a Content-Length that is none")


class _Body(_Input):  # type: ignore[misc]
    """A request's body. What the site leaves of it is waited for only so long: then the connection ends."""

    __slots__ = ("_handler",)

    def __init__(self, handler: _Handler) -> None:
        theirs = handler.wsgi_input
        super().__init__(theirs.rfile, theirs.content_length, theirs.socket, theirs.chunked_input)
        self._handler = handler

    def _discard(self) -> None:
        patience = Timeout(self._handler.server.limits.body_timeout)
        try:
            with patience:
                super()._discard()
        except Timeout as error:
            if error is not patience:
                raise
            self._handler.close_connection = True


class _Handler(_Base):  # type: ignore[misc]
    """pywsgi's handler for one request. Head and first piece of the response leave together, and the connection is
    given away when asked to: a WebSocket then needs no greenlet."""

    server: Site
    environ: Any
    rfile: io.BufferedReader
    socket: Any
    wsgi_input: Any
    close_connection: bool

    def handle_one_request(self) -> Any:
        try:
            result = super().handle_one_request()
        finally:
            self.environ = None  # it refers to us: a circle, which would stay until the garbage is collected
        if result is True and self.socket is not None:
            self.rfile.raw.let_go()  # type: ignore[attr-defined]
            self.server.take_back(self._detach(), self.rfile.read())
        return result

    def get_environ(self) -> Any:
        environ = super().get_environ()
        if self.content_length or self.wsgi_input.chunked_input:
            # With an Upgrade field pywsgi gives the bare connection away, and after the response drops the length of
            # the body once more from what follows: the next request.
            self.wsgi_input = environ["wsgi.input"] = _Body(self)
            environ["wsgi.input_terminated"] = True
        environ[DETACH] = self._detach
        if self.server.ending:
            self.close_connection = True
        return environ

    def _detach(self) -> int:
        connection = self.socket
        self.socket = None  # `handle` ends with that, and leaves alone what is not there
        return int(connection.detach())

    def MessageClass(self, rfile: io.BufferedReader, *_: Any) -> Any:
        # Nearly always all of it is here; what the reactor found too long is not.
        with Timeout(self.server.limits.head_timeout, ValueError("the head did not arrive in time")):
            headers = super().MessageClass(_Fields(rfile))
        _check_framing(self.request_version, headers)  # here: next, pywsgi drops a length beside chunks
        return headers

    def read_request(self, raw_requestline: str) -> Any:
        try:
            return super().read_request(raw_requestline)
        except (HTTPException, IndexError) as error:
            # Too many headers, or a version without a point; for anything but a ValueError it logs a traceback.
            raise ValueError(str(error)) from None

    def _write_with_headers(self, data: bytes) -> None:
        if data and not isinstance(data, bytes | bytearray | memoryview):
            # Later it would take the head with it, and what pywsgi then answers would have none.
            raise TypeError(f"a response is made of bytes, not of {type(data).__name__}")
        held: list[bytes] = []
        self._sendall = held.append  # hides the method for a moment
        try:
            super()._write_with_headers(data)
        finally:
            del self._sendall
        self._sendall(b"".join(held))
