"""Time, timers and readiness, for threads and for gevent: see `loop`. gevent is imported only once chosen."""

from rtbridge.runtime.detect import choose_loop, in_gevent
from rtbridge.runtime.lag import LagWatch, watched
from rtbridge.runtime.loop import Loop, Mailbox, Timer, Watch
from rtbridge.runtime.native import native_ident, native_lock
from rtbridge.runtime.threads import ThreadLoop
from rtbridge.runtime.wheel import Spoke, Ticking, Wheel

__all__ = [
    "LagWatch",
    "Loop",
    "Mailbox",
    "Spoke",
    "ThreadLoop",
    "Ticking",
    "Timer",
    "Watch",
    "Wheel",
    "choose_loop",
    "in_gevent",
    "native_ident",
    "native_lock",
    "watched",
]
