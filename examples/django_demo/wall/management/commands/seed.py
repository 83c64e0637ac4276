"""`manage.py seed`: a dozen pictures, so that the wall is not empty. Does nothing where there are some."""

from typing import Any

from django.core.management.base import BaseCommand

from wall import pictures, scenery
from wall.models import Photo

# The oldest first. Scene, mood, shape, author, which of its captions.
SEED = (
    ("city", "dusk", "landscape", "Noor", 0),
    ("dunes", "gold", "wide", "Daniyar", 0),
    ("forest", "polar", "portrait", "Freja", 0),
    ("lake", "dawn", "landscape", "Ben", 0),
    ("ridges", "jade", "landscape", "Hana", 2),
    ("aurora", "night", "landscape", "Kiri", 0),
    ("sea", "ember", "square", "Goran", 0),
    ("forest", "dusk", "landscape", "Ines", 1),
    ("lake", "noon", "wide", "Mateo", 3),
    ("ridges", "ember", "portrait", "Elif", 1),
    ("sea", "dawn", "landscape", "Chiara", 3),
    ("ridges", "dawn", "wide", "Amara", 0),
)


class Command(BaseCommand):
    help = "Draws a dozen pictures into an empty wall."

    def handle(self, *args: Any, **options: Any) -> None:
        if Photo.objects.exists():
            return
        for number, (scene, mood, shape, author, caption) in enumerate(SEED):
            picture = scenery.draw(scene, mood, shape, seed=number)
            Photo.objects.create(
                author=author, caption=scenery.CAPTIONS[scene][caption], **pictures.save(picture)
            )
