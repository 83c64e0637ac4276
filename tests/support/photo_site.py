"""The photo site of examples/django_demo, run as its reader runs it, and a visitor without a browser."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from PIL import Image

from support.needs import free_port

DEMO = Path(__file__).parent.parent.parent / "examples" / "django_demo"


class PhotoSite:
    """`run.py` on a port and a data folder of its own. `start` again after `kill` or `stop` goes on where it was."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.errors = folder / "stderr.txt"
        self.process: subprocess.Popen[str] | None = None

    def start(self, timeout: float = 60) -> str:
        """Returns the line that it prints once it serves."""
        env = {**os.environ, "DATA_DIR": str(self.folder / "data"), "PORT": str(self.port)}
        with self.errors.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, DEMO / "run.py"], env=env, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout
        late = threading.Timer(timeout, self.process.kill)
        late.start()
        line = self.process.stdout.readline()
        late.cancel()
        assert line, f"it did not start:\n{self.errors.read_text()}"
        return line

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """Ask it to end; returns its exit status."""
        return self._end(sign)

    def _end(self, sign: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(sign)
        try:
            return process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout:
                process.stdout.close()


class Visitor:
    """Uploads photos through the site's own form. Safe to use in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with self.opener.open(url, timeout=10) as page:
            found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.read().decode())
        assert found
        self.token = found[1]

    def upload(self, picture: bytes, caption: str = "") -> dict[str, Any]:
        """Returns the new photo as the site tells it."""
        fields = {"csrfmiddlewaretoken": self.token, "author": "Visitor", "caption": caption}
        boundary = secrets.token_hex(16)
        start = f'--{boundary}\r\nContent-Disposition: form-data; name="'
        body = "".join(f'{start}{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()).encode()
        body += f'{start}picture"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'.encode()
        body += picture + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": "application/json"}
        request = urllib.request.Request(self.url + "upload", body, headers)
        with self.opener.open(request, timeout=10) as answer:
            photo: dict[str, Any] = json.load(answer)
            return photo


def picture(path: Path, colour: str = "#d08770") -> Path:
    """Writes a small picture to `path`."""
    Image.new("RGB", (600, 400), colour).save(path)
    return path
