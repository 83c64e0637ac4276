from django.contrib.staticfiles.views import serve
from django.urls import path, re_path
from groups import views as groups
from ladder import views as ladder
from wall import views

urlpatterns = [
    path("", views.index, name="index"),
    path("photos.json", views.photos_json, name="photos-json"),
    path("upload", views.upload, name="upload"),
    path("simulate", views.simulate, name="simulate"),
    path("groups/", groups.index, name="groups"),
    path("groups/enter", groups.enter, name="enter"),
    path("groups/found", groups.found, name="found"),
    path("groups/<int:group_id>/", groups.group, name="group"),
    path("groups/<int:group_id>/photo", groups.photo, name="group-photo"),
    path("groups/<int:group_id>/leave", groups.leave, name="leave"),
    path("ladder/", ladder.index, name="ladder"),
    path("ladder/now.json", ladder.now, name="ladder-now"),
    # In production a web server or a CDN does these two.
    re_path(r"^media/(?P<size>full|thumb)/(?P<name>[A-Za-z0-9_-]{22}\.jpg)$", views.media, name="media"),
    path("static/<path:path>", serve, {"insecure": True}),
]
