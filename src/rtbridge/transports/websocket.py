"""WebSocket: a socket that was upgraded, spoken to without blocking and without a stack of its own.

The loop says when the socket is readable or writable. What arrives becomes commands of the session; what the
session has is sent as far as the socket takes it. At most one partly sent piece is kept; everything else
stays in the log, and the session is asked again when the socket drains.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rtbridge.errors import ProtocolError
from rtbridge.protocol import frames
from rtbridge.protocol import messages as m
from rtbridge.protocol.codecs import Codec
from rtbridge.protocol.codes import DisconnectCode
from rtbridge.runtime import Spoke, Watch
from rtbridge.session.live import LOST
from rtbridge.session.outlet import Wire
from rtbridge.session.services import Services
from rtbridge.session.session import Session
from rtbridge.transports.carrier import Carrier, safely, socket_wire

_READ = 65_536  # bytes of one recv
_CHUNK = 65_536  # bytes gathered for one send
_PAUSE_AT = 32  # commands waiting and replies unsent at which we stop reading until they are done and gone


class WebSocket:
    """One upgraded connection. The carrier is finished with None when the socket is closed.

    Args:
        sock: a non-blocking socket on which the 101 was sent; owned, and closed, by this object.
        early: bytes that the server read beyond the handshake.
        watch: the socket's, where it has one: it comes from our own server, whose sockets do not delay small packets.
    """

    transport = "websocket"
    weight = 1
    """(For the flusher.)"""
    __slots__ = (
        "_carrier", "_closed", "_closing", "_codec", "_deaf", "_greeting", "_heard", "_parser", "_paused", "_pong",
        "_scheduled", "_services", "_session", "_sock", "_spoke", "_unsent", "_watch", "wire",
    )  # fmt: skip

    def __init__(
        self,
        services: Services,
        environ: Mapping[str, Any],
        codec: Codec,
        carrier: Carrier,
        sock: socket.socket,
        early: bytes = b"",
        watch: Watch | None = None,
    ) -> None:
        limits = services.limits
        self.wire: Wire = socket_wire(codec)
        self._services = services
        self._codec = codec
        self._carrier = carrier
        self._sock = sock
        self._parser: frames.FrameParser | None = None  # only while a frame is unfinished
        self._unsent: bytes | memoryview = b""
        self._pong = b""
        self._scheduled = self._paused = self._closing = self._closed = self._deaf = False
        self._greeting = True
        self._heard = services.loop.now()
        self._spoke: Spoke | None = None
        self._session = Session(services, self, environ)
        try:
            if watch is None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer)
        except OSError:
            pass
        self._tick_after(limits.hello_timeout)
        if watch is None:
            watch = services.loop.watch(sock, self)
        else:
            watch.hand_over(self)
        self._watch: Watch = watch
        watch.want(read=True, write=False)
        services.metrics.add("connections_websocket")
        if early:
            services.loop.call_soon(safely, self.abandon, self._feed, early)

    # -- what the session calls ---------------------------------------------------------------------------

    def due(self) -> None:
        if not self._scheduled and not self._closed and not self._unsent:
            self._scheduled = True
            self._services.flusher.add(self)

    def run(self, job: Callable[[], None]) -> None:
        self._carrier.run(job)

    def finish(self, code: int, message: str, retry_after: float | None) -> None:
        reason = DisconnectCode(code).reason
        words = self._session.collect(_CHUNK)
        if retry_after is not None:
            push = m.DisconnectPush(DisconnectCode(code), message, retry_after)
            words.append(self.wire.wrap(self._codec.encode(push)))
        self._say_goodbye(code, reason, words)

    # -- reading ------------------------------------------------------------------------------------------

    def __call__(self, readable: bool, writable: bool) -> None:
        """(The loop's callback. It is given the connection and not a method of it, which would take memory.)"""
        safely(self.abandon, self._use, readable, writable)

    def _use(self, readable: bool, writable: bool) -> None:
        if readable and not self._closed:
            self._read()
        if writable and not self._closed:
            self._drain()

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._feed(data)
        else:
            self.abandon()

    def _feed(self, data: bytes) -> None:
        if self._closed or self._deaf:
            return
        self._heard = self._services.loop.now()
        broken: frames.BrokenFrame | None = None
        parser = self._parser or self._new_parser()
        try:
            events: Sequence[frames.FrameEvent] = parser.feed(data)
        except frames.BrokenFrame as error:
            events, broken = error.events, error
        self._parser = parser if parser.unfinished else None
        for event in events:
            self._on_frame(event)
            if self._closed:
                return
        if broken is not None:
            self._break(broken.code, broken.message)

    def _new_parser(self) -> frames.FrameParser:
        limits = self._services.limits
        return frames.FrameParser(
            role="server", max_message=limits.max_message, max_fragments=limits.max_fragments
        )

    def _on_frame(self, event: frames.FrameEvent) -> None:
        if isinstance(event, frames.CloseFrame):
            self._peer_closes(event)
        elif self._closing:
            pass  # after our close frame only the peer's is of interest (RFC 6455, 5.5.1)
        elif isinstance(event, frames.PingFrame):
            self._pong = frames.frame(frames.Opcode.PONG, event.data)
            self.due()
        elif isinstance(event, (frames.TextMessage, frames.BinaryMessage)):
            if isinstance(event, frames.TextMessage) != (self._codec.name == "json"):
                self._break(1003, f"this connection speaks {self._codec.name}")
            else:
                self._on_message(event.data)

    def _on_message(self, data: bytes) -> None:
        session, limits = self._session, self._services.limits
        try:
            decoded = self._codec.decode(data)
        except ProtocolError as error:
            session.disconnect(DisconnectCode.BAD_MESSAGE, error.message)
            return
        commands = decoded if isinstance(decoded, list) else [decoded]
        if len(commands) + session.waiting > limits.max_commands:
            session.disconnect(DisconnectCode.FLOOD, f"more than {limits.max_commands} commands wait here")
            return
        session.receive(commands, len(data))
        if session.waiting + session.unsent >= _PAUSE_AT and not self._paused:
            self._paused = True
            self._update_watch()

    # -- writing ------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what there is, as far as the socket takes it."""
        self._scheduled = False
        if self._closed or self._closing or self._unsent:
            return
        session = self._session
        pieces = session.collect(_CHUNK)
        if self._pong:
            pieces.append(self._pong)
            self._pong = b""
        if self._paused and session.waiting < _PAUSE_AT // 4:
            self._paused = False
            self._update_watch()
        if pieces and not self._send(b"".join(pieces)):
            return
        if session.more:
            self.due()
        else:
            session.settle(self._sock)

    def _drain(self) -> None:
        """The socket takes something again."""
        if self._unsent and self._send(b""):
            self._session.wake()
            self.flush()

    def _send(self, data: bytes) -> bool:
        """Send `data`, or what is unsent; True if all of it left. One is empty, but at the end of the connection."""
        if self._unsent:
            data = bytes(self._unsent) + data if data else self._unsent  # type: ignore[assignment]
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            sent = LOST
        if sent == len(data):
            if self._unsent:
                self._unsent = b""
                self._settle()
            return True
        self.hold(data, sent)
        return False

    def hold(self, data: bytes | memoryview, sent: int) -> None:
        if sent == LOST:
            self.abandon()
            return
        if (sent or not self._unsent) and not self._closing:
            self._tick_after(self._services.limits.send_timeout)
        if not self._unsent:
            self._services.metrics.add("slow_consumers")
        # A view: what is unsent is the same bytes for all who did not take them.
        self._unsent = memoryview(data)[sent:]
        self._session.rest()
        self._update_watch()

    def _settle(self) -> None:
        if not self._closing:
            self._tick_after(self._services.limits.ping_interval)
        self._update_watch()

    def _update_watch(self) -> None:
        if not self._closed:
            self._watch.want(read=not self._paused or self._closing, write=bool(self._unsent))

    # -- time ---------------------------------------------------------------------------------------------

    def _tick_after(self, seconds: float | None) -> None:
        """The one thing that is waited for now: a hello, room in the socket, the peer's close frame, the next ping."""
        if self._spoke is not None:
            self._spoke.discard(self)
        self._spoke = None if seconds is None else self._services.wheel.add(seconds, self)

    def tick(self) -> None:
        """(The wheel's callback.)"""
        self._spoke = None
        safely(self.abandon, self._time_is_up)

    def _time_is_up(self) -> None:
        session, greeting = self._session, self._greeting
        self._greeting = False
        if self._closing:
            self._close()
        elif self._unsent:
            self.abandon()
        elif not greeting:
            self._ping()
        elif session.identity is None and session.at_rest:
            session.disconnect(DisconnectCode.TOO_SLOW, "no hello arrived in time")
        else:
            self._tick_after(self._services.limits.ping_interval)

    def _ping(self) -> None:
        limits = self._services.limits
        silent = self._services.loop.now() - self._heard
        if silent > limits.ping_interval + limits.ping_timeout and not self._paused:
            self._session.disconnect(DisconnectCode.PING_TIMEOUT, "no pong came")
            return
        self._tick_after(limits.ping_interval)
        self._send(self.wire.wrap(self._codec.encode(m.PingPush())))

    # -- the end ------------------------------------------------------------------------------------------

    def _peer_closes(self, event: frames.CloseFrame) -> None:
        if not self._closing:
            self._session.close()
            self._closing = True
            self._send(frames.close_frame(event.code if event.code is not None else 1000, ""))
        self._close()

    def _break(self, code: int, message: str) -> None:
        """The peer broke RFC 6455."""
        self._services.metrics.add("broken_websockets")
        self._deaf = True
        self._session.close()
        self._say_goodbye(code, message, [])

    def _say_goodbye(self, code: int, reason: str, words: list[bytes]) -> None:
        if self._closed or self._closing:
            return
        self._closing = True
        self._send(b"".join([*words, frames.close_frame(code, reason)]))
        if self._closed:
            return
        # What still arrives is read and thrown away: closing over unread bytes resets the connection, and the
        # peer would never see the close frame.
        self._update_watch()
        if self._deaf and not self._unsent:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        self._tick_after(self._services.limits.close_timeout)

    def abandon(self) -> None:
        """The connection is lost or hopeless: no goodbye."""
        self._session.close()
        self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._tick_after(None)
        self._watch.close()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._services.metrics.add("connections_websocket", -1)
        self._carrier.finish(None)
