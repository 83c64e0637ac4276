import os

from django.core.wsgi import get_wsgi_application

from rtbridge import RealtimeMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "photosite.settings")
application = get_wsgi_application()

# They need Django to be set up; and what they declare must be known before the first client comes.
import groups.realtime  # noqa: E402, F401
import ladder.realtime  # noqa: E402, F401
import wall.views  # noqa: E402, F401
from wall.realtime import rt  # noqa: E402

application = RealtimeMiddleware(
    application, rt
)  # REALTIME: mounts /rt/; everything else goes to Django as before
