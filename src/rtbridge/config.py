"""Every limit of rtbridge, named, with its unit and default.

Crossing a limit gives a clear error to the one who crossed it and loses nothing for anybody else. Change them with
`Bridge(..., limits=Limits(max_message=262_144))`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from rtbridge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes are bytes, times are seconds, the rest are counts."""

    # What a client may send.
    max_message: int = 65_536
    """Bytes of one WebSocket message, or of one command."""
    max_body: int = 1_048_576
    """Bytes of one POST body."""
    max_commands: int = 256
    """Commands in one POST or one WebSocket message, and commands waiting on one connection."""
    max_fragments: int = 1_024
    """Fragments of one WebSocket message."""
    max_channels: int = 128
    """Channels one connection or poll may follow."""
    max_token: int = 16_384
    """Bytes of a session token."""
    session_calls: float = 100.0
    """Calls a second of one session. Here and below: counted in each process by itself, and 0 is no limit."""
    user_calls: float = 300.0
    """Calls a second of one user."""
    address_calls: float = 3_000.0
    """Calls a second from one address (of IPv6, one /64)."""
    session_subscribes: float = 50.0
    """New subscriptions a second of one session; repeated polls are none."""
    user_subscribes: float = 200.0
    """New subscriptions a second of one user."""
    address_subscribes: float = 2_000.0
    """New subscriptions a second from one address."""
    session_bytes: float = 262_144.0
    """Bytes a second from one session."""
    user_bytes: float = 1_048_576.0
    """Bytes a second from one user."""
    address_bytes: float = 16_777_216.0
    """Bytes a second from one address."""
    user_channels: int = 5_000
    """Channels that all connections of one user may follow, each counted for itself."""
    address_channels: int = 100_000
    """Channels that all connections from one address may follow, each counted for itself."""
    rate_burst: float = 10.0
    """Seconds' worth of each of these rates that may come at once."""
    rate_entries: int = 50_000
    """Sessions, users or addresses that a process remembers for each rate; the longest unused are forgotten."""
    body_timeout: float = 10.0
    """Seconds within which a POST body must have arrived."""
    head_timeout: float = 10.0
    """Seconds within which a request's head must have arrived (`rtbridge serve`)."""
    keep_alive: float = 75.0
    """Seconds a connection may be idle between two requests (`rtbridge serve`)."""
    hello_timeout: float = 10.0
    """Seconds within which the first command of a WebSocket must have arrived."""

    # What the application may send.
    max_publication: int = 262_144
    """Bytes of one publication's data as JSON."""

    max_snapshot: int = 1_048_576
    """Bytes of one snapshot's data as JSON."""
    snapshot_workers: int = 4
    """Snapshots that a process makes at the same time."""
    snapshot_reuse: float = 1.0
    """Seconds a snapshot, or the failure to make it, is given to whoever asks next, rather than made anew."""
    gap_jitter: float = 3.0
    """Seconds over which snapshots and fetches are spread, where a log is lost and everybody has a gap at once."""

    source_workers: int = 4
    """Sources that a process runs at the same time."""
    source_backoff: float = 60.0
    """Longest seconds between two runs of a source that fails, if it is not to run less often anyway."""

    # How long connections wait.
    poll_wait: float = 25.0
    """Longest seconds a long poll is parked."""
    poll_interval: float = 5.0
    """Advised seconds between short polls."""
    ping_interval: float = 25.0
    """Seconds between pings on sockets and streams."""
    ping_timeout: float = 20.0
    """Seconds after a ping within which a WebSocket must have answered."""
    send_timeout: float = 30.0
    """Seconds a socket may take nothing at all before it is given up."""
    close_timeout: float = 5.0
    """Seconds the peer has to answer a close frame."""
    send_buffer: int = 65_536
    """Bytes of kernel send buffer per WebSocket (SO_SNDBUF): a slow reader must cost no more than an idle one."""
    stop_timeout: float = 5.0
    """Seconds that requests in progress get to end when the server stops (`rtbridge serve`)."""
    drain_window: float = 5.0
    """Seconds over which the clients of a server that stops are told to come back."""
    loop_lag: float = 0.25
    """Seconds the loop may be late before the log says which code was in its way; 0 for never."""
    parked_share: float = 0.5
    """Share of a threaded server's threads that polls, streams and sockets may occupy."""
    parked_max: int = 1_000
    """Most connections carried by threads of this process, whatever the share."""

    # Sessions, calls, grants.
    token_ttl: float = 300.0
    """Seconds a token stands in for authenticate and authorize."""
    session_grace: float = 30.0
    """Seconds after its last connection or poll (and its advised pause) until a session has ended."""
    call_ttl: float = 300.0
    """Seconds a call's reply is kept for retries."""
    call_lease: float = 30.0
    """Seconds without a sign of life after which a running call's worker counts as dead."""

    # People: what the server says to clients and users.
    mailbox_size: int = 1_000
    """Letters kept for clients that are away, in each of the 16 mailboxes that everybody shares."""
    mailbox_ttl: float = 3_600.0
    """Seconds a letter is kept for a client that is away."""
    member_ttl: float = 86_400.0
    """Seconds that a client or user whom the server put into a channel may follow it, since it last came."""
    ask_taken: float = 6.0
    """Seconds within which a client that is asked something must have been reached, else it counts as gone."""

    presence_named: int = 200
    """Tabs on one channel that a process names; if there are more it only tells how many."""
    presence_tabs: int = 10
    """Tabs of one user on one channel that a process names; the others are part of the user's one entry."""
    presence_data: int = 1_024
    """Bytes that a tab may tell of itself, as JSON."""
    presence_window: float = 0.2
    """Seconds over which changes of a channel's presence are told together."""
    presence_grace: float = 3.0
    """Seconds after its connection (and the pause that a poll is advised to make) until a tab is gone."""
    presence_lease: float = 6.0
    """Seconds without a sign of life after which a process and all its tabs are gone."""
    revocations: int = 500
    """Revocations kept while a token may outlive them; beyond it all older tokens are checked anew."""
    cut_off: float = 10.0
    """Seconds without a word from the bus after which a process grants and renews nothing any more."""

    # The bus and the tails.
    position_ttl: float = 2_592_000.0
    """Seconds (30 days) that a channel's epoch and counter outlive its last use."""
    idempotency_ttl: float = 300.0
    """Seconds an idempotency key is remembered."""
    page_publications: int = 500
    """Publications in one page."""
    page_bytes: int = 524_288
    """Bytes of data in one page (at least one publication is always returned)."""
    bus_timeout: float = 5.0
    """Seconds a question to Redis may take, with all attempts, before it fails; then others fail at once."""
    memory_channels: int = 100_000
    """Channels that memory:// remembers; beyond it the longest unused are forgotten."""
    tail_bytes: int = 67_108_864
    """Bytes that all tails of a process hold."""
    tail_publications: int = 1_000
    """Publications one tail holds."""
    tail_prime: int = 100
    """Publications read into a tail when its channel is first watched."""
    tail_linger: float = 60.0
    """Seconds a channel stays watched after its last reader left."""
    sweep_interval: float = 3.0
    """Seconds between position checks of a watched channel."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise ConfigError(f"limits.{field.name} must be a number of at least 0, not {value!r}")
