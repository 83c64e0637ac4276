#!/usr/bin/env python3
"""Take docs/images/demo.png anew: two windows of the photo site on different transports, by .venv/bin/python."""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.needs import find_chromium, free_port  # noqa: E402

SIZE = {"width": 1080, "height": 780}
GAP = 24


def main() -> None:
    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        env = {**os.environ, "PORT": str(port), "DATA_DIR": data}
        command = [sys.executable, ROOT / "examples" / "django_demo" / "run.py"]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as site:
            try:
                assert site.stdout
                while "http://" not in site.stdout.readline():
                    pass
                shots = take(f"http://127.0.0.1:{port}/")
            finally:
                site.terminate()
    whole = Image.new("RGBA", (2 * shots[0].width + GAP, shots[0].height), (0, 0, 0, 0))
    whole.paste(shots[0], (0, 0))
    whole.paste(shots[1], (shots[0].width + GAP, 0))
    target = ROOT / "docs" / "images" / "demo.png"
    target.parent.mkdir(exist_ok=True)
    whole.quantize(256, method=Image.Quantize.FASTOCTREE).save(target, optimize=True)


def take(url: str) -> list[Image.Image]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        pages = [browser.new_context(viewport=SIZE).new_page() for _ in range(2)]
        for page, transport in zip(pages, ("WebSocket", "Long poll"), strict=True):
            page.goto(url)
            page.locator("#transports").get_by_text(transport, exact=True).click()
            page.wait_for_function("document.querySelector('#badge').dataset.state === 'online'")
        for _ in range(3):
            pages[0].locator("#simulate button").click()
            pages[0].wait_for_timeout(1500)
        for page in pages:
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(1500)
        return [Image.open(io.BytesIO(page.screenshot())) for page in pages]


if __name__ == "__main__":
    main()
