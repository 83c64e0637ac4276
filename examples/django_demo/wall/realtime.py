"""All that the server side of this site declares about realtime."""

from dataclasses import dataclass

from django.conf import settings

from rtbridge import Bridge, History


@dataclass
class PhotoCard:
    """What a page needs in order to show a photo: the items of /photos.json, and what the channel carries."""

    id: int
    author: str
    caption: str
    image: str
    thumb: str
    width: int
    height: int
    colour: str  # shown until the picture is there
    created: float  # seconds since 1970


# In the memory of the one process that serves. One process for each data folder: that is what the file is for.
rt = Bridge(lock_file=settings.DATA_DIR / "serving.lock")

# The last 200 photos, for an hour: a page that was away for less gets every one it missed, once and in order.
# One that was away for longer gets the snapshot, which is in views.py. Public, as the page itself is.
photos = rt.channel("photos", PhotoCard, keep=History(200, ttl=3600), public=True)
