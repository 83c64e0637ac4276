"""`manage.py test`: what the site promises, without a browser."""

from __future__ import annotations

import io
import json
import logging
import tempfile
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client, TransactionTestCase, override_settings
from photosite.wsgi import application
from PIL import Image

from wall import scenery
from wall.models import Photo
from wall.realtime import photos

JSON = {"Accept": "application/json"}


def picture(kind: str = "PNG", size: tuple[int, int] = (60, 40)) -> SimpleUploadedFile:
    file = io.BytesIO()
    Image.new("RGB", size, "#336699").save(file, kind)
    return SimpleUploadedFile("my photo", file.getvalue())


def published() -> int:
    """How many photos the channel was told of, ever."""
    return int(str(photos.position()).rpartition(".")[2])


class SiteTest(TransactionTestCase):
    def setUp(self) -> None:
        logging.disable(logging.WARNING)  # "Bad Request": those are meant
        self.addCleanup(logging.disable, logging.NOTSET)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.media = Path(folder.name)
        here = override_settings(MEDIA_ROOT=self.media)
        here.enable()
        self.addCleanup(here.disable)
        self.before = published()

    def send(self, **fields: Any) -> Any:
        data = {"picture": picture(), "author": "Ada", "caption": "Hello", **fields}
        return self.client.post("/upload", {k: v for k, v in data.items() if v is not None}, headers=JSON)

    def assert_refused(self, answer: Any, field: str, words: str) -> None:
        self.assertEqual(answer.status_code, 400)
        self.assertIn(words, answer.json()["errors"][field][0]["message"])
        self.assertEqual(Photo.objects.count(), 0)
        self.assertEqual(published(), self.before)
        self.assertEqual(list(self.media.rglob("*.jpg")), [])


class Uploading(SiteTest):
    def test_a_photo_is_stored_shown_and_published(self) -> None:
        answer = self.send()
        self.assertEqual(answer.status_code, 201)
        photo = Photo.objects.get()
        self.assertEqual((photo.author, photo.caption, photo.width, photo.height), ("Ada", "Hello", 60, 40))
        self.assertEqual(photo.colour, "#336699")
        self.assertEqual(published(), self.before + 1)
        self.assertContains(self.client.get("/"), photo.thumb)
        self.assertEqual(self.client.get("/photos.json").json()["photos"], [answer.json()])

    def test_the_channel_carries_what_the_json_endpoint_has(self) -> None:
        card = self.send().json()
        environ: dict[str, Any] = {"PATH_INFO": "/rt/channels/photos"}
        setup_testing_defaults(environ)
        seen: list[str] = []
        body = b"".join(application(environ, lambda status, headers, exc=None: seen.append(status)))
        self.assertEqual(seen, ["200 OK"])
        self.assertEqual(json.loads(body)["publications"][-1], {"offset": self.before + 1, "data": card})

    def test_without_a_script_the_form_leads_back_to_the_wall(self) -> None:
        answer = self.client.post("/upload", {"picture": picture(), "author": "Ada"})
        self.assertRedirects(answer, "/")

    def test_without_a_script_a_problem_is_shown_on_the_page(self) -> None:
        answer = self.client.post(
            "/upload", {"picture": SimpleUploadedFile("x.png", b"no"), "author": "<Ada>"}
        )
        self.assertContains(answer, "not a picture we can read", status_code=400)
        self.assertContains(answer, "&lt;Ada&gt;", status_code=400)

    def test_every_accepted_kind(self) -> None:
        for kind in ("JPEG", "PNG", "WEBP", "GIF"):
            self.assertEqual(self.send(picture=picture(kind)).status_code, 201, kind)

    def test_what_is_stored_is_a_jpeg_of_our_own_under_a_name_of_our_own(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # taken with the camera on its side
        exif[0x010F] = "A camera"
        file = io.BytesIO()
        Image.new("RGB", (60, 40)).save(file, "JPEG", exif=exif)
        card = self.send(picture=SimpleUploadedFile("../../evil.html", file.getvalue())).json()
        self.assertRegex(card["image"], r"^/media/full/[A-Za-z0-9_-]{22}\.jpg$")
        answer = self.client.get(card["image"])
        self.assertEqual(answer["Content-Type"], "image/jpeg")
        self.assertEqual(answer["X-Content-Type-Options"], "nosniff")
        stored = Image.open(io.BytesIO(b"".join(answer.streaming_content)))
        self.assertEqual(stored.size, (40, 60))
        self.assertFalse(stored.getexif())

    def test_large_photos_become_smaller_and_thumbnails_smaller_still(self) -> None:
        card = self.send(picture=picture(size=(3000, 1500))).json()
        self.assertEqual((card["width"], card["height"]), (1800, 900))
        thumb = b"".join(self.client.get(card["thumb"]).streaming_content)
        self.assertEqual(Image.open(io.BytesIO(thumb)).size, (900, 450))

    def test_markup_in_a_caption_is_text(self) -> None:
        self.send(caption="<script>alert(1)</script>")
        page = self.client.get("/")
        self.assertContains(page, "&lt;script&gt;alert(1)")
        self.assertNotContains(page, "<script>alert")


class Refusing(SiteTest):
    def test_what_is_no_picture(self) -> None:
        svg = SimpleUploadedFile("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")
        self.assert_refused(self.send(picture=svg), "picture", "not a picture we can read")

    def test_a_picture_of_a_kind_we_do_not_take(self) -> None:
        self.assert_refused(self.send(picture=picture("TIFF")), "picture", "not a picture we can read")

    def test_half_a_picture(self) -> None:
        whole = picture("PNG", (400, 400)).read()
        half = SimpleUploadedFile("half.png", whole[: len(whole) // 2])
        self.assert_refused(self.send(picture=half), "picture", "damaged")

    def test_a_small_file_that_unpacks_to_far_too_many_pixels(self) -> None:
        file = io.BytesIO()
        Image.new("1", (12_000, 12_000)).save(file, "PNG")
        self.assertLess(len(file.getvalue()), 100_000)
        bomb = SimpleUploadedFile("bomb.png", file.getvalue())
        self.assert_refused(self.send(picture=bomb), "picture", "pixels")

    @override_settings(MAX_UPLOAD_BYTES=100)
    def test_a_file_that_is_too_large(self) -> None:
        self.assert_refused(self.send(picture=picture(size=(300, 300))), "picture", "larger than")

    def test_a_body_that_is_too_large_is_not_read(self) -> None:
        class Unread(io.BytesIO):
            def read(self, *_: Any) -> bytes:
                raise AssertionError("the body was read")

        sent = {"CONTENT_LENGTH": str(settings.MAX_UPLOAD_BYTES * 2), "wsgi.input": Unread()}
        answer = self.client.post("/upload", content_type="multipart/form-data; boundary=x", **sent)
        self.assertEqual(answer.status_code, 413)
        self.assertIn("larger than 12 MB", answer.json()["errors"]["picture"][0]["message"])

    def test_missing_and_overlong_fields(self) -> None:
        self.assert_refused(self.send(picture=None), "picture", "required")
        self.assert_refused(self.send(author=""), "author", "required")
        self.assert_refused(self.send(author="a" * 41), "author", "40 characters")
        self.assert_refused(self.send(caption="c" * 121), "caption", "120 characters")

    def test_a_request_from_another_site(self) -> None:
        strict = Client(enforce_csrf_checks=True)
        self.assertEqual(strict.post("/upload", {"picture": picture(), "author": "Eve"}).status_code, 403)
        self.assertEqual(strict.post("/simulate").status_code, 403)
        self.assertEqual(Photo.objects.count(), 0)

    def test_files_that_are_not_ours(self) -> None:
        (self.media / "full").mkdir()
        (self.media / "secret_key").write_text("x")
        unknown = "full/" + "a" * 22 + ".jpg"
        for path in ("full/../secret_key", "full/%2e%2e/secret_key", "full/secret_key", unknown):
            self.assertEqual(self.client.get("/media/" + path).status_code, 404, path)


class Showing(SiteTest):
    def test_simulate_draws_and_publishes_one(self) -> None:
        answer = self.client.post("/simulate", headers=JSON)
        self.assertEqual(answer.status_code, 201)
        self.assertIn(answer.json()["author"], scenery.PEOPLE)
        self.assertEqual(published(), self.before + 1)

    def test_the_page_goes_on_from_the_position_it_was_rendered_at(self) -> None:
        self.send()
        self.assertContains(self.client.get("/"), f'data-position="{photos.position()}"')

    def test_nothing_on_the_page_runs_inline(self) -> None:
        self.send()
        page = self.client.get("/")
        self.assertIn("default-src 'self'", page["Content-Security-Policy"])
        self.assertNotRegex(page.content.decode(), r"<script(?![^>]*\bsrc=)|\son[a-z]+=|javascript:")

    def test_the_json_endpoint_has_the_newest_first(self) -> None:
        first, second = (self.send(caption=word).json()["id"] for word in ("one", "two"))
        found = [photo["id"] for photo in self.client.get("/photos.json").json()["photos"]]
        self.assertEqual(found, [second, first])

    def test_the_seed_fills_an_empty_wall_once(self) -> None:
        call_command("seed")
        call_command("seed")
        self.assertEqual(Photo.objects.count(), 12)
        self.assertEqual(len(list(self.media.rglob("*.jpg"))), 24)

    def test_the_same_seed_draws_the_same_picture(self) -> None:
        for scene in scenery.SCENES:
            one, two = (scenery.draw(scene, "dawn", "square", 7).tobytes() for _ in range(2))
            self.assertEqual(one, two, scene)
