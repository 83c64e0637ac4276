"""Callbacks of one feed, for applications that would rather be called than iterate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rtbridge.client.errors import ClientError
from rtbridge.client.feed import Feed, Gap, Item, Snapshot

logger = logging.getLogger("rtbridge")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What to call for which kind of item; None for those that do not matter."""

    publication: Callable[[Item], object] | None = None
    gap: Callable[[Gap], object] | None = None
    snapshot: Callable[[Snapshot], object] | None = None

    @property
    def any(self) -> bool:
        return (self.publication or self.gap or self.snapshot) is not None

    def serve(self, feed: Feed) -> None:
        """Take from the feed until it ends, in a thread or greenlet of its own."""
        kinds: dict[type, Callable[[Any], object] | None] = {
            Item: self.publication,
            Gap: self.gap,
            Snapshot: self.snapshot,
        }
        try:
            for item in feed:
                callback = kinds[type(item)]
                if callback is None:
                    continue
                try:
                    callback(item)
                except Exception:
                    logger.exception("A callback of the feed of %s failed", feed.channel)
        except ClientError as error:
            logger.warning("The feed of %s ended: %s", feed.channel, error)
