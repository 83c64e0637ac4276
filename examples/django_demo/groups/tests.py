"""`manage.py test`: who may see a group, and who is told what."""

from __future__ import annotations

import json
import logging
import secrets
import tempfile
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.contrib.auth import get_user_model
from django.test import Client, TransactionTestCase, override_settings
from photosite.wsgi import application

from groups.models import Group


class GroupsTest(TransactionTestCase):
    def setUp(self) -> None:
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        here = override_settings(MEDIA_ROOT=Path(folder.name))
        here.enable()
        self.addCleanup(here.disable)
        self.ada, self.bob = self.comes("Ada"), self.comes("Bob")
        self.ada.post("/groups/found", {"name": "Walkers"})
        self.group = Group.objects.get()

    def comes(self, name: str) -> Client:
        client = Client()
        self.assertRedirects(client.post("/groups/enter", {"name": name}), "/groups/")
        return client

    def asks(self, client: Client, path: str, body: Any = None) -> tuple[str, Any]:
        """A request to /rt/ with the client's cookies."""
        environ: dict[str, Any] = {"PATH_INFO": "/rt/" + path, "QUERY_STRING": "snapshot=1"}
        setup_testing_defaults(environ)
        environ["HTTP_COOKIE"] = "; ".join(f"{name}={each.value}" for name, each in client.cookies.items())
        if body is not None:
            raw = json.dumps(body).encode()
            environ |= {
                "REQUEST_METHOD": "POST",
                "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": str(len(raw)),
            }
            environ["wsgi.input"].write(raw)
            environ["wsgi.input"].seek(0)
        seen: list[str] = []
        answer = b"".join(application(environ, lambda status, headers, exc=None: seen.append(status)))
        return seen[0], json.loads(answer)

    def calls(self, client: Client, name: str, /, **params: Any) -> Any:
        hello = {"type": "hello", "id": 1, "version": 1, "instance": "0123456789abcdef"}
        call = {
            "type": "call",
            "id": 2,
            "call_id": secrets.token_urlsafe(12),
            "name": name,
            "params": params,
        }
        _, answer = self.asks(client, "poll", {"wait": 5, "commands": [hello, call]})
        return next(message for message in answer["messages"] if message.get("id") == 2)

    def test_a_name_belongs_to_who_took_it_first(self) -> None:
        self.assertContains(Client().post("/groups/enter", {"name": "Ada"}), "taken")
        self.assertContains(Client().post("/groups/enter", {"name": "<b>"}), "Letters and digits")

    def test_a_group_is_for_its_members(self) -> None:
        self.assertEqual(self.ada.get(f"/groups/{self.group.pk}/").status_code, 200)
        self.assertEqual(self.bob.get(f"/groups/{self.group.pk}/").status_code, 404)
        channel = f"channels/groups/{self.group.pk}/photos"
        self.assertEqual(self.asks(self.ada, channel)[0], "200 OK")
        for nobody in (self.bob, Client()):
            self.assertTrue(self.asks(nobody, channel)[0].startswith("404"))
            refused = self.calls(nobody, "groups.comment", group_id=self.group.pk, photo_id=1, text="hello")
            self.assertEqual(refused["code"], 111)

    def test_photos_and_comments_are_in_the_snapshot_and_not_on_the_wall(self) -> None:
        self.ada.post(f"/groups/{self.group.pk}/photo")
        (photo,) = self.group.photos.all()
        self.assertEqual(photo.author, "Ada")
        said = self.calls(self.ada, "groups.comment", group_id=self.group.pk, photo_id=photo.pk, text="mine")
        self.assertEqual(list(said["positions"]), [f"groups/{self.group.pk}/comments"])
        _, photos = self.asks(self.ada, f"channels/groups/{self.group.pk}/photos")
        _, comments = self.asks(self.ada, f"channels/groups/{self.group.pk}/comments")
        self.assertEqual([each["id"] for each in photos["snapshot"]], [photo.pk])
        self.assertEqual([each["text"] for each in comments["snapshot"]], ["mine"])
        self.assertEqual(self.client.get("/photos.json").json()["photos"], [])

    def test_who_is_taken_in_is_in_and_who_leaves_is_out(self) -> None:
        channel = f"channels/groups/{self.group.pk}/photos"
        self.assertEqual(
            self.calls(self.ada, "groups.invite", group_id=self.group.pk, name="Nobody")["code"], 111
        )
        self.assertEqual(
            self.calls(self.ada, "groups.invite", group_id=self.group.pk, name="Bob")["data"], "Bob"
        )
        self.assertEqual(self.asks(self.bob, channel)[0], "200 OK")
        self.assertRedirects(self.bob.post(f"/groups/{self.group.pk}/leave"), "/groups/")
        self.assertTrue(self.asks(self.bob, channel)[0].startswith("404"))
        self.assertEqual(get_user_model().objects.filter(photo_groups=self.group).count(), 1)

    def test_a_comment_with_a_link_is_refused(self) -> None:
        self.ada.post(f"/groups/{self.group.pk}/photo")
        photo = self.group.photos.get()
        said = self.calls(
            self.ada, "groups.comment", group_id=self.group.pk, photo_id=photo.pk, text="http://x"
        )
        self.assertIn("no links", said["message"])
