from django.conf import settings
from django.db import models
from wall.models import Photo


class Group(models.Model):
    name = models.CharField(max_length=40)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="photo_groups")
    photos = models.ManyToManyField(Photo, related_name="groups")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Comment(models.Model):
    group = models.ForeignKey(Group, models.CASCADE)
    photo = models.ForeignKey(Photo, models.CASCADE)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    text = models.CharField(max_length=300)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.author}: {self.text}"
