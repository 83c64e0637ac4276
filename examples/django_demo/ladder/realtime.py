"""What the ladder's page is told, and what it may ask for."""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from wall.realtime import rt

from ladder.simulation import EVERY, MOST, Meters, Simulation

told = rt.channel("ladder/told", float, keep="latest", public=True)
meters = rt.channel("ladder/meters", Meters, keep="latest", public=True)

# The view of the polled rung, run once for everybody and only while somebody looks: that one line is the second rung.
now = rt.channel("ladder/now", dict, keep="latest", public=True, transport="shortpoll", every=EVERY)
rt.source(now, view="/ladder/now.json")

simulation = Simulation(told.publish, meters.publish)


@rt.call("ladder.visitors")
def visitors(
    ctx: Any,
    rung: Literal["poll", "shared", "longpoll", "eventstream", "websocket"],
    many: Annotated[int, Ge(0), Le(MOST)],
) -> None:
    simulation.wish(rung, many)
