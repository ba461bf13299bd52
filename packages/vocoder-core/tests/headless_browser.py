"""A real Chromium for tests, driven by its DevTools protocol over a pipe: only the browser has to be installed."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --mute-audio --remote-debugging-pipe"
)
# The browser reads commands from descriptor 3 and writes answers and events to 4, each ended by a zero byte.
START = (
    "import os, sys; pipes = [os.dup(int(end)) for end in sys.argv[1:3]]; "
    "[os.set_inheritable(os.dup2(pipes[i], 3 + i), True) for i in (0, 1)]; os.execv(sys.argv[3], sys.argv[3:])"
)


def chromium() -> str | None:
    """The browser's path, None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser(AbstractContextManager["Browser"]):
    """One tab. Use as a context manager: the browser ends with it."""

    def __init__(self) -> None:
        self.profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        commands, self.write = os.pipe()
        self.read, answers = os.pipe()
        start = [sys.executable, "-c", START, str(commands), str(answers)]
        browser = [str(chromium()), *FLAGS.split(), f"--user-data-dir={self.profile.name}"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(start + browser, pass_fds=(commands, answers), stdout=quiet, stderr=quiet)
        os.close(commands)
        os.close(answers)
        self.received, self.count, self.session, self.errors = b"", 0, {}, []
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]}
        self.call("Runtime.enable")

    def __exit__(self, *error: object) -> None:
        os.close(self.write)  # which ends the browser
        self.process.wait(20)
        os.close(self.read)
        self.profile.cleanup()

    def window(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """Give the tab a size in CSS pixels, a finger instead of a mouse, and the reader's colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path) -> None:
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.value(condition):
            assert time.monotonic() < end, f"still not: {condition}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """One keystroke where the focus is."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 and kind == "keyDown" else ""
            )

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer; uncaught errors of the page are kept in `errors`."""
        self.count += 1
        command = {"id": self.count, "method": method, "params": parameters, **self.session}
        os.write(self.write, json.dumps(command).encode() + b"\0")
        while (answer := self._next()).get("id") != self.count:
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"])
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.received:
            ready, _, _ = select.select([self.read], [], [], 60)
            assert ready, "the browser has not answered for a minute"
            piece = os.read(self.read, 1 << 20)
            assert piece, f"the browser ended with code {self.process.wait(5)}"
            self.received += piece
        message, self.received = self.received.split(b"\0", 1)
        return json.loads(message)
