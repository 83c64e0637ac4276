"""docs/how-to/limits.md names every limit, with its true default."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from rtbridge.config import Limits

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "limits.md"


def test_the_page_names_every_limit_and_its_default() -> None:
    told = re.findall(r"^\| `(\w+)` \| ([\d_.]+) \|", PAGE.read_text(), re.MULTILINE)
    assert {name: float(value) for name, value in told} == {
        field.name: float(field.default) for field in dataclasses.fields(Limits)
    }
