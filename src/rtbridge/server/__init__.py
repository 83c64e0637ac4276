"""Floor 7: our server. The whole site on gevent's pywsgi."""

from rtbridge.server.pywsgi import serve

__all__ = ["serve"]
