"""The collector's settings, in a process of their own: they are the whole process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

SETTLE = """
import gc
{before}
from rtbridge.runtime.garbage import spare_what_stays
spare_what_stays()
print(gc.get_threshold(), gc.get_freeze_count() > 1000)
"""


@pytest.mark.parametrize(
    "before, after",
    [
        ("", "(700, 10, 10) True"),
        ("gc.set_threshold(900, 5, 5)", "(900, 5, 5) True"),
        ("gc.disable()", "(700, 10, 10) False"),
    ],
)
def test_it_is_spared_unless_somebody_decided_otherwise(before: str, after: str) -> None:
    code = SETTLE.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == after, done.stderr
