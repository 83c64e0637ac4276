"""`rtbridge publish`, `tail` and `doctor` as they are typed, with a Redis of their own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.redis_servers import PlainRedis

APP = """
from dataclasses import dataclass
from rtbridge import Bridge

@dataclass
class Photo:
    id: int

rt = Bridge(secret="of these tests")
photos = rt.channel("photos", Photo, keep="latest", public=True)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PlainRedis]:
    with PlainRedis("appendonly yes") as server:
        yield server


@pytest.fixture(autouse=True)
def clean(server: PlainRedis) -> None:
    with server.client() as client:
        client.flushall()


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "rtbridge", *words]


def run(
    url: str, *words: str, folder: Path | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "RTBRIDGE_URL": url}
    return subprocess.run(
        command(*words), env=env, cwd=folder, input=given, capture_output=True, text=True, timeout=60
    )


def test_what_is_published_is_what_tail_prints(server: PlainRedis) -> None:
    tail = subprocess.Popen(
        command("tail", "news", "--url", server.url, "--count", "3"), stdout=subprocess.PIPE, text=True
    )
    first = run(server.url, "publish", "news", '{"title": "wow"}')
    position = first.stdout.strip()
    assert position.endswith(".1")
    assert "published without a look at any declaration" in first.stderr
    # `tail` begins now, whenever that is: publish until it has had its three.
    while tail.poll() is None:
        run(server.url, "publish", "news", "-", given="[1, 2]")
    assert tail.stdout is not None
    lines = [json.loads(line) for line in tail.stdout]
    assert [line["data"] for line in lines][-1] == [1, 2] and len(lines) == 3
    since = run(server.url, "tail", "news", "--from", position, "--count", "1")
    assert json.loads(since.stdout) == {"position": position[:-1] + "2", "data": [1, 2]}
    newest = run(server.url, "tail", "news", "--recent", "2", "--count", "2")
    assert len(newest.stdout.splitlines()) == 2


def test_it_says_its_version() -> None:
    assert run("", "--version").stdout == f"rtbridge {importlib.metadata.version('rtbridge')}\n"


def test_a_key_publishes_once(server: PlainRedis) -> None:
    first, second = (
        run(server.url, "publish", "news", "1", "--key", "k", "--keep", "10:60") for _ in range(2)
    )
    assert first.stdout == second.stdout
    assert first.stderr == ""


def test_the_declaration_validates_and_keeps(server: PlainRedis, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    for number in (1, 2):
        done = run(
            server.url, "publish", "photos", json.dumps({"id": number}), "--app", "shop:rt", folder=tmp_path
        )
        assert done.stdout.strip().endswith(f".{number}"), done.stderr
    wrong = run(server.url, "publish", "photos", '{"id": "one"}', "--app", "shop:rt", folder=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "id" in wrong.stderr and "Traceback" not in wrong.stderr
    unknown = run(server.url, "publish", "photo", "1", "--app", "shop:rt", folder=tmp_path)
    assert (unknown.returncode, unknown.stderr) == (1, "no channel is declared for 'photo'\n")
    kept = run(server.url, "tail", "photos", "--recent", "5", "--count", "1")
    assert json.loads(kept.stdout)["data"] == {"id": 2}


def test_mistakes_are_said_in_a_sentence(server: PlainRedis) -> None:
    nowhere = run("", "publish", "news", "1")
    assert (nowhere.returncode, nowhere.stderr[:10]) == (1, "which bus?")
    inside = run("memory://", "tail", "news")
    assert inside.returncode == 1 and "lives in the process that serves" in inside.stderr
    text = run(server.url, "publish", "news", "hello")
    assert text.returncode == 1 and "is no JSON" in text.stderr
    away = run("redis://127.0.0.1:1", "publish", "news", "1")
    assert away.returncode == 1 and "Traceback" not in away.stderr


def test_the_doctor_finds_a_good_redis_good(server: PlainRedis) -> None:
    done = run(server.url, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    version: 7" in done.stdout
    assert "ok    publishing: took " in done.stdout
    assert "ok    notifications: after " in done.stdout


def test_the_doctor_says_what_to_change() -> None:
    options = (
        "maxmemory 100mb",
        "maxmemory-policy allkeys-lru",
        "client-output-buffer-limit pubsub 1mb 512kb 5",
    )
    with PlainRedis(*options) as server:
        done = run(server.url, "doctor")
    assert done.returncode == 1
    assert "BAD   eviction: allkeys-lru: a full memory throws channels away" in done.stdout
    assert "-> CONFIG SET maxmemory-policy noeviction" in done.stdout
    assert "warn  pub/sub output buffer: hard 1 MiB" in done.stdout
    assert "warn  persistence: none" in done.stdout


def test_the_doctor_tries_what_an_acl_forbids(server: PlainRedis) -> None:
    with server.client() as client:
        client.execute_command("ACL SETUSER shop on >pw ~rtbridge:* +@all -config resetchannels")
    url = server.url.replace("redis://", "redis://shop:pw@")
    done = run(url, "doctor")
    assert done.returncode == 1, done.stdout
    assert "pub/sub output buffer: unknown: this user may not use CONFIG GET" in done.stdout
    assert "BAD   " in done.stdout.split("keep-alive")[1]
    assert "pw" not in done.stdout + done.stderr


def test_the_doctor_cannot_examine_what_is_not_there() -> None:
    done = run("redis://:secret@127.0.0.1:1", "doctor")
    assert done.returncode == 2
    assert "out of reach" in done.stderr and "secret" not in done.stderr
