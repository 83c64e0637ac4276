"""Floor 7: our server. The whole site on gevent's pywsgi."""

from rtbridge.server.pywsgi import listen, serve, serve_on

__all__ = ["listen", "serve", "serve_on"]
