"""A site that uses WSGI in every way it allows; served as plain WSGI by whoever is named on the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any


def stream() -> Iterator[bytes]:
    for number in range(3):
        yield b"piece %d\n" % number
        yield b""


class Closing:
    """A response with a `close`, as files have."""

    closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield b"closing\n"

    def close(self) -> None:
        Closing.closed += 1


def site(environ: dict[str, Any], start_response: Any) -> Any:
    path, read = environ["PATH_INFO"], environ["wsgi.input"]
    plain = [("Content-Type", "text/plain")]
    if path == "/stream":
        start_response("200 OK", plain)
        return stream()
    if path == "/write":
        write = start_response("200 OK", plain)
        write(b"written\n")
        return [b"returned\n"]
    if path == "/echo":
        body = read.read()
        start_response("200 OK", [*plain, ("Content-Length", str(len(body)))])
        return [body]
    if path == "/lines":
        start_response("200 OK", plain)
        return [b"%d:" % len(line) + line for line in read]
    if path == "/text":
        start_response("200 OK", plain)
        return ["not bytes"]
    if path == "/ignore":
        start_response("200 OK", [*plain, ("Content-Length", "7")])
        return [b"ignored"]
    if path == "/empty":
        start_response("204 No Content", [])
        return []
    if path == "/same":
        start_response("304 Not Modified", [("ETag", '"x"')])
        return []
    if path == "/closing":
        start_response("200 OK", plain)
        return Closing()
    if path == "/closed":
        start_response("200 OK", plain)
        return [b"%d\n" % Closing.closed]
    if path == "/close":
        start_response("200 OK", [*plain, ("Connection", "close"), ("Content-Length", "3")])
        return [b"bye"]
    if path == "/fail":
        raise RuntimeError("the site failed")
    if path == "/environ":
        wanted = sorted(
            key for key in environ if key.startswith(("HTTP_", "CONTENT_", "REQUEST_", "QUERY", "PATH_"))
        )
        start_response("200 OK", plain)
        return [f"{key}={environ[key]}\n".encode() for key in wanted]
    start_response("404 Not Found", [*plain, ("Content-Length", "2")])
    return [b"no"]


def main() -> None:
    from gevent import monkey

    monkey.patch_all()
    who, port = sys.argv[1], int(sys.argv[2])
    if who == "ours":
        from rtbridge import Bridge, Limits, RealtimeMiddleware
        from rtbridge.server import serve

        patience = float(sys.argv[4]) if len(sys.argv) > 4 else 10.0
        limits = Limits(head_timeout=patience, body_timeout=patience)
        bridge = Bridge(secret="x" * 20, lock_file=sys.argv[3], limits=limits)
        serve(RealtimeMiddleware(site, bridge), port=port)
    else:
        from gevent.pywsgi import WSGIServer

        WSGIServer(("127.0.0.1", port), site, log=None).serve_forever()


if __name__ == "__main__":
    main()
