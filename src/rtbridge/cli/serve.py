"""`rtbridge serve module:app`: the whole site, or only its realtime endpoint, on gevent."""

from __future__ import annotations

import argparse
from typing import Any

from rtbridge.cli import logs
from rtbridge.cli.loading import CannotLoad, load_app, load_bridge
from rtbridge.errors import ConfigError, RtbridgeError


def declare(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser("serve", help="serve a WSGI application on gevent")
    parser.add_argument("app", help="module:attribute, for example project.wsgi:application")
    parser.add_argument(
        "--realtime-only",
        action="store_true",
        help="serve nothing but the realtime endpoint: app is then module:bridge",
    )
    parser.add_argument(
        "--bind", type=address, default="127.0.0.1:8000", metavar="HOST:PORT", help="default: %(default)s"
    )
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="fork N worker processes and supervise them; default: serve in this process alone",
    )
    parser.add_argument(
        "--metrics",
        type=address,
        metavar="HOST:PORT",
        help="answer /metrics there, for Prometheus; with one worker where --workers says nothing else",
    )
    parser.add_argument(
        "--stop-timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long a worker may take to stop before it is killed; default: %(default)g",
    )
    logs.declare(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Serve until told to stop."""
    logs.begin(given)
    host, port = given.bind
    try:
        if given.workers is not None or given.metrics is not None:
            return _supervise(given, host, port)
        _patch()
        from rtbridge.server import serve

        serve(_load(given), host=host, port=port, on_ready=_announce)
    except OSError as error:
        raise CannotLoad(f"cannot listen on {host}:{port}: {error}") from error
    return 0


def _supervise(given: argparse.Namespace, host: str, port: int) -> int:
    from rtbridge.server.link import WorkerEnd
    from rtbridge.server.scrape import Scrape
    from rtbridge.server.serving import listen
    from rtbridge.server.supervisor import Supervisor

    listener = listen(host, port)
    where = listener.getsockname()
    count = given.workers or 1
    scrape = None if given.metrics is None else Scrape(_listen_for_scrapes(*given.metrics))

    def live(end: WorkerEnd) -> int:
        try:
            _patch()
            app = _load(given)
        except (CannotLoad, RtbridgeError) as error:
            end.tell(failed=str(error))
            return 1
        from rtbridge.server.worker import work

        return work(end, listener, app, count)

    return Supervisor(
        listener,
        count,
        live,
        stop_timeout=given.stop_timeout,
        on_ready=lambda: _announce(where[0], where[1]),
        scrapes=scrape,
    ).run()


def _listen_for_scrapes(host: str, port: int) -> Any:
    from rtbridge.server.serving import listen

    try:
        return listen(host, port)
    except OSError as error:
        raise CannotLoad(f"cannot listen on {host}:{port} for --metrics: {error}") from error


def _load(given: argparse.Namespace) -> Any:
    if not given.realtime_only:
        return load_app(given.app)
    from rtbridge.wsgi import RealtimeMiddleware

    return RealtimeMiddleware(_nothing_else, load_bridge(given.app))


def _nothing_else(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = b"Only the realtime endpoint is served here; the site is elsewhere.\n"
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _patch() -> None:
    """Before the application is imported: otherwise one slow view stops everybody."""
    try:
        from gevent import monkey
    except ImportError as error:
        raise ConfigError("rtbridge serve needs gevent: pip install 'rtbridge[gevent]'") from error
    monkey.patch_all()


def _announce(host: str, port: int) -> None:
    print(f"serving http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)


def address(text: str) -> tuple[str, int]:
    """HOST:PORT, for argparse."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise argparse.ArgumentTypeError(f"it takes HOST:PORT, not {text!r}")
    return host.strip("[]") or "0.0.0.0", int(port)


def positive(text: str) -> int:
    """A count of at least 1, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it takes a number of at least 1, not {text!r}")
    return int(text)
