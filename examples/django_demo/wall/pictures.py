"""From what a visitor sent to two clean JPEG files of our own."""

from __future__ import annotations

import secrets
from typing import IO, Any

from django.conf import settings
from PIL import Image, ImageOps, UnidentifiedImageError

ACCEPTED = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
FULL, THUMB = (1800, 1800), (900, 900)


class NoPicture(ValueError):
    """What was sent is not a picture that we take; the message says why, in words for the visitor."""


def load(file: IO[bytes]) -> Image.Image:
    """Reads a picture that nobody has checked yet.

    Raises:
        NoPicture: for anything that is none, is broken, or would be too large once unpacked.
    """
    try:
        picture = Image.open(file, formats=tuple(ACCEPTED))  # reads the head only
        if picture.width * picture.height > settings.MAX_UPLOAD_PIXELS:
            raise NoPicture(
                f"That picture has more than {settings.MAX_UPLOAD_PIXELS // 1_000_000} million pixels."
            )
        picture.draft("RGB", FULL)  # a large JPEG is decoded at half or quarter size, which is much faster
        picture.load()
        picture = ImageOps.exif_transpose(picture)
        picture.thumbnail(FULL, Image.Resampling.LANCZOS)
        return opaque(picture)
    except NoPicture:
        raise
    except UnidentifiedImageError:
        raise NoPicture("That is not a picture we can read. JPEG, PNG, WebP and GIF are fine.") from None
    except Image.DecompressionBombError:
        raise NoPicture("That picture is too large once unpacked.") from None
    except Exception:
        raise NoPicture("That picture seems to be damaged.") from None


def opaque(picture: Image.Image) -> Image.Image:
    """RGB, on white where it was transparent."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def save(picture: Image.Image) -> dict[str, Any]:
    """Stores a picture and its thumbnail; returns what the Photo has to remember.

    Both are encoded anew, so that nothing of the file that was sent survives: no place where it was taken, no
    script that somebody hid in it. The name is random: it cannot be guessed and overwrites nothing.
    """
    name = f"{secrets.token_urlsafe(16)}.jpg"
    small = picture.copy()
    small.thumbnail(THUMB, Image.Resampling.LANCZOS)
    for size, image in (("full", picture), ("thumb", small)):
        folder = settings.MEDIA_ROOT / size
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / name, "JPEG", quality=84, optimize=True, progressive=True)
    red, green, blue = small.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    colour = f"#{red:02x}{green:02x}{blue:02x}"
    return {"name": name, "width": picture.width, "height": picture.height, "colour": colour}
