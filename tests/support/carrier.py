"""A carrier for transports on a fake loop: jobs run within `loop.run()`, answers are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.fakeloop import FakeLoop


class StubCarrier:
    """See `rtbridge.transports.carrier.Carrier`."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.answers: list[Any] = []

    def run(self, job: Callable[[], None]) -> None:
        self.loop.spawn(job)

    def finish(self, answer: object) -> None:
        self.answers.append(answer)

    @property
    def answer(self) -> Any:
        """The one answer there is."""
        (answer,) = self.answers
        return answer

    def take(self) -> list[Any]:
        """The answers since the last look."""
        answers, self.answers = self.answers, []
        return answers
