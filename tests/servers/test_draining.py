"""A server that stops sends its clients away first: sockets with a code, parked polls with an answer, and soon."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from support.servers import running

CONFIG = """
def post_worker_init(worker):
    from site_app import rt

    rt.drain_on_sigterm()
"""
HELLO = {"type": "hello", "id": 1, "version": 1, "instance": "instance-1"}


@pytest.mark.parametrize("name", ["rtbridge", "gunicorn gthread", "gunicorn gevent"])
def test_clients_are_sent_away_when_the_server_stops(name: str, tmp_path: Path) -> None:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(CONFIG)
    with running(name, tmp_path, GUNICORN_CMD_ARGS=f"-c {config} --graceful-timeout 30") as server:
        answers: list[dict[str, Any]] = []
        poll = Thread(target=_long_poll, args=(server.port, answers))
        poll.start()
        stream = _stream(server.port)
        with connect(f"ws://127.0.0.1:{server.port}/rt/ws") as socket:
            socket.send(json.dumps({**HELLO, "instance": "instance-2"}))
            assert json.loads(socket.recv(timeout=10))["type"] == "hello"
            _until_parked(server.port)
            began = time.monotonic()
            server.process.terminate()
            said = json.loads(socket.recv(timeout=10))
            assert (said["type"], said["code"]) == ("disconnect", 4000)
            assert 0 <= said["retry_after"] <= 5
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=10)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4000
        heard = stream.read().decode()
        last = json.loads(heard.rpartition("data: ")[2])
        assert (last["type"], last["code"]) == ("disconnect", 4000)
        assert 0 <= last["retry_after"] <= 5
        poll.join(10)
        assert [message["type"] for message in answers[0]["messages"]] == ["hello"]
        server.process.wait(10)
        assert time.monotonic() - began < 10
        assert "Traceback" not in server.log()


def _stream(port: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = {"commands": [{**HELLO, "instance": "instance-3"}, {"type": "subscribe", "id": 2, "channel": "news"}]}
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    connection.request("POST", "/rt/poll", json.dumps(body), headers)
    response = connection.getresponse()
    assert b"hello" in response.readline()
    return response


def _long_poll(port: int, answers: list[dict[str, Any]]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    body = {"wait": 25, "commands": [HELLO, {"type": "subscribe", "channel": "news"}]}
    connection.request("POST", "/rt/poll", json.dumps(body), {"Content-Type": "application/json"})
    answers.append(json.loads(connection.getresponse().read()))


def _until_parked(port: int) -> None:
    """The poll's hello was answered by then: requests of one process begin in the order in which they came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/rt/channels/news")
    assert connection.getresponse().status == 200
