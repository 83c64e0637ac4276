#!/usr/bin/env python3
"""Take docs/images/auction-demo.png anew: the list on a wide screen, a lot on a telephone, by .venv/bin/python."""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.browser import chromium  # noqa: E402
from support.servers import started  # noqa: E402

RUN = ROOT / "examples" / "flask_demo" / "run.py"
OUT = ROOT / "docs" / "images" / "auction-demo.png"
WIDE, TALL = (1100, 844), (390, 844)
EDGE = 36


def window(browser: Browser, size: tuple[int, int], scheme: str, url: str) -> Page:
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme).new_page()
    page.goto(url)
    return page


def bid(page: Page, name: str) -> None:
    page.fill("[name=bidder]", name)
    page.click("#submit")
    page.get_by_role("button", name="You lead").wait_for()


def picture(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        env = {"DATA_DIR": folder}
        with started("auction", [sys.executable, str(RUN)], Path(folder), env=env) as server:
            grace = window(browser, WIDE, "light", f"{server.url}/lots/2")
            bid(grace, "Grace")
            grace.goto(f"{server.url}/lots/1")
            bid(grace, "Grace")
            grace.goto(server.url)
            bob = window(browser, TALL, "dark", f"{server.url}/lots/1")
            bob.click("#link summary")
            bob.check("input[value=eventstream]")
            bob.keyboard.press("Escape")
            bob.evaluate("document.getElementById('bots').requestSubmit()")
            bob.locator("#bids li").nth(3).wait_for(timeout=60_000)
            grace.wait_for_timeout(2_000)  # until the last flash is over
            list_, lot = picture(grace), picture(bob)

    whole = Image.new("RGB", (WIDE[0] + TALL[0] + 3 * EDGE, TALL[1] + 2 * EDGE), "#b9c0cc")
    whole.paste(list_, (EDGE, EDGE))
    whole.paste(lot, (WIDE[0] + 2 * EDGE, EDGE))
    whole.quantize(160, dither=Image.Dither.NONE).save(OUT, optimize=True)
    print(f"{OUT.relative_to(ROOT)}: {OUT.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
