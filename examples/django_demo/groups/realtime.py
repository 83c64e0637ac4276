"""All that is realtime about groups: four channels for their members, three calls, and word to single users."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import MaxLen, MinLen
from django.contrib.auth import get_user_model
from wall.realtime import PhotoCard, rt

from groups.models import Comment, Group
from rtbridge import History, Refused


@dataclass
class CommentCard:
    id: int
    photo_id: int
    author: str
    text: str


@dataclass
class Typing:
    photo_id: int
    author: str


# What is in a group, and who is in the room. Members only.
photos = rt.channel("groups/{group_id:int}/photos", PhotoCard, keep=History(100), presence=True)
comments = rt.channel("groups/{group_id:int}/comments", CommentCard, keep=History(200))
# Whoever is there sees that somebody types; nobody wants to be told of it later.
typing = rt.channel("groups/{group_id:int}/typing", Typing, keep="volatile")


@photos.authorize
@comments.authorize
@typing.authorize
def members_only(ctx: Any, group_id: int) -> bool:
    return ctx.user is not None and Group.objects.filter(pk=group_id, members=ctx.user).exists()


@photos.presence_info
def who(ctx: Any, group_id: int) -> dict[str, Any]:
    return {"name": ctx.user.username}


# A page begins with these, and gets them again if it was away for longer than the channels remember.
@photos.snapshot
def newest_photos(ctx: Any, group_id: int) -> list[PhotoCard]:
    return [photo.card() for photo in Group.objects.get(pk=group_id).photos.all()[:20]]


@comments.snapshot
def all_comments(ctx: Any, group_id: int) -> list[CommentCard]:
    found = Comment.objects.filter(group=group_id).select_related("author")
    return [card(comment) for comment in found]


def card(comment: Comment) -> CommentCard:
    return CommentCard(comment.pk, comment.photo_id, comment.author.username, comment.text)


def group_of(ctx: Any, group_id: int) -> Group:
    if not members_only(ctx, group_id):
        raise Refused("you are no member of this group")
    return Group.objects.get(pk=group_id)


@rt.call("groups.comment")
def comment(ctx: Any, group_id: int, photo_id: int, text: Annotated[str, MinLen(1), MaxLen(300)]) -> None:
    group = group_of(ctx, group_id)
    if not group.photos.filter(pk=photo_id).exists():
        raise Refused("that photo is not in this group")
    if "http" in text:
        raise Refused("no links, please: we are here for the photos")
    made = Comment.objects.create(group=group, photo_id=photo_id, author=ctx.user, text=text)
    comments(group_id=group_id).publish(card(made))
    for user in group.members.filter(username__in=re.findall(r"@(\w+)", text)).exclude(pk=ctx.user.pk):
        rt.user(user).publish({"text": f"{ctx.user.username}: {text}", "group": group_id})


@rt.call("groups.typing")
def is_typing(ctx: Any, group_id: int, photo_id: int) -> None:
    group_of(ctx, group_id)
    typing(group_id=group_id).publish(Typing(photo_id, ctx.user.username))


@rt.call("groups.invite")
def invite(ctx: Any, group_id: int, name: str) -> str:
    group = group_of(ctx, group_id)
    user = get_user_model().objects.filter(username=name).first()
    if user is None:
        raise Refused(f"nobody here is called {name}")
    group.members.add(user)
    rt.user(user).publish({"text": f"{ctx.user.username} takes you into “{group}”", "group": group_id})
    return user.username


def leave(user: Any, group: Group) -> None:
    """Out of the group, in every tab and on every worker, within a second."""
    group.members.remove(user)
    for channel in (photos, comments, typing):
        rt.revoke(user=user, channel=channel(group_id=group.pk))
