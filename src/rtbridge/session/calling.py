"""How a session carries out a call: as a job, and again and again while another connection still runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtbridge.errors import ProtocolError
from rtbridge.protocol import messages as m
from rtbridge.protocol.codes import ErrorCode
from rtbridge.protocol.states import State
from rtbridge.session.calls import Outcome

if TYPE_CHECKING:
    from rtbridge.session.session import Session

_RECHECK = 0.25  # seconds between looks at a call that runs on another connection


def begin(session: Session, command: m.Call) -> None:
    """Carry out a call command. In the turn; `session` is busy until it is answered.

    Raises:
        ProtocolError: NO_SUCH_CALL, or TOO_MANY.
    """
    services = session.services
    declaration = services.registry.call(command.name)
    if declaration is None:
        raise ProtocolError(ErrorCode.NO_SUCH_CALL, f"no such call: {command.name!r}")
    services.quotas.call(session)
    access = services.access
    context = access.context(
        session.known_identity, session.environ, session.outlet.transport, command.call_id
    )

    def look() -> None:
        if session.state is not State.ENDED:
            session.job(
                command, lambda: services.calls.run(declaration, context, command, access.framework), came
            )

    def came(outcome: Outcome | None) -> None:
        if outcome is None:
            session.wait()  # the queue stays behind it
            services.loop.call_later(_RECHECK, look)
        else:
            session.reply(outcome.reply(command))

    look()
