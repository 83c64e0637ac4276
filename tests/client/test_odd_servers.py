"""The client against servers out of the ordinary: with small limits, restarted, behind TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtbridge.client import CallError, Gap, connect
from rtbridge.client.ladder import RUNGS
from support.needs import free_port, needs
from support.servers import Server, patched, running, started

SECONDS = 15
SERVE = """
from rtbridge.server import serve
from odd_site import application
serve(application, port={port})
"""


@contextlib.contextmanager
def serving(folder: Path, port: int | None = None) -> Iterator[Server]:
    with started("rtbridge", patched(SERVE), folder, cwd=Path(__file__).parent, port=port) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("odd")) as server:
        yield server


@pytest.fixture(params=RUNGS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_channels_with_limits_are_followed_all_the_same(server: Server, transport: str) -> None:
    with connect(f"{server.url}/rt/", transport=transport, headers={"X-User": "ann"}) as client:
        feeds = {name: client.subscribe(name) for name in ("slow", "parked/ann", "news")}
        for feed in feeds.values():
            feed.wait()
        for value in range(3):
            for name, feed in feeds.items():
                client.call("publish", {"channel": name, "value": value})
                assert feed.get(SECONDS).data == value  # type: ignore[union-attr]


def test_a_slow_reader_of_a_channel_apart(server: Server) -> None:
    with connect(f"{server.url}/rt/", transport="websocket", inbox=4) as client:
        feed = client.subscribe("slow")
        feed.wait()
        for value in range(30):
            client.call("publish", {"channel": "slow", "value": value})
        assert [feed.get(SECONDS).data for _ in range(30)] == list(range(30))  # type: ignore[union-attr]


def test_a_call_longer_than_our_patience_runs_once(server: Server, transport: str) -> None:
    """A poll's answer is given up after `timeout` and the server's wait; the call asked for again is the same one."""
    with connect(f"{server.url}/rt/", transport=transport, timeout=0.3) as client:
        assert client.call("sleep", {"seconds": 2.0}) == 1


def test_a_call_that_takes_too_long_may_have_happened(server: Server, transport: str) -> None:
    with connect(f"{server.url}/rt/", transport=transport) as client:
        with pytest.raises(CallError) as error:
            client.call("sleep", {"seconds": 1.0}, timeout=0.2)
        assert error.value.reason == "outcome_unknown" and "may have run" in error.value.message


def test_a_call_too_large_for_the_server_fails_and_harms_no_other(server: Server, transport: str) -> None:
    with connect(f"{server.url}/rt/", transport=transport) as client:
        results: list[object] = []
        threads = [
            threading.Thread(target=lambda: results.append(client.call("length", {"text": "x" * 100})))
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        with pytest.raises(CallError) as error:
            client.call("length", {"text": "x" * 50_000})
        assert error.value.reason == "too_large"
        for thread in threads:
            thread.join()
        assert results == [100] * 5


def test_tokens_are_renewed_while_a_connection_lasts(server: Server, transport: str) -> None:
    """They live for a second here."""
    with connect(f"{server.url}/rt/", transport=transport, headers={"X-User": "ann"}) as client:
        feed = client.subscribe("parked/ann")
        feed.wait()
        client_id = client.client_id
        for _ in range(3):
            assert client.call("sleep", {"seconds": 0.6}) == 1
        client.call("publish", {"channel": "parked/ann", "value": "still here"})
        assert feed.get(SECONDS).data == "still here"  # type: ignore[union-attr]
        assert client.client_id == client_id


def test_a_server_that_comes_back_without_its_memory(tmp_path: Path, transport: str) -> None:
    port = free_port()
    with serving(tmp_path, port) as server:
        client = connect(f"{server.url}/rt/", transport=transport)
        feed = client.subscribe("news")
        feed.wait()
        client.call("publish", {"channel": "news", "value": 1})
        assert feed.get(SECONDS).data == 1  # type: ignore[union-attr]
        server.kill()
    with serving(tmp_path, port):
        assert isinstance(feed.get(SECONDS), Gap)
        client.call("publish", {"channel": "news", "value": 2})
        assert feed.get(SECONDS).data == 2  # type: ignore[union-attr]
        client.close()


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost that lives for a day, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [needs("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    (folder / "both.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
    return folder / "both.pem"


@contextlib.contextmanager
def tls_in_front(port: int, certificate: Path) -> Iterator[int]:
    """What a reverse proxy does: TLS outside, plain inside."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def move(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                outside = context.wrap_socket(plain, server_side=True)
                inside = socket.create_connection(("127.0.0.1", port))
                for pair in ((outside, inside), (inside, outside)):
                    threading.Thread(target=move, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def test_tls(server: Server, transport: str, certificate: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    with tls_in_front(server.port, certificate) as port:
        with connect(f"https://localhost:{port}/rt/", transport=transport, tls=context) as client:
            feed = client.subscribe("news")
            feed.wait()
            for size in (1, 1000, 9_000):
                client.call("publish", {"channel": "news", "value": "x" * size})
                assert feed.get(SECONDS).data == "x" * size  # type: ignore[union-attr]
        with pytest.raises(TimeoutError, match="CERTIFICATE_VERIFY_FAILED"):
            connect(f"https://localhost:{port}/rt/", transport=transport, timeout=0.5)
        with pytest.raises(TimeoutError, match="not connected"):
            connect(f"http://localhost:{port}/rt/", transport=transport, timeout=0.5)


# -- other servers


@pytest.mark.parametrize(("name", "best"), [("waitress", "eventstream"), ("gunicorn gthread", "websocket")])
def test_auto_finds_what_a_server_can_do(tmp_path: Path, name: str, best: str) -> None:
    with running(name, tmp_path) as server, connect(f"{server.url}/rt/") as client:
        client.wait_until_open(best)
        feed = client.subscribe("news")
        feed.wait()
        urllib.request.urlopen(f"{server.url}/publish?channel=news", b'"hello"', timeout=SECONDS).close()
        assert feed.get(SECONDS).data == "hello"  # type: ignore[union-attr]
        assert client.call("add", {"a": 1, "b": 2}) == 3
        assert client.status.transport == best
