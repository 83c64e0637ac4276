"""A short poll on gevent's pywsgi with TCP_NODELAY, three ways: `bare` WSGI, a Flask view, a Django view.

Each holds a list of items in memory and answers what is newer than ?after=, as JSON: the endpoint that a site polls
before it has rtbridge, without even a database behind it.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402
from urllib.parse import parse_qs  # noqa: E402

from gevent import pywsgi  # noqa: E402

items = [{"offset": number, "data": "x" * 128} for number in range(1, 101)]


def newer(after: int) -> dict[str, Any]:
    return {"channel": "news", "position": f"bench.{len(items)}", "publications": items[after:]}


def bare() -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        after = int(parse_qs(environ["QUERY_STRING"])["after"][0])
        body = json.dumps(newer(after)).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return app


def flask() -> Any:
    from flask import Flask, jsonify, request

    app = Flask(__name__)

    @app.get("/poll")
    def poll() -> Any:
        return jsonify(newer(int(request.args["after"])))

    return app


def django() -> Any:
    from django.conf import settings
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    def poll(request: HttpRequest) -> JsonResponse:
        return JsonResponse(newer(int(request.GET["after"])))

    settings.configure(
        SECRET_KEY="not much of a secret",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        LOGGING_CONFIG=None,
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
    )
    globals()["urlpatterns"] = [path("poll", poll)]
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
listener.bind(("127.0.0.1", int(sys.argv[2])))
listener.listen(4096)
listener.setblocking(False)
application = {"bare": bare, "flask": flask, "django": django}[sys.argv[1]]()
pywsgi.WSGIServer(listener, application, log=None).serve_forever()
