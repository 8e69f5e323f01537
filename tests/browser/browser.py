"""A headless browser that notes what a person would not see: errors, and requests to elsewhere."""

import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from tests.system.harness import wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_S = 60.0


def chromium():
    """The system's browser. Raises AssertionError when there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"no browser: install chromium (looked for {', '.join(NAMES)})"
    return found


@contextmanager
def browser():
    """Playwright's handle of a browser."""
    path = chromium()
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield opened
        finally:
            opened.close()


class Tab:
    """A page of a server's dashboard, in a browser that is signed in with `token`, if any."""

    def __init__(self, opened, port, token=None, scheme="dark", size=(1400, 950)):
        self.base = f"http://127.0.0.1:{port}"
        self.errors, self.foreign, self.sockets = [], [], []
        viewport = {"width": size[0], "height": size[1]}
        self.context = opened.new_context(viewport=viewport, color_scheme=scheme)
        self.context.set_default_timeout(1000 * PATIENCE_S)
        if token:
            cookie = {"name": "dreamfleet_token", "value": token, "url": self.base}
            self.context.add_cookies([cookie])
        self.page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", self._connected)

    def open(self, path):
        """Go there, and wait until the page's socket is open."""
        before = len(self.sockets)
        self.page.goto(self.base + path, wait_until="load")
        wait_until(lambda: self._pump() or len(self.sockets) > before, lambda: self.errors, 60)
        return self.page

    def mark(self, name):
        """The element that the server has marked so."""
        return self.page.locator(f"[data-mark='{name}']")

    def text(self, name):
        return self.mark(name).inner_text()

    def wait(self, condition, what="the page", patience=PATIENCE_S):
        """Wait until `condition()` holds; what is read of the page is read anew each time."""

        def tell():
            return f"{what} at {self.page.url}: {self.errors} {self.page.inner_text('body')[:2000]}"

        return wait_until(lambda: self._pump() or condition(), tell, patience)

    def close(self):
        self.context.close()

    def _pump(self):
        self.page.wait_for_timeout(20)  # lets Playwright hear of what has happened

    def _said(self, message):
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def _asked(self, url):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and not url.startswith(self.base):
            self.foreign.append(url)

    def _connected(self, socket):
        if urlsplit(socket.url).netloc != urlsplit(self.base).netloc:
            self.foreign.append(socket.url)
        self.sockets.append(socket)
