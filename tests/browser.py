"""A real Chromium without a window, driven as W3C WebDriver has it: over HTTP, by the program chromedriver.

Debian's packages are chromium and chromium-driver. Without them a test is skipped.
"""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request

import pytest

LIMIT_S = 20.0
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en",
)  # fmt: skip
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name that the standard gives to references


def need():
    """Return the programs' paths; without them the test is skipped."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("there is no chromium and chromedriver: Debian's packages chromium and chromium-driver")
    return browser, driver


class Browser:
    """A browser with one window. All its calls wait: call them from a thread.

    Args:
        url: where the driver answers.
        options: of the browser.
    """

    def __init__(self, url, options):
        self._url = url
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._url = f"{url}/session/{session['sessionId']}"

    def close(self):
        self._ask("DELETE", "")

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def resize(self, width, height):
        """Make the page as large as this, and no window round it."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, scheme):
        """Prefer colours: ``light`` or ``dark``."""
        self.command(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def command(self, method, **parameters):
        """Give a command of the browser's own protocol."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": method, "params": parameters})

    def run(self, script, *arguments):
        """Run a function's body in the page; returns what it does."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, condition):
        """Wait until an expression of JavaScript is true; returns its value."""
        deadline = time.monotonic() + LIMIT_S
        while not (value := self.run(f"return ({condition});")):
            if time.monotonic() > deadline:
                shown = self.run("return document.body.innerText;")
                raise AssertionError(f"{condition} did not come true; the page says: {shown}")
            time.sleep(0.05)
        return value

    def text(self, selector):
        """Return what an element says, as it is seen."""
        return self.run("return document.querySelector(arguments[0])?.innerText;", selector)

    def click(self, selector):
        self._act_on(selector, "click", {})

    def type(self, selector, text):
        self._act_on(selector, "value", {"text": text})

    def press(self, key):
        """Press a key wherever the focus is."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def screenshot(self):
        """Return a picture of what is seen, as PNG."""
        return base64.b64decode(self._ask("GET", "/screenshot"))

    def log(self):
        """Return what the console says, since it was last asked: refusals by the page's policy included."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def _act_on(self, selector, action, document):
        """Act on an element. A live page may put another one in its place between finding and acting."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            found = self._ask("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT]
            try:
                return self._ask("POST", f"/element/{found}/{action}", document)
            except AssertionError as error:
                if not str(error).startswith("stale element") or time.monotonic() > deadline:
                    raise

    def _ask(self, method, path, document=None):
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(
            self._url + path, body, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(json.load(error)["value"]["message"]) from None


@contextlib.contextmanager
def browser_in(folder, *more):
    """Run a browser with a profile of its own.

    Args:
        folder: where the profile is.
        more: options of the browser.
    """
    browser, driver = need()
    process = subprocess.Popen(
        [driver, "--port=0", "--log-level=SEVERE"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        said = (re.search(r"started successfully on port (\d+)", line) for line in process.stdout)
        port = next(found[1] for found in said if found)
        options = {"binary": browser, "args": [*_OPTIONS, f"--user-data-dir={folder}", *more]}
        window = Browser(f"http://127.0.0.1:{port}", options)
        try:
            yield window
        finally:
            window.close()
    finally:
        process.terminate()
        process.wait(LIMIT_S)
        process.stdout.close()
