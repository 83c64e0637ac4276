"""The site of site_app as a Flask application."""

from __future__ import annotations

import json
import time

from flask import Flask, Response, request
from site_app import ended, pieces, publish, rt

from rtbridge import RealtimeMiddleware

app = Flask(__name__)
app.wsgi_app = RealtimeMiddleware(app.wsgi_app, rt)  # type: ignore[method-assign]


@app.get("/")
def page() -> str:
    return "<h1>An ordinary page</h1>"


@app.get("/slow")
def slow() -> str:
    time.sleep(0.5)
    return page()


@app.get("/stream")
def stream() -> Response:
    return Response(pieces(), mimetype="text/plain")


@app.get("/ended")
def those_who_left() -> str:
    return json.dumps(ended)


@app.post("/publish")
def publish_view() -> str:
    return publish(request.args["channel"], request.get_data())
