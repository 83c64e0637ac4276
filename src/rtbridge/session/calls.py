"""Calls: at most once by call id.

Before a call runs, its id is written down on the bus as running; when it ran, its outcome replaces that note.
A retry, on any connection of any worker, finds the note: it gets the stored outcome, waits for the one still
running, or learns that the worker which ran it died and nobody knows how far it came.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from rtbridge.bus.contract import Bus
from rtbridge.config import Limits
from rtbridge.contract.calls import CallDeclaration
from rtbridge.contract.context import Context
from rtbridge.errors import BusError, DataError, Invalid, Refused
from rtbridge.frameworks import Framework
from rtbridge.metrics import Metrics
from rtbridge.protocol import data as canonical
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode
from rtbridge.runtime import Loop, native_lock

_log = logging.getLogger("rtbridge")
_WORKERS = "workers"


@dataclass(slots=True)
class RunningCall:
    """The call that the current thread or greenlet runs; what it publishes carries its id as `cause`."""

    call_id: str
    positions: dict[str, str] = field(default_factory=dict)


current_call: ContextVar[RunningCall | None] = ContextVar("rtbridge_call", default=None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: `code` None with `data`, or an error code with a message and perhaps fields or data."""

    data: bytes | None = None
    positions: dict[str, str] = field(default_factory=dict)
    code: int | None = None
    message: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    def reply(self, command: m.Call) -> m.ServerMessage:
        """The reply to a command that asked for this call."""
        if self.code is None:
            return m.Result(command.id, command.call_id, self.data or b"null", self.positions)
        return m.ErrorReply(
            command.id, ErrorCode(self.code), self.message, fields=self.fields, data=self.data
        )

    def dump(self) -> bytes:
        if self.code is None and self.data is not None:  # as below, without the time it takes to make an encoder
            positions = ", ".join([f"{_quoted(name)}: {_quoted(at)}" for name, at in self.positions.items()])
            return f'[{_quoted(self.data.decode())}, {{{positions}}}, null, "", []]'.encode()
        data = None if self.data is None else self.data.decode()
        return json.dumps([data, self.positions, self.code, self.message, self.fields]).encode()

    @classmethod
    def load(cls, raw: bytes) -> Outcome:
        data, positions, code, message, fields = json.loads(raw)
        pairs = tuple((name, reason) for name, reason in fields)
        return cls(None if data is None else data.encode(), positions, code, message, pairs)


_UNKNOWN = Outcome(
    code=ErrorCode.OUTCOME_UNKNOWN,
    message="the call began, and the process that ran it ended; look at the state before calling again",
)


class CallRunner:
    """Runs calls for every session of this process. Its methods block; never in the turn.

    While it lives, this worker holds a lease on the bus; a call noted as running by a worker without one is
    lost.
    """

    def __init__(self, bus: Bus, loop: Loop, limits: Limits, metrics: Metrics) -> None:
        self._bus = bus
        self._loop = loop
        self._limits = limits
        self._metrics = metrics
        self._worker = secrets.token_urlsafe(9)
        self._alive = False
        self._lock = native_lock()
        # What the notes on the bus cannot say of calls that began here: None while one runs; its outcome where
        # that could not be noted.
        self._begun: dict[str, Outcome | None] = {}

    def run(
        self, declaration: CallDeclaration[..., Any], context: Context, command: m.Call, framework: Framework
    ) -> Outcome | None:
        """Run the call or find out how it went; None while it still runs on another connection."""
        if declaration.idempotent:
            return self._carry_out(declaration, context, command, framework)
        key = f"call:{context.client_id}:{command.call_id}"
        mine = b"R" + self._worker.encode()
        if not self._alive:
            self._alive = True
            self._sign_of_life()
        with self._lock:
            if key in self._begun:
                return self._begun[key]
            self._begun[key] = None
        try:
            noted = self._bus.add(key, mine, self._limits.call_ttl)
        except BaseException:
            self._begun.pop(key)
            raise
        # A note of our own, and it is not running: an attempt to begin it was noted, but we were not told.
        if noted is None or noted == mine:
            return self._run_once(key, lambda: self._carry_out(declaration, context, command, framework))
        self._begun.pop(key)
        if noted[:1] == b"D":
            self._metrics.add("calls_answered_again")
            return Outcome.load(noted[1:])
        return None if noted[1:].decode() in self._bus.held(_WORKERS) else _UNKNOWN

    def _run_once(self, key: str, carry_out: Callable[[], Outcome]) -> Outcome:
        outcome = _UNKNOWN  # should somebody kill us in the middle of it
        try:
            outcome = carry_out()
        finally:
            self._begun[key] = outcome
        self._note(key, outcome)
        return outcome

    def _note(self, key: str, outcome: Outcome) -> None:
        """Write down an outcome; while the bus is away it is kept here, and noted later."""
        try:
            self._bus.put(key, b"D" + outcome.dump(), self._limits.call_ttl)
        except BusError as error:
            _log.warning("the outcome of a call could not be noted yet: %s", error)
        else:
            self._begun.pop(key, None)

    def _sign_of_life(self) -> None:
        with self._loop.turn():
            self._loop.call_later(self._limits.call_lease / 3, self._loop.spawn, self._sign_of_life)
        try:
            self._bus.hold(_WORKERS, self._worker, self._limits.call_lease)
        except BusError as error:
            _log.warning("this worker's sign of life could not be renewed: %s", error)
            return
        for key, outcome in list(self._begun.items()):
            if outcome is not None:
                self._note(key, outcome)

    def _carry_out(
        self, declaration: CallDeclaration[..., Any], context: Context, command: m.Call, framework: Framework
    ) -> Outcome:
        running = RunningCall(command.call_id)
        mark = current_call.set(running)
        self._metrics.add("calls")
        try:
            with framework.around(context.environ):
                value = declaration.run(context, declaration.bind(command.params))
                return Outcome(declaration.dump_result(value), running.positions)
        except Invalid as error:
            message = f"params of {command.name}: {error}"
            return Outcome(code=ErrorCode.INVALID, message=message, fields=error.fields)
        except Refused as error:
            return self._refused(command, error)
        except Exception:
            _log.exception(
                "call %r failed", command.name, extra={"client_id": context.client_id, "call": command.name}
            )
            return Outcome(code=ErrorCode.FAILED, message=f"{command.name} failed; the server's log says why")
        finally:
            current_call.reset(mark)

    def _refused(self, command: m.Call, error: Refused) -> Outcome:
        try:
            data = None if error.data is None else canonical.encode(error.data)
        except DataError:
            _log.exception("the data of a Refused in call %r cannot be sent", command.name)
            data = None
        return Outcome(data, code=ErrorCode.REFUSED, message=error.message)
