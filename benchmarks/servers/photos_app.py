"""The photo site of examples/django_demo as a workload: its own page and views, and an upload without a picture.

POST /bench/publish stores a photo whose caption is the body, and publishes it as the site does. GET /photos.json is
what the page polled before: a Django view and a query. Every query is counted. With BENCH_SOURCE=SECONDS the same query
is run once for everybody, that often, and published to photos/latest when its result has changed.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="rtbridge-bench-photos-")
os.environ["DJANGO_SETTINGS_MODULE"] = "photosite.settings"
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "django_demo"))

from counting import here
from photosite.wsgi import application as app
from sharing import share

counters = here()

from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.backends.signals import connection_created  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from photosite import urls  # noqa: E402
from wall.models import Photo  # noqa: E402
from wall.realtime import photos, rt  # noqa: E402
from wall.views import NEWEST  # noqa: E402


def counted(execute: Callable[..., Any], *arguments: Any) -> Any:
    counters.add("queries")
    return execute(*arguments)


def count_queries(connection: Any, **_: object) -> None:
    if counted not in connection.execute_wrappers:
        connection.execute_wrappers.append(counted)


call_command("migrate", verbosity=0)
connection_created.connect(count_queries)


numbers = itertools.count()


def stored(caption: str) -> Photo:
    name = f"{next(numbers):022d}.jpg"
    return Photo.objects.create(
        author="somebody", caption=caption, name=name, width=1200, height=800, colour="#8a9bb0"
    )


@csrf_exempt
def publish(request: HttpRequest) -> HttpResponse:
    caption = (
        request.body.decode()
    )  # not within the transaction: reading may wait, and SQLite's lock stops everybody
    with transaction.atomic():
        photo = stored(caption)
        transaction.on_commit(lambda: photos.publish(photo.card()))
    return HttpResponse("ok")


def newest() -> list[dict[str, Any]]:
    try:
        return [asdict(photo.card()) for photo in Photo.objects.all()[:NEWEST]]
    finally:
        connection.close()  # outside of a request nobody else does


urls.urlpatterns.append(path("bench/publish", publish))
with transaction.atomic():
    for _ in range(NEWEST):
        stored("an old photo")
connection.close()
share(rt, "photos/latest", newest)

__all__ = ["app"]
