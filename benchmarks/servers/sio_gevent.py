"""python-socketio on gevent's pywsgi and gevent-websocket, with TCP_NODELAY, which it does not set by itself."""

from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402
import sys  # noqa: E402

import socketio  # noqa: E402
from gevent import pywsgi  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402

sio = socketio.Server(async_mode="gevent", logger=False, engineio_logger=False, http_compression=False)


@sio.event
def pub(sid: str, text: str) -> None:
    sio.emit("m", text)


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(4096)
listener.setblocking(False)
pywsgi.WSGIServer(listener, socketio.WSGIApp(sio), handler_class=WebSocketHandler, log=None).serve_forever()
