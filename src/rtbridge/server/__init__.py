"""Floor 7: our server. The whole site on gevent's pywsgi."""

from rtbridge.server.serving import listen, serve, serve_on

__all__ = ["listen", "serve", "serve_on"]
