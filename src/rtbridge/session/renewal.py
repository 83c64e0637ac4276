"""Live access ends when the user's access ends: sockets and streams are authenticated and authorised anew.

A poll comes with its credentials each time; a connection that stays open is asked again shortly before its
grants expire, with the credentials it came with. A worker that cannot ask (the database or the bus is away)
renews nothing, so access then ends by expiry.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtbridge.contract.context import Context
from rtbridge.errors import ProtocolError
from rtbridge.protocol.codes import ErrorCode
from rtbridge.session.access import Access, Identity
from rtbridge.session.subscription import Subscription


class Renewal:
    """Stands in a session's queue as the command to renew."""


RENEWAL = Renewal()


def renew(
    access: Access, identity: Identity, followed: Sequence[Subscription], context: Context
) -> tuple[bool, dict[str, ErrorCode], bool]:
    """Authenticate and authorise a connection again. Runs the application's code: never in the turn.

    Returns:
        Whether it is still the same user; the channels that end, with the reason; and whether to try again
        soon because something failed while a grant still lives.
    """
    try:
        if not access.reidentify(identity, context.environ):
            return False, {}, False
    except ProtocolError:
        if identity.expires <= access.wall():
            return False, {}, False
        return True, {}, True
    ended: dict[str, ErrorCode] = {}
    again_soon = False
    for subscription in followed:
        channel = subscription.channel
        try:
            access.permit(identity, subscription.declaration, channel, subscription.params, context)
        except ProtocolError as error:
            if error.code == ErrorCode.NO_SUCH_CHANNEL:
                ended[channel] = ErrorCode.NO_SUCH_CHANNEL
            elif not identity.may_follow(channel, access.wall()):
                ended[channel] = ErrorCode.UNAVAILABLE
            else:
                again_soon = True
    return True, ended, again_soon
