from __future__ import annotations

import pytest

from rtbridge.protocol.positions import Position
from rtbridge.protocol.publications import Gap, Page, Publication


def test_a_publication_holds_canonical_json():
    publication = Publication(7, b'{"photo":{"$bytes":"YQ=="}}', cause="p7Gd0LxQ4W2uYt1k")
    assert publication.value() == {"photo": b"a"}
    assert Publication(7, b"1").cause is None


def test_answers_of_a_log_are_values():
    page = Page(Position("a", 7), (Publication(7, b"1"),))
    assert not page.more
    assert page == Page(Position("a", 7), (Publication(7, b"1"),), more=False)
    assert Gap(Position("a", 7)) != page
    with pytest.raises(AttributeError):
        page.more = True  # type: ignore[misc]
