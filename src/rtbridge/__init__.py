"""rtbridge: make an existing Django or Flask site realtime without rewriting it.

from rtbridge import Bridge, History, RealtimeMiddleware

rt = Bridge()
photos = rt.channel("photos", Photo, keep=History(200, ttl=3600), public=True)
application = RealtimeMiddleware(application, rt)      # mounts /rt/
photos.publish(Photo(...))                             # from any view
"""

from rtbridge.bridge import Bridge, Channel, Published
from rtbridge.bus.contract import History, Keep
from rtbridge.config import Limits
from rtbridge.contract.context import Context
from rtbridge.errors import (
    AskError,
    AskFailed,
    AskTimeout,
    BusError,
    BusUnavailable,
    ClientGone,
    ConfigError,
    DataError,
    DeclarationError,
    Refused,
    RtbridgeError,
)
from rtbridge.protocol.positions import Position
from rtbridge.wsgi import RealtimeMiddleware

__version__ = "0.1.0"
__all__ = [
    "AskError",
    "AskFailed",
    "AskTimeout",
    "Bridge",
    "BusError",
    "BusUnavailable",
    "Channel",
    "ClientGone",
    "ConfigError",
    "Context",
    "DataError",
    "DeclarationError",
    "History",
    "Keep",
    "Limits",
    "Position",
    "Published",
    "RealtimeMiddleware",
    "Refused",
    "RtbridgeError",
]
