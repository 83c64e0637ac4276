from __future__ import annotations

import pytest

from support.needs import free_port, needs


def test_what_is_there_is_found() -> None:
    assert needs("sh").startswith("/")


def test_what_is_missing_skips_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        needs("no-such-server")


def test_what_is_missing_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-server is not installed"):
        needs("no-such-server")


def test_a_free_port_is_a_port() -> None:
    assert 1024 <= free_port() < 65536
