#!/usr/bin/env python3
"""Take docs/images/photo-demo.png anew: the photo site on a wide screen and on a telephone, by .venv/bin/python."""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples" / "django_demo")]

from wall import scenery  # noqa: E402

from support.browser import chromium  # noqa: E402
from support.photo_site import PhotoSite  # noqa: E402

OUT = ROOT / "docs" / "images" / "photo-demo.png"
WHOLE = (1600, 960)  # drawn at this size, saved at OUT_WIDTH
OUT_WIDTH = 1440


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        site = PhotoSite(Path(folder))
        try:
            site.start()
            wide, tall = take(browser, site.url, Path(folder))
        finally:
            site.kill()
    whole = Image.new("RGB", WHOLE, "#e9e6f3")
    put(whole, wide.resize((1180, 793), Image.Resampling.LANCZOS), (28, 84), 16)
    telephone = Image.new("RGB", (386, 771), "#18181c")
    tall = tall.resize((366, 751), Image.Resampling.LANCZOS)
    telephone.paste(tall, (10, 10), rounded(tall.size, 30))
    put(whole, telephone, (1190, 110), 40)
    small = whole.resize((OUT_WIDTH, OUT_WIDTH * WHOLE[1] // WHOLE[0]), Image.Resampling.LANCZOS)
    palette = small.quantize(256, kmeans=3)  # with dithering, or the skies get bands
    small.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(OUT, optimize=True)


def take(browser: Browser, url: str, folder: Path) -> tuple[Image.Image, Image.Image]:
    wide = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme="light").new_page()
    tall = browser.new_context(
        viewport={"width": 390, "height": 800}, color_scheme="dark", device_scale_factor=2, has_touch=True
    ).new_page()
    for page, transport in ((wide, "auto"), (tall, "longpoll")):
        page.goto(url)
        page.evaluate("name => document.querySelector(`#transports [value=${name}]`).click()", transport)
    wide.locator("#badge", has_text="WebSocket").wait_for()
    tall.locator("#badge", has_text="Long poll").wait_for()
    share(wide, folder, "lake", "gold", 5, "Mateo", "First light on the lake")
    share(wide, folder, "aurora", "night", 11, "Kiri", "Green all night")
    return shot(wide), shot(tall)


def share(page: Page, folder: Path, scene: str, mood: str, seed: int, author: str, caption: str) -> None:
    path = folder / f"{scene}.jpg"
    scenery.draw(scene, mood, "landscape", seed).save(path, quality=92)
    page.set_input_files("#upload input[type=file]", path)
    page.fill("#upload [name=author]", author)
    page.fill("#upload [name=caption]", caption)
    page.click("#upload button")
    page.locator(".photo").first.get_by_text(caption).wait_for()
    page.wait_for_timeout(900)  # until it has come in


def shot(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def rounded(size: tuple[int, int], radius: int) -> Image.Image:
    mask = Image.new("L", (size[0] * 2, size[1] * 2))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] * 2 - 1, size[1] * 2 - 1), radius * 2, fill=255)
    return mask.reduce(2)


def put(whole: Image.Image, window: Image.Image, place: tuple[int, int], radius: int) -> None:
    """Pastes a window with round corners and a shadow."""
    mask = rounded(window.size, radius)
    shadow = Image.new("L", whole.size)
    shadow.paste(mask.point(lambda value: value * 90 // 255), (place[0], place[1] + 18))
    whole.paste((40, 30, 70), (0, 0), shadow.filter(ImageFilter.GaussianBlur(28)))
    whole.paste(window, place, mask)


if __name__ == "__main__":
    main()
