"""Responses as bytes: what is remembered of their heads is written only for those that have the very same."""

from __future__ import annotations

import pytest

from rtbridge.server import wire
from rtbridge.server.wire import Writer
from rtbridge.wsgi.http import Response

JSON = ("Content-Type", "application/json")


def head(writer: Writer, *headers: tuple[str, str], status: int = 200, close: bool = False) -> list[str]:
    raw = writer.whole(Response(status, list(headers), b"{}"), close=close)
    lines = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return [line for line in lines if not line.startswith("Date: ")]


def test_each_response_has_its_own_headers() -> None:
    writer = Writer()
    for _ in range(2):
        for origin in ("https://a.example.com", "https://b.example.com"):
            cors = ("Access-Control-Allow-Origin", origin)
            assert head(writer, JSON, cors)[2:] == [
                f"Access-Control-Allow-Origin: {origin}",
                "Content-Length: 2",
            ]
        assert head(writer, JSON) == [
            "HTTP/1.1 200 OK",
            "Content-Type: application/json",
            "Content-Length: 2",
        ]
        assert head(writer, JSON, close=True)[-2:] == ["Connection: close", "Content-Length: 2"]
        assert head(writer, JSON, status=503)[0] == "HTTP/1.1 503 Service Unavailable"
        assert head(writer, JSON, ("ETag", '"1"'), status=304) == ["HTTP/1.1 304 Not Modified", 'ETag: "1"']


@pytest.mark.parametrize(
    "header", [("Rtbridge-Token", "secret"), ("ETag", '"secret"'), ("Set-Cookie", "secret=1")]
)
def test_what_is_one_clients_is_not_remembered(header: tuple[str, str]) -> None:
    writer = Writer()
    assert f"{header[0]}: {header[1]}" in head(writer, JSON, header)
    assert "secret" not in repr(writer._fields)
    assert not any("secret" in line for line in head(writer, JSON))


def test_it_is_bounded() -> None:
    writer = Writer()
    for number in range(3 * wire._REMEMBERED):
        head(writer, ("Access-Control-Allow-Origin", f"https://{number}.example.com"))
    assert len(writer._fields) <= wire._REMEMBERED
