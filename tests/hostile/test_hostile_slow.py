"""Clients that are slow on purpose: to send, to read, to say what they came for."""

from __future__ import annotations

import json
import select
import threading
import time

import pytest

from hostile.house import House
from hostile.raw import TEXT, frame, handshake, post
from support.wire import hello

BODY = json.dumps({"commands": [hello()]}).encode()


@pytest.mark.parametrize("how", ["length", "chunks"])
def test_a_body_that_drips(house: House, how: str) -> None:
    """A byte now and then: the time runs from the beginning, not from the last byte."""
    if house.name == "waitress":
        pytest.skip("waitress reads bodies without a thread before it calls anybody")
    head = post(b"", {"Content-Length": "1000"} if how == "length" else {"Transfer-Encoding": "chunked"})
    if how == "chunks":
        head = head.replace(b"Content-Length: 0\r\n", b"")
    began = time.monotonic()
    with house.raw(head) as raw:
        while not select.select([raw.sock], [], [], 0.2)[0]:
            raw.send(b" " if how == "length" else b"1\r\n \r\n")
            assert time.monotonic() - began < 6, "no answer"
        reply = raw.reply()
        assert (reply.status, reply.code) == (408, 203)
        assert raw.closed(), "the connection must not go on in the middle of a body"
    assert 1.5 < time.monotonic() - began < 4


def test_many_drips_leave_room(house: House) -> None:
    """A few slow senders, heads and bodies, do not keep the others from being served."""
    halves = [post(b"", {"Content-Length": "1000"}), handshake()[:-2], b"POST /rt/poll HT", b""]
    raws = [house.raw(half) for half in halves]
    try:
        house.check(len(house.server.log()))
    finally:
        for raw in raws:
            raw.sock.close()


@pytest.mark.parametrize("times", [2_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_socket_that_stops_reading(sockets: House, times: int) -> None:
    """The others get everything, the memory stays, and it is told of its gap when it reads again."""
    with sockets.websocket(receive_buffer=4096) as sleeper, sockets.websocket() as other:
        for each in (sleeper, other):
            each.say(hello(), {"type": "subscribe", "id": 2, "channel": "flood"})
            each.until("subscribed")
        got: list[int] = []
        end = time.monotonic() + 60

        def listen() -> None:
            for message in other.messages():
                if message["type"] == "ping":
                    other.say({"type": "pong"})
                got.extend(each["data"][0] for each in message.get("publications", ()))
                if len(got) >= times or message["type"] == "gap" or time.monotonic() > end:
                    return

        listener = threading.Thread(target=listen)
        listener.start()
        sockets.publish("flood", "x" * 1000, times=600)  # fills the history, and what buffers there are
        before = sockets.memory()
        for done in range(600, times, 200):
            sockets.publish("flood", "x" * 1000, times=200)
            while len(got) < done and listener.is_alive():
                time.sleep(0.005)
        grown = sockets.memory() - before
        listener.join(60)
        assert len(got) == times
        assert grown < 8 << 20, f"{grown >> 20} MiB more"
        # Now it reads: what was on its way, then the gap, then nothing is amiss.
        count = 0
        for message in sleeper.messages():
            count += len(message.get("publications", ()))
            if message["type"] == "gap":
                break
        assert count < times
        sockets.publish("flood", "good morning")
        while "good morning" not in [
            each["data"][1] for each in sleeper.until("publications")["publications"]
        ]:
            pass


def test_streams_that_nobody_reads(house: House) -> None:
    """An event stream whose client sleeps costs its place and no more."""
    commands = [hello(), {"type": "subscribe", "id": 2, "channel": "flood"}]
    body = json.dumps({"commands": commands}).encode()
    with house.raw(post(body, {"Accept": "text/event-stream"}), receive_buffer=4096) as raw:
        assert raw.more()
        house.publish("flood", "x" * 1000, times=600)
        before = house.memory()
        for _ in range(5):
            house.publish("flood", "x" * 1000, times=400)
        assert house.memory() - before < 8 << 20


def test_half_a_frame_after_another(sockets: House) -> None:
    """A message in slow small pieces is whole at its end."""
    data = frame(TEXT, json.dumps(hello()).encode())
    with sockets.websocket() as socket:
        for at in range(0, len(data), 7):
            socket.send(data[at : at + 7])
        assert socket.take(1)[0]["type"] == "hello"
