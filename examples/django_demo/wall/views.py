"""The pages: ordinary Django views. What makes them realtime is marked REALTIME."""

import random
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe
from PIL import Image

from wall import pictures, scenery
from wall.forms import UploadForm
from wall.models import Photo
from wall.realtime import PhotoCard, photos

NEWEST = 60


def on_the_wall() -> Iterable[Photo]:
    """The newest photos that are in no group."""
    return Photo.objects.filter(groups=None)[:NEWEST]


# REALTIME: the state that a page gets if it was away for longer than the channel remembers.
@photos.snapshot
def newest(ctx: Any) -> list[PhotoCard]:
    return [photo.card() for photo in on_the_wall()]


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return wall_page(request, UploadForm())


def wall_page(request: HttpRequest, form: UploadForm, status: int = 200) -> HttpResponse:
    # REALTIME: first the channel's position, then the data. The page goes on from this position, so that it
    # gets what is uploaded from here on. The other way round, a photo between the two would be in neither.
    position = photos.position()
    context = {"photos": on_the_wall(), "position": position, "form": form}
    return render(request, "wall/index.html", context, status=status)


@require_safe
def photos_json(request: HttpRequest) -> JsonResponse:
    """The newest photos. The page polled this every five seconds; now only others ask."""
    response = JsonResponse({"photos": [asdict(photo.card()) for photo in on_the_wall()]})
    response["Cache-Control"] = "no-store"
    return response


@require_POST
def upload(request: HttpRequest) -> HttpResponse:
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        if wants_json(request):
            return JsonResponse({"errors": form.errors.get_json_data()}, status=400)
        return wall_page(request, form, status=400)
    data = form.cleaned_data
    photo = add_photo(author=data["author"], caption=data["caption"], picture=data["picture"])
    return answer(request, photo)


@require_POST
def simulate(request: HttpRequest) -> HttpResponse:
    """Somebody else uploads something, so that one person alone can watch it arrive."""
    return answer(request, add_photo(**scenery.invented(random.Random())))


def store_photo(author: str, caption: str, picture: Image.Image) -> Photo:
    return Photo.objects.create(author=author, caption=caption, **pictures.save(picture))


@transaction.atomic
def add_photo(author: str, caption: str, picture: Image.Image) -> Photo:
    photo = store_photo(author, caption, picture)
    # REALTIME: tell everybody, once it is in the database. `robust`: should that fail, the upload did not.
    transaction.on_commit(lambda: photos.publish(photo.card()), robust=True)
    return photo


def wants_json(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def answer(request: HttpRequest, photo: Photo) -> HttpResponse:
    return JsonResponse(asdict(photo.card()), status=201) if wants_json(request) else redirect("index")


@require_safe
def media(request: HttpRequest, size: str, name: str) -> HttpResponseBase:
    """One of our own JPEG files (SecurityMiddleware adds `nosniff`)."""
    try:
        file = open(settings.MEDIA_ROOT / size / name, "rb")  # noqa: SIM115  (the response closes it)
    except FileNotFoundError:
        raise Http404 from None
    response = FileResponse(file, content_type="image/jpeg")
    response["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
