"""How much of a channel is kept."""

from __future__ import annotations

import math

import pytest

from rtbridge.bus import LATEST, VOLATILE, History, Keep
from rtbridge.bus.contract import new_epoch
from rtbridge.errors import DeclarationError
from rtbridge.protocol.positions import Position


def test_histories() -> None:
    assert History(200, ttl=3600) == Keep("history", 200, 3600.0)
    assert (Keep("latest", 1, math.inf), Keep("volatile", 0, 0.0)) == (LATEST, VOLATILE)


@pytest.mark.parametrize(("size", "ttl"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, math.nan)])
def test_a_history_that_keeps_nothing_is_a_mistake(size: int, ttl: float) -> None:
    with pytest.raises(DeclarationError, match="keep nothing"):
        History(size, ttl)


def test_epochs_fit_the_wire_and_differ() -> None:
    epochs = {new_epoch() for _ in range(1_000)}
    assert len(epochs) == 1_000
    assert all(Position.parse(f"{epoch}.1") == Position(epoch, 1) for epoch in epochs)
