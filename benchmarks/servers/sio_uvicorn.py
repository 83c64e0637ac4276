"""python-socketio's asynchronous server, for uvicorn (uvloop, httptools)."""

import socketio

sio = socketio.AsyncServer(async_mode="asgi", logger=False, engineio_logger=False, http_compression=False)


@sio.event
async def pub(sid: str, text: str) -> None:
    await sio.emit("m", text)


app = socketio.ASGIApp(sio)
