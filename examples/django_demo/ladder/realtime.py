"""What the ladder's page is told, and what it may ask for."""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from wall.realtime import rt

from ladder.simulation import MOST, Meters, Simulation

told = rt.channel("ladder/told", float, keep="latest", public=True)
meters = rt.channel("ladder/meters", Meters, keep="latest", public=True)

simulation = Simulation(told.publish, meters.publish)


@rt.call("ladder.visitors")
def visitors(
    ctx: Any,
    rung: Literal["poll", "cached", "longpoll", "eventstream", "websocket"],
    many: Annotated[int, Ge(0), Le(MOST)],
) -> None:
    simulation.wish(rung, many)
