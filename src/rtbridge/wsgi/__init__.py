"""Floor 7: the WSGI middleware. A Request in, a Response value out, one place that calls start_response."""

from rtbridge.wsgi.middleware import RealtimeMiddleware

__all__ = ["RealtimeMiddleware"]
