"""A headless Chromium that a test talks to: the DevTools protocol over two pipes, no other package.

with opened(program, page) as browser:
    browser.evaluate("document.title")
    browser.requests, browser.complaints
"""

import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from contextlib import contextmanager
from tempfile import TemporaryDirectory

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = (
    *("--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
    *("--disable-dev-shm-usage", "--disable-breakpad"),
)
_SECONDS = 60.0


def find_browser():
    """The path of a browser of this kind; None if there is none."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


class Browser:
    """One page in a browser that has been started already.

    Attributes:
      requests: addresses that the page has asked for.
      complaints: errors and warnings on the console, and exceptions.
    """

    def __init__(self, commands, answers):
        self._commands, self._answers = commands, answers
        self._unread, self._number, self._session = b"", 0, None
        self._events = []
        self.requests, self.complaints = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def go(self, address):
        """Returns when the page has loaded."""
        self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in self._events:
            self._receive()

    def evaluate(self, expression):
        """The value of JavaScript; of a promise, what it promises."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, element):
        """The left button of the mouse, in the middle of what an expression gives."""
        middle = (
            f"(() => {{ const element = {element}; element.scrollIntoView({{block: 'center'}}); "
            "const box = element.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        x, y = self.evaluate(middle)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key, code):
        """Presses and releases a key, as on a keyboard."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                text="\r" if key == "Enter" and kind == "keyDown" else "",
                windowsVirtualKeyCode=code,
            )

    def picture(self):
        """A PNG of the whole page, whatever of it is in the window."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return b64decode(shot["data"])

    def call(self, method, **parameters):
        """What the browser answers to one command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self):
        deadline = time.monotonic() + _SECONDS
        while b"\0" not in self._unread:
            left = deadline - time.monotonic()
            assert select.select([self._answers], [], [], max(0, left))[0], "the browser is silent"
            received = os.read(self._answers, 1 << 20)
            assert received, "the browser has ended"
            self._unread += received
        text, self._unread = self._unread.split(b"\0", 1)
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method, event):
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(event["exceptionDetails"])
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(event["entry"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning"):
            self.complaints.append(event["args"])


@contextmanager
def opened(program, page):
    """A browser that shows a file; it has ended, with all its files, when the block is left."""
    to_read, commands = os.pipe()
    answers, to_write = os.pipe()
    # The browser reads descriptor 3 and writes 4.
    script = f'exec "$@" 3<&{to_read} 4>&{to_write}'
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", script, "-", program, *_OPTIONS, f"--user-data-dir={profile}"],
            env={**os.environ, "TMPDIR": profile},
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        try:
            browser = Browser(commands, answers)
            browser.go(page.as_uri())
            yield browser
        finally:
            os.close(commands)  # which ends the browser
            os.close(answers)
            _wait(process)


def _wait(process):
    try:
        process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
