"""The context: who is asking, handed to every function of the application as its first argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_NOT_LOADED = object()


class Context:
    """Who is asking, and from where.

    Attributes:
        client_id: names the client's session; the same over reconnects and transports while its credentials
            stay.
        user_id: the user's id as text, or None for somebody unknown.
        environ: texts of the WSGI environ of the request this came with (`REMOTE_ADDR`, headers), without its
            body.
            On a WebSocket that is the opening request.
        call_id: in a call, its id: the same in every retry, so a handler may deduplicate inside its own
            transaction. None elsewhere.
        transport: what carries the connection: "shortpoll", "longpoll", "eventstream" or "websocket".
    """

    __slots__ = ("_load_user", "_user", "call_id", "client_id", "environ", "transport", "user_id")

    def __init__(
        self,
        *,
        client_id: str,
        user_id: str | None,
        environ: Mapping[str, Any],
        transport: str,
        load_user: Callable[[], object],
        call_id: str | None = None,
    ) -> None:
        self.client_id = client_id
        self.user_id = user_id
        self.environ = environ
        self.call_id = call_id
        self.transport = transport
        self._load_user = load_user
        self._user: Any = _NOT_LOADED

    def __repr__(self) -> str:
        return f"<Context client_id={self.client_id!r} user_id={self.user_id!r} {self.transport}>"

    @property
    def user(self) -> Any:
        """The user as `authenticate` or the framework gives it, None for somebody unknown.

        Loaded at the first look, so that functions which do not need it cost no database query.
        """
        if self._user is _NOT_LOADED:
            self._user = self._load_user()
        return self._user
