"""Looking inside the fanout: who still listens."""

from __future__ import annotations

from rtbridge.fanout import Fanout


def readers(fanout: Fanout) -> int:
    """How many readers there are, but for the process's own. None may be left once every client is gone."""
    clients = [watched for name, watched in fanout._channels.items() if name[0] != "~"]
    return sum(len(watched.readers) + len(watched.resting) for watched in clients)
