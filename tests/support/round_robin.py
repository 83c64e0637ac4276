"""An HTTP proxy in a process of its own that gives each request to the next server: no stickiness whatever.

    with RoundRobin([8001, 8002]) as proxy:
        proxy.port

Keep-alive towards the client, a connection of its own for every request towards the servers, as balancers do. Where a
server refuses the connection the next one is tried; that is all the health check there is. A WebSocket, or a stream
whose length is not known, stays with its server until it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"
LIMIT = 1 << 20
HOP = re.compile(rb"(?im)^(?:connection|keep-alive|proxy-connection):[^\r\n]*\r\n")
LENGTH = re.compile(rb"(?im)^content-length:\s*(\d+)\s*\r\n")
CHUNKED = re.compile(rb"(?im)^transfer-encoding:\s*chunked\s*\r\n")
UPGRADE = re.compile(rb"(?im)^upgrade:\s*websocket\s*\r\n")


class RoundRobin:
    """The process; `port` is where it listens."""

    def __init__(self, upstreams: Sequence[int]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), *map(str, upstreams)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> RoundRobin:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class _Proxy:
    def __init__(self, upstreams: Sequence[int]) -> None:
        self._next = itertools.cycle(upstreams)
        self._count = len(upstreams)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. True: the connection can carry another."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        upgrade = UPGRADE.search(head) is not None
        if not upgrade:
            head = HOP.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n"
        server = await self._connect()
        if server is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return True
        from_server, to_server = server
        try:
            to_server.write(head + body)
            if upgrade:
                await _both(_pipe(reader, to_server), _pipe(from_server, writer))
                return False
            return await self._answer(reader, from_server, writer)
        finally:
            to_server.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(self._count):
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(HOST, next(self._next), limit=LIMIT)
        return None

    async def _answer(
        self, client: asyncio.StreamReader, server: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """While it is awaited, a client that goes away takes its request with it."""
        answering = asyncio.ensure_future(self._pass_answer(server, writer))
        gone = asyncio.ensure_future(_until_gone(client))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            return answering.done() and await answering
        finally:
            answering.cancel()
            gone.cancel()

    async def _pass_answer(self, server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = HOP.sub(b"", await server.readuntil(b"\r\n\r\n"))
        length = LENGTH.search(head)
        keep = length is not None or CHUNKED.search(head) is not None
        if not keep:
            head = head[:-2] + b"Connection: close\r\n\r\n"
        writer.write(head)
        if length:
            writer.write(await server.readexactly(int(length[1])))
        elif keep:
            await _pass_chunks(server, writer)
        else:
            await _pipe(server, writer)
        await writer.drain()
        return keep


async def _pass_chunks(server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        line = await server.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        writer.write(line + await server.readexactly(size + 2))
        await writer.drain()
        if not size:
            return


async def _until_gone(reader: asyncio.StreamReader) -> None:
    """Pipelined requests wait in the reader's buffer; only its end is of interest."""
    while not reader.at_eof() and reader.exception() is None:
        await asyncio.sleep(0.25)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def _both(*ways: object) -> None:
    """Until one of them ends: then it is over for both."""
    tasks = {asyncio.ensure_future(way) for way in ways}  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def main(upstreams: Sequence[int]) -> None:
    """Serve until whoever started us is gone."""
    proxy = _Proxy(upstreams)
    server = await asyncio.start_server(proxy.serve, HOST, 0, limit=LIMIT, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main([int(port) for port in sys.argv[1:]]))
