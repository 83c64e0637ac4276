import os

from django.core.wsgi import get_wsgi_application

from rtbridge import RealtimeMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "photosite.settings")
application = get_wsgi_application()

from wall.realtime import rt  # noqa: E402  (needs Django to be set up)

application = RealtimeMiddleware(
    application, rt
)  # REALTIME: mounts /rt/; everything else goes to Django as before
