from django.db import models
from django.urls import reverse

from wall.realtime import PhotoCard


class Photo(models.Model):
    author = models.CharField(max_length=40)
    caption = models.CharField(max_length=120, blank=True)
    name = models.CharField(
        max_length=26, unique=True
    )  # of its two files: random, never what the visitor sent
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    colour = models.CharField(max_length=7)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.caption or 'Photo'} by {self.author}"

    @property
    def image(self) -> str:
        return reverse("media", args=["full", self.name])

    @property
    def thumb(self) -> str:
        return reverse("media", args=["thumb", self.name])

    def card(self) -> PhotoCard:
        return PhotoCard(
            id=self.pk,
            author=self.author,
            caption=self.caption,
            image=self.image,
            thumb=self.thumb,
            width=self.width,
            height=self.height,
            colour=self.colour,
            created=self.created.timestamp(),
        )
