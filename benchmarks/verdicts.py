"""The suite's tables, and its goals with what was reached."""

from __future__ import annotations

from .figures import IDLE, PAYLOAD, Figures, Profile
from .harness import Goal, Table
from .peers import (
    COALESCING,
    DJANGO,
    NCHAN_NAME,
    NODE_SOCKET_IO,
    PEERS,
    POLLED,
    PYWSGI,
    RTBRIDGE,
    RTBRIDGE_GET,
    SOCKETIO_GEVENT,
    C,
)
from .slow import SLEEPERS

SLOW_MEMORY = ("KiB each", "growth KiB each", "KiB each, kernel")


def tables(profile: Profile, figures: Figures) -> list[Table]:
    found = []
    for population in profile.populations:
        one, many = (f"fan-out {window} to {population}" for window in (1, 16))
        table = Table(
            f"Fan-out to {population} WebSockets: deliveries per second of server CPU ({PAYLOAD} bytes)",
            ["1 in flight", "load share", "16 in flight", "load share", "lost"],
            note="load share: how busy the load generator's core was. lost: missing publications, and stalls.",
        )
        for peer in PEERS:
            lost = sum(sum(figures.values[f"{name} lost"][peer.name]) for name in (one, many))
            if figures.sample(one, peer.name) or figures.sample(many, peer.name):
                names = (one, one + " load share", many, many + " load share")
                table.add(peer.name, *(figures.sample(name, peer.name) for name in names), lost)
        found.append(table)
    table = Table("Latency at 20 publishes a second to 1000 WebSockets, ms", ["p50", "p99"])
    for peer in PEERS:
        if figures.sample("latency p50", peer.name):
            table.add(peer.name, *(figures.sample(f"latency {name}", peer.name) for name in ("p50", "p99")))
    found.append(table)
    columns = ["WebSocket", "long poll", "event stream", "keep-alive"]
    table = Table(f"Idle connections: KiB of PSS each, at {profile.idle}", columns)
    for peer in PEERS:
        if figures.sample("idle WebSocket", peer.name):
            table.add(
                peer.name,
                *(figures.sample(name, peer.name) for name in IDLE),
            )
    found.append(table)
    table = Table(
        "Long poll, 500 parked, browser-sized heads: deliveries per CPU second", ["", "load share", "lost"]
    )
    for peer_name in (RTBRIDGE_GET, *(peer.name for peer in PEERS)):
        if figures.sample("long poll", peer_name):
            lost = sum(figures.values["long poll lost"][peer_name])
            names = ("long poll", "long poll load share")
            table.add(peer_name, *(figures.sample(name, peer_name) for name in names), lost)
    found.append(table)
    measures = ("short poll, nothing new", "short poll, one new")
    table = Table("Short poll, browser-sized heads: answers per CPU second", ["nothing new", "one new"])
    for name in (RTBRIDGE, "rtbridge, POST", *POLLED):
        if figures.sample(measures[0], name):
            table.add(name, *(figures.sample(measure, name) for measure in measures))
    found.append(table)
    table = Table("Connects, handshake and subscription included, per CPU second", [""])
    for peer in PEERS:
        if figures.sample("connects", peer.name):
            table.add(peer.name, figures.sample("connects", peer.name))
    found.append(table)
    table = Table(
        f"{SLEEPERS} of {2 * SLEEPERS:,} subscribers stop reading, and read again",
        ["others", "KiB each", "growth", "kernel KiB each", "caught up", "told of a gap", "ended", "silent"],
        note="others: their throughput, as a share of that without sleepers. KiB each: memory more than without them; "
        "growth: while they sleep. kernel: buffers of the whole machine.",
    )
    for peer in PEERS:
        if figures.sample("slow consumers", peer.name):
            names = ["slow consumers", *(f"slow consumers, {what}" for what in SLOW_MEMORY)]
            names += [f"sleepers {fate}" for fate in ("caught_up", "told", "ended", "silent")]
            table.add(peer.name, *(figures.sample(name, peer.name) for name in names))
    found.append(table)
    return [table for table in found if table.rows]


def goals(figures: Figures) -> list[Goal]:
    """What must be reached, as ratios within this run."""
    found = []

    def times(measure: str, label: str, *bounds: tuple[float, str], of: str = RTBRIDGE) -> None:
        for bound, peer in bounds:
            found.append(Goal(f"{label} / {peer}", bound, figures.ratio(measure, of, peer), unit=" x"))

    def within(measure: str, label: str, *bounds: tuple[float, str]) -> None:
        for bound, peer in bounds:
            found.append(Goal(f"{label} / {peer}", bound, figures.ratio(measure, RTBRIDGE, peer), True, " x"))

    def kib(measure: str) -> None:
        sample = figures.sample(measure, RTBRIDGE)
        found.append(Goal(f"{measure}, each", 1.5, sample and sample.median, True, " KiB"))

    python, node = SOCKETIO_GEVENT, NODE_SOCKET_IO
    times("fan-out 1 to 1000", "fan-out, 1 in flight", (0.9, NCHAN_NAME), (1.5, node), (4, python), (0.6, C))
    times("fan-out 16 to 1000", "fan-out, 16 in flight", (0.6, COALESCING), (10, node), (15, python))
    for name in ("p50", "p99"):
        within(f"latency {name}", f"latency at 20/s, {name}", (1, node), (1.3, NCHAN_NAME))
    for measure in IDLE:
        kib(measure)
    polls = ((0.6, NCHAN_NAME), (1.5, node), (8, python))
    times("long poll", "long poll of a public channel (GET), 500 parked", *polls, of=RTBRIDGE_GET)
    times("long poll", "long poll with a session (POST), 500 parked", *polls)
    for measure in ("nothing new", "one new"):
        times(f"short poll, {measure}", f"short poll, {measure}", (3, PYWSGI), (7, DJANGO))
    label = f"{SLEEPERS} of {2 * SLEEPERS:,} do not read: "
    share = figures.sample("slow consumers", RTBRIDGE)
    found.append(Goal(label + "throughput of the others", 0.9, share and share.median, unit=" x"))
    growth = figures.sample("slow consumers, growth KiB each", RTBRIDGE)
    found.append(Goal(label + "memory grows, each", 1, growth and growth.median, True, " KiB"))
    for fate, say in (("silent", "lost something without a word"), ("behind", "did not catch up")):
        fates = figures.values.get(f"sleepers {fate}", {}).get(RTBRIDGE)
        found.append(Goal(label + say, 0, max(fates) if fates else None, True))
    live = figures.sample("sleepers live", RTBRIDGE)
    found.append(Goal(label + "share that goes on afterwards", 1, live and live.low))
    return found
