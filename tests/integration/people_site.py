"""The site of test_people_everywhere: `?do=…` makes the server say something to people. X-User is who asks."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import parse_qs

from rtbridge import AskError, Bridge, Context, Limits, RealtimeMiddleware

rt = Bridge(
    os.environ.get("RTBRIDGE_URL"),
    secret="not much of a secret",
    authenticate=lambda environ: environ.get("HTTP_X_USER"),
    lock_file=os.environ.get("SITE_LOCK"),
    limits=Limits(
        poll_interval=0.2, poll_wait=2.0, ping_interval=2.0, presence_grace=1.0, presence_lease=3.0
    ),
)
rooms = rt.channel("rooms/{name}", presence=True)
clubs = rt.channel("clubs/{name}")


@rooms.authorize
def everybody(ctx: Context, name: str) -> bool:
    return ctx.user is not None


@rooms.presence_info
def who(ctx: Context, name: str) -> dict[str, str]:
    return {"name": ctx.user.upper()}


@rt.call("join")
def join(ctx: Context, club: str) -> None:
    rt.client(ctx.client_id).subscribe(clubs(name=club))


def do(query: dict[str, str]) -> object:
    match query:
        case {"do": "tell", "user": user, "text": text}:
            return str(rt.user(user).publish(text).position)
        case {"do": "ask", "client": client, "name": name, "params": params}:
            try:
                return rt.client(client).call(name, json.loads(params), timeout=8.0)
            except AskError as error:
                return type(error).__name__
        case {"do": "put", "user": user, "club": club}:
            return rt.subscribe(user, clubs(name=club))
        case {"do": "out", "user": user, "club": club}:
            return rt.unsubscribe(user, clubs(name=club))
        case {"do": "revoke", "user": user, "room": room}:
            return rt.revoke(user=user, channel=rooms(name=room))
        case {"do": "disconnect", "user": user}:
            return rt.disconnect(user=user)
        case {"do": "publish", "channel": channel, "text": text}:
            return str(rt.publish(channel, text).position)
        case {"do": "who", "room": room}:
            return [[each.user, each.info, each.data] for each in rooms(name=room).presence().people]
    return os.getpid()


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    answer = json.dumps(do(query)).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


application = RealtimeMiddleware(site, rt)
