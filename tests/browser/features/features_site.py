"""A site with one of everything that people and state are made of, on Redis, for real browsers.

Who somebody is stands in a cookie. Nobody may follow a group unless the server lets them in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from rtbridge import Bridge, History, Limits, RealtimeMiddleware, Refused

HERE = Path(__file__).parent


def authenticate(environ: Any) -> str | None:
    morsel = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("user")
    return morsel.value if morsel else None


rt = Bridge(
    os.environ.get("RTBRIDGE_URL"),
    secret="of the features site",
    authenticate=authenticate,
    limits=Limits(poll_interval=1.0, **json.loads(os.environ.get("SITE_LIMITS", "{}"))),
)

comments = rt.channel("comments", dict, keep=History(500, ttl=600), public=True, presence=True)
groups = rt.channel("groups/{name}", str)
price = rt.channel("price", int, keep="latest", public=True)
typing = rt.channel("typing", str, keep="volatile", public=True)


@groups.authorize
def whom_the_server_lets_in(ctx: Any, name: str) -> bool:
    return False


@comments.presence_info
def who(ctx: Any) -> dict[str, Any]:
    return {"name": ctx.user or "somebody"}


@comments.snapshot
def newest(ctx: Any) -> list[str]:
    """What every page begins with; kept beside the bus, as a site's database would be."""
    kept = rt.bus.get("kept comments")
    return kept.decode().split("\n") if kept else []


@rt.call("comment")
def comment(ctx: Any, text: str) -> int:
    if text.startswith("advertisement"):
        raise Refused("no advertisements")
    before = rt.bus.get("kept comments")
    rt.bus.put("kept comments", text.encode() if before is None else before + b"\n" + text.encode(), 600)
    comments.publish({"text": text, "by": ctx.user})
    return os.getpid()


@rt.call("bid")
def bid(ctx: Any, amount: int) -> None:
    price.publish(amount)


@rt.call("type")
def type_(ctx: Any) -> None:
    typing.publish(ctx.user)


@rt.call("enter")
def enter(ctx: Any, group: str) -> None:
    rt.client(ctx.client_id).subscribe(groups(name=group))


@rt.call("say")
def say(ctx: Any, group: str, text: str) -> None:
    groups(name=group).publish(text)


@rt.call("expel")
def expel(ctx: Any, client_id: str, group: str) -> None:
    rt.client(client_id).unsubscribe(groups(name=group))


@rt.call("write")
def write(ctx: Any, user: str, text: str) -> None:
    rt.user(user).publish({"text": text, "by": ctx.user})


@rt.call("ask")
def ask(ctx: Any, client_id: str, question: str) -> object:
    return rt.client(client_id).call("answer", {"question": question}, timeout=15)


@rt.call("pid")
def pid(ctx: Any) -> int:
    return os.getpid()


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    script = environ["PATH_INFO"] == "/page.js"
    kind = "text/javascript" if script else "text/html; charset=utf-8"
    start_response("200 OK", [("Content-Type", kind), ("Cache-Control", "no-store")])
    return [(HERE / ("page.js" if script else "page.html")).read_bytes()]


application = RealtimeMiddleware(site, rt)
