"""The site of site_app as a Django project, in one file: `python site_django.py runserver`."""

from __future__ import annotations

import json
import sys
import time

from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY="not much of a secret",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="site_django",
    WSGI_APPLICATION="site_django.application",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIDDLEWARE=[],
    USE_TZ=True,
)

from django.core.management import execute_from_command_line  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from site_app import ended, pieces, publish, rt  # noqa: E402

from rtbridge import RealtimeMiddleware  # noqa: E402


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<h1>An ordinary page</h1>")


def slow(request: HttpRequest) -> HttpResponse:
    time.sleep(0.5)
    return page(request)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces(), content_type="text/plain")


def those_who_left(request: HttpRequest) -> HttpResponse:
    return HttpResponse(json.dumps(ended))


def publish_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(publish(request.GET["channel"], request.body))


urlpatterns = [
    path("", page),
    path("slow", slow),
    path("stream", stream),
    path("ended", those_who_left),
    path("publish", publish_view),
]

if __name__ == "__main__":
    # runserver imports WSGI_APPLICATION by its name; that must find this module and not run it a second time.
    sys.modules["site_django"] = sys.modules["__main__"]
    application = RealtimeMiddleware(get_wsgi_application(), rt)
    execute_from_command_line(sys.argv)
