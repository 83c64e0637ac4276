"""The letters in a mailbox, as the bus carries them: `["<address>",<until>,<letter>]`.

The address has a fixed length, so that whoever sorts the mail of ten thousand reads sixteen bytes of each letter and
parses none of them.
"""

from __future__ import annotations

from rtbridge.bus.contract import History, Keep
from rtbridge.config import Limits
from rtbridge.protocol import data as canonical
from rtbridge.protocol.private import Letter, Note, Question
from rtbridge.protocol.publications import Publication
from rtbridge.session.addresses import ADDRESS

_START = 2
_END = _START + ADDRESS


def mail_keep(limits: Limits) -> Keep:
    """How much of a mailbox is kept."""
    return History(int(limits.mailbox_size), limits.mailbox_ttl)


def sealed(address: bytes, letter: Letter) -> bytes:
    """The data of the publication that carries a letter. DataError where its content cannot travel."""
    until = letter.until if isinstance(letter, Question) else 0
    if isinstance(letter, Note):
        body = b'{"type":"data","to":"%b","data":%b}' % (letter.to.encode(), letter.data)
    else:
        body = canonical.encode(letter.to_value())
    return b'["%b",%d,%b]' % (address, until, body)


def address_of(mail: Publication) -> bytes:
    """Whom it is for."""
    return mail.data[_START:_END]


def opened(mail: Publication, now: float) -> Publication | None:
    """What the addressee sees of it; None when it has expired. `now`: unix seconds."""
    until, _, letter = mail.data[_END + 2 : -1].partition(b",")
    if until != b"0" and int(until) < now:
        return None
    return Publication(mail.offset, letter, mail.cause)
