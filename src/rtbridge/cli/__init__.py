"""Floor 8: the command line, `rtbridge serve module:app`."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rtbridge", description="Make an existing site realtime.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve a WSGI application on gevent")
    serve.add_argument("app", help="module:attribute, for example project.wsgi:application")
    serve.add_argument("--bind", default="127.0.0.1:8000", metavar="HOST:PORT", help="default: %(default)s")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    host, colon, port = given.bind.rpartition(":")
    if not colon or not port.isdigit():
        parser.error(f"--bind takes HOST:PORT, not {given.bind!r}")
    return _serve(given.app, host.strip("[]") or "0.0.0.0", int(port))


def _serve(target: str, host: str, port: int) -> int:
    try:
        from gevent import monkey
    except ImportError:
        return _complain("rtbridge serve needs gevent: pip install 'rtbridge[gevent]'")
    monkey.patch_all()

    from rtbridge.server import serve

    try:
        app = _load(target)
    except (ImportError, AttributeError, ValueError) as error:
        return _complain(f"cannot load {target!r}: {error}")
    try:
        serve(app, host=host, port=port, on_ready=lambda h, p: print(f"serving http://{h}:{p}/", flush=True))
    except OSError as error:
        return _complain(f"cannot listen on {host}:{port}: {error}")
    return 0


def _load(target: str) -> Callable[..., Any]:
    module, colon, attribute = target.partition(":")
    if not colon:
        raise ValueError("give it as module:attribute, for example project.wsgi:application")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    app: Any = importlib.import_module(module)
    for name in attribute.split("."):
        app = getattr(app, name)
    if not callable(app):
        raise ValueError("it is not a WSGI application")
    return app  # type: ignore[no-any-return]


def _complain(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1
