from django.contrib.staticfiles.views import serve
from django.urls import path, re_path
from wall import views

urlpatterns = [
    path("", views.index, name="index"),
    path("photos.json", views.photos_json, name="photos-json"),
    path("upload", views.upload, name="upload"),
    path("simulate", views.simulate, name="simulate"),
    # In production a web server or a CDN does these two.
    re_path(r"^media/(?P<size>full|thumb)/(?P<name>[A-Za-z0-9_-]{22}\.jpg)$", views.media, name="media"),
    path("static/<path:path>", serve, {"insecure": True}),
]
