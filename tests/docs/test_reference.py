"""The reference pages leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import rtbridge
from rtbridge import client

ROOT = Path(__file__).parent.parent.parent
REFERENCE = ROOT / "docs" / "reference"


def test_the_python_page_names_everything_that_is_public() -> None:
    page = (REFERENCE / "python.md").read_text()
    assert not [name for name in rtbridge.__all__ if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", page)]


def test_the_client_page_names_everything_that_is_public() -> None:
    page = (REFERENCE / "python-client.md").read_text()
    assert not [name for name in client.__all__ if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", page)]


def test_the_browser_page_names_every_member() -> None:
    types = (ROOT / "src" / "rtbridge" / "js" / "client.d.ts").read_text()
    members = set(re.findall(r"^    (?:readonly )?(\w+)\??[:(<]", types, re.MULTILINE))
    page = (REFERENCE / "browser.md").read_text()
    assert {"subscribe", "position", "gap"} <= members
    assert not [name for name in members - {"environment"} if not re.search(rf"\b{name}\b", page)]
    events = set(re.findall(r'^\| `"(\w+)"`', page, re.MULTILINE))
    assert "gap" in events
    assert events <= members
