"""python-socketio on gevent with its Redis manager: what another process emits reaches the clients of this one."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402

import socketio  # noqa: E402
from gevent import pywsgi  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402

manager = socketio.RedisManager(f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0")
sio = socketio.Server(
    async_mode="gevent", client_manager=manager, logger=False, engineio_logger=False, http_compression=False
)

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(4096)
listener.setblocking(False)
pywsgi.WSGIServer(listener, socketio.WSGIApp(sio), handler_class=WebSocketHandler, log=None).serve_forever()
