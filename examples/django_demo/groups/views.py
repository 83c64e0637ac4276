"""Pages of the groups: ordinary Django views."""

import random
from typing import Any

from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe
from wall import scenery
from wall.views import store_photo

from groups import realtime
from groups.models import Group


@require_safe
def index(request: HttpRequest, problem: str = "") -> HttpResponse:
    mine = request.user.photo_groups.all() if request.user.is_authenticated else []  # type: ignore[union-attr]
    return render(request, "groups/index.html", {"groups": mine, "problem": problem})


@require_POST
def enter(request: HttpRequest) -> HttpResponse:
    """Take a name that nobody has. A site with more to protect than this one asks for a password."""
    User: Any = get_user_model()
    name = request.POST.get("name", "").strip()[:30]
    if not name.isalnum() or User.objects.filter(username=name).exists():
        problem = "That name is taken." if name.isalnum() else "Letters and digits make a name."
        request.method = "GET"
        return index(request, problem)
    login(request, User.objects.create_user(name), "django.contrib.auth.backends.ModelBackend")
    return redirect("groups")


@login_required
@require_POST
def found(request: HttpRequest) -> HttpResponse:
    group = Group.objects.create(name=request.POST.get("name", "").strip()[:40] or "Untitled")
    group.members.add(request.user)  # type: ignore[arg-type]
    return redirect("group", group.pk)


@login_required
@require_safe
def group(request: HttpRequest, group_id: int) -> HttpResponse:
    found = get_object_or_404(Group, pk=group_id, members=request.user)
    return render(request, "groups/group.html", {"group": found})


@login_required
@require_POST
def photo(request: HttpRequest, group_id: int) -> HttpResponse:
    """A member takes a picture; here, one that nobody took."""
    found = get_object_or_404(Group, pk=group_id, members=request.user)
    made = store_photo(**scenery.invented(random.Random()) | {"author": request.user.get_username()})
    found.photos.add(made)
    realtime.photos(group_id=group_id).publish(made.card())
    return redirect("group", group_id)


@login_required
@require_POST
def leave(request: HttpRequest, group_id: int) -> HttpResponse:
    realtime.leave(request.user, get_object_or_404(Group, pk=group_id, members=request.user))
    return redirect("groups")
