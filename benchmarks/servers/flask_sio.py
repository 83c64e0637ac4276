"""Flask-SocketIO as its documentation runs it in production: gevent and gevent-websocket."""

from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402
import sys  # noqa: E402

from flask import Flask  # noqa: E402
from flask_socketio import SocketIO  # noqa: E402
from gevent import pywsgi  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402

app = Flask(__name__)
io = SocketIO(app, async_mode="gevent", logger=False, engineio_logger=False, http_compression=False)


@io.on("pub")
def pub(text: str) -> None:
    io.emit("m", text)


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(4096)
listener.setblocking(False)
pywsgi.WSGIServer(listener, app, handler_class=WebSocketHandler, log=None).serve_forever()
