"""Runs the photo site: `python examples/django_demo/run.py`, and open the address it prints.

The environment may say PORT (default: 8000, or the next free one), HOST (default: 127.0.0.1) and DATA_DIR
(default: `var` beside this file). Ctrl-C stops it.
"""

from gevent import monkey

monkey.patch_all()  # first of all: one process holds every connection in greenlets

import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402


def free_port(host: str) -> int:
    for port in range(8000, 8100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    sys.exit("no free port from 8000 to 8099; say PORT=…")


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "photosite.settings")

    from django.core.management import call_command
    from photosite.wsgi import application  # the site's own entry point, as any WSGI server would import it

    from rtbridge.server import serve

    call_command("migrate", verbosity=0)
    call_command("seed")

    host = os.environ.get("HOST") or "127.0.0.1"
    port = int(os.environ.get("PORT") or free_port(host))
    serve(
        application,
        host=host,
        port=port,
        on_ready=lambda *_: print(f"Photo site: http://{host}:{port}/", flush=True),
    )


if __name__ == "__main__":
    main()
