"""Reading the shared test vectors; see tests/vectors/README.md for what they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parent.parent / "vectors"


def load(file: str) -> dict[str, Any]:
    """One file of vectors."""
    document: dict[str, Any] = json.loads((VECTORS / file).read_text(encoding="utf-8"))
    return document


def each(file: str, *keys: str) -> pytest.MarkDecorator:
    """Parametrise a test by `case`, one run for each case under `keys`."""
    cases = [case for key in keys for case in load(file)[key]]
    ids = [
        str(case.get("name", case.get("code", number))) if isinstance(case, dict) else str(number)
        for number, case in enumerate(cases)
    ]
    return pytest.mark.parametrize("case", cases, ids=ids)


def repeated(parts: list[list[Any]]) -> str:
    """The long input that `repeat` stands for."""
    return "".join(text * times for text, times in parts)


def with_bytes(value: object) -> object:
    """`value` with `{"@bytes": hex}` as bytes."""
    if isinstance(value, dict):
        if list(value) == ["@bytes"]:
            return bytes.fromhex(value["@bytes"])
        return {key: with_bytes(item) for key, item in value.items()}
    return [with_bytes(item) for item in value] if isinstance(value, list) else value
