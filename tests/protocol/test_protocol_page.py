"""Every example on the protocol page is among the vectors, so that what we show is what we test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from protocol.vector_files import load
from rtbridge.protocol.codes import DisconnectCode, ErrorCode

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "protocol.md").read_text(encoding="utf-8")
_START = re.compile(r'\{"(?:type|wait|messages|channel|error|transport|data|\$bytes)": ')
LEFT_OUT = "…"


def examples() -> list[Any]:
    """The JSON objects on the page.

    What the page leaves out (`…`) becomes a string or a key that holds it.
    """
    text = re.sub(r", …([}\]])", r', "…": "…"\1', PAGE)
    text = re.sub(r"(\": )…", r'\1"…"', text)
    found = []
    for match in _START.finditer(text):
        # The newline in an indented block is white space to JSON.
        try:
            example, _ = json.JSONDecoder().raw_decode(text, match.start())
        except json.JSONDecodeError:
            continue
        found.append(example)
    return found


def fits(example: Any, case: Any) -> bool:
    """Whether `case` is the example, whatever the example leaves out."""
    if isinstance(example, str) and LEFT_OUT in example:
        return True
    if isinstance(example, dict) and isinstance(case, dict):
        named = example.keys() - {LEFT_OUT}
        if named != case.keys() and not (LEFT_OUT in example and named <= case.keys()):
            return False
        return all(fits(example[key], case[key]) for key in named)
    if isinstance(example, list) and isinstance(case, list):
        named = [item for item in example if item != {LEFT_OUT: LEFT_OUT} and item != LEFT_OUT]
        return len(named) == len(case) and all(map(fits, named, case))
    return bool(example == case)


def pieces(value: Any) -> list[Any]:
    """A value and all that is in it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(piece for item in inner for piece in pieces(item))]


CASES = [
    piece
    for file, keys in [
        ("messages.json", ["commands", "server"]),
        ("polls.json", ["requests", "answers", "channel_answers", "error_bodies"]),
    ]
    for key in keys
    for case in load(file)[key]
    for piece in pieces(case["wire"])
] + [json.loads(case["json"]) for case in load("data.json")["cases"]]


@pytest.mark.parametrize("example", examples(), ids=lambda example: json.dumps(example)[:60])
def test_the_example_is_among_the_vectors(example):
    assert any(fits(example, case) for case in CASES)


def test_the_page_has_examples_of_all_types():
    types = {example.get("type") for example in examples()}
    assert types >= {
        "hello",
        "subscribe",
        "subscribed",
        "unsubscribe",
        "unsubscribed",
        "call",
        "result",
        "ping",
    }
    assert types >= {"presence", "answer", "done"}
    assert types >= {"pong", "bye", "error", "publications", "gap", "token", "disconnect"}
    assert len(examples()) >= 20


def test_the_page_and_the_code_have_the_same_codes():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| ([\d, ]+) \|", PAGE, re.MULTILINE)
    assert [(int(code), reason) for code, reason, _ in rows] == [(code, code.reason) for code in ErrorCode]
    assert [int(status[:3]) for _, _, status in rows] == [code.http_status for code in ErrorCode]
    rows = re.findall(r"^\| (4\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert [(int(code), reason) for code, reason in rows] == [(code, code.reason) for code in DisconnectCode]
