"""Serve the auction: `python examples/flask_demo/run.py`. PORT chooses the port, DATA_DIR where its database lives."""

from gevent import monkey

monkey.patch_all()  # first of all: then a waiting view keeps nobody else waiting

import errno  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flask_demo.app import app  # noqa: E402
from rtbridge.server import serve  # noqa: E402


def say_where(host: str, port: int) -> None:
    print(f"Auction: http://{host}:{port}/", flush=True)


def main() -> None:
    wish = os.environ.get("PORT")
    for port in [int(wish)] if wish else range(8001, 8051):
        try:
            return serve(app, host="127.0.0.1", port=port, on_ready=say_where)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    sys.exit(f"port {wish} is in use; PORT chooses another" if wish else "ports 8001 to 8050 are all in use")


if __name__ == "__main__":
    main()
