"""What the client's tests share: a real server in its own process, and a client that is closed again."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest

from support.servers import Server, running


class Site:
    """The site of tests/servers/ on our own gevent server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.mount = f"{server.url}/rt/"

    def publish(self, channel: str, *values: object) -> str:
        """Publish as any view would; the last position."""
        position = ""
        for value in values:
            url = f"{self.server.url}/publish?channel={channel}"
            with urllib.request.urlopen(url, json.dumps(value).encode(), timeout=10) as answer:
                position = answer.read().decode()
        return position

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.server.url + path, timeout=10) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running("rtbridge", tmp_path_factory.mktemp("site")) as server:
        yield Site(server)
